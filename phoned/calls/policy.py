"""Rules about whom to call: toll-fraud limits, emergency numbers. Mostly pure. (Who may call us: see `incoming`.)

What a target means is decided here too: a SIP URI, a user part of the account's domain, or an E.164 number.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from phoned.config.schema import DialConfig
from phoned.errors import AtCapacity, Denied, InvalidValue, MalformedMessage
from phoned.model import HEADER_NAME, MAX_HEADERS
from phoned.sip.uri import Uri

VISUAL_SEPARATORS = str.maketrans("", "", "-.() \t")
"""RFC 3966 5.1.1: they mean nothing."""
MAX_HEADER_BYTES = 1024
_HEADER_NAME = re.compile(HEADER_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to call: the Request-URI, and the dialled number or user part that rules match."""

    uri: str
    number: str


def target_of(to: str, aor: str) -> Target:
    """Read ``to`` as the control API allows it. Raises `InvalidValue` with pointer ``/to``."""
    text = to.strip()
    own = Uri.parse(aor)
    if text.lower().startswith("tel:"):
        text = f"{own.scheme}:{_dialled(text[4:].split(';', 1)[0])}@{own.host}"
    elif ":" not in text and "@" not in text:
        text = f"{own.scheme}:{_dialled(text)}@{own.host}"
    elif ":" not in text.split("@", 1)[0]:
        text = f"{own.scheme}:{text}"
    user = _user(text, to)
    return Target(uri=text, number=_dialled(user.split(";", 1)[0]))


def _dialled(user: str) -> str:
    """A number without its visual separators; a name as it is."""
    compact = user.translate(VISUAL_SEPARATORS)
    is_number = compact.lstrip("+").isdecimal() and compact.count("+") <= 1
    return compact if is_number else user


def _user(uri: str, written: str) -> str:
    """The user part, unescaped. Raises `InvalidValue` for what cannot be called."""
    try:
        parsed = Uri.parse(uri)
    except MalformedMessage as error:
        raise InvalidValue(f"{written!r} is no SIP address: {error.detail}", pointer="/to") from None
    if parsed.scheme not in ("sip", "sips") or not parsed.user or not uri.isascii():
        raise InvalidValue(f"{written!r} is no SIP address with a user part", pointer="/to")
    if parsed.headers:
        raise InvalidValue("headers inside the address are not taken; use `headers`", pointer="/to")
    return parsed.user


def checked_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers that a caller may add to an INVITE. Raises `InvalidValue` for any other."""
    if len(headers) > MAX_HEADERS:
        raise InvalidValue(f"at most {MAX_HEADERS} headers", pointer="/headers")
    for name, value in headers.items():
        pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidValue(f"{name!r} cannot be set; use an X- header", pointer=pointer)
        if len(value.encode()) > MAX_HEADER_BYTES or any(ord(character) < 32 for character in value):
            raise InvalidValue("a header value is one line of at most 1 KiB", pointer=pointer)
    return tuple(headers.items())


class DialPolicy:
    """Says no to a destination or to one call too many. Counts placed calls over the last minute."""

    def __init__(self, config: DialConfig) -> None:
        self._config = config
        self._placed: deque[float] = deque()

    def change(self, config: DialConfig) -> None:
        """Other rules, for calls that are placed from now on. What was placed in the last minute still counts."""
        self._config = config

    @property
    def capacity(self) -> int:
        """How many calls may be up at once."""
        return self._config.max_concurrent

    def duration_cap_s(self, asked_s: float | None) -> float:
        """The longest that a call may last."""
        return min(asked_s or self._config.max_duration_s, self._config.max_duration_s)

    def allow(self, target: Target) -> None:
        """Pass, or raise `Denied`."""
        config = self._config
        if config.emergency == "block" and target.number.lstrip("+") in config.emergency_numbers:
            raise Denied(
                "phoned is not a telephone to call for help with; emergency numbers are blocked",
                code="emergency_disabled",
            )
        # a number may be written in many ways (escapes, separators, parameters); rules see the plainest one too
        plain = f"{target.uri.partition(':')[0]}:{target.number}@{target.uri.rpartition('@')[2]}"
        names = (target.uri.lower(), target.number.lower(), plain.lower())
        if not _any_matches(config.allow, names) or _any_matches(config.deny, names):
            raise Denied(f"[dial] does not allow {target.number}", code="destination_denied")

    def check(self, target: Target, *, active: int, now: float) -> None:
        """Pass, and count the call; or raise `Denied` or `AtCapacity`."""
        config = self._config
        self.allow(target)
        while self._placed and self._placed[0] <= now - 60:
            self._placed.popleft()
        if len(self._placed) >= config.max_per_minute:
            raise Denied(
                f"[dial] does not allow more than {config.max_per_minute} calls a minute",
                code="destination_denied",
                retry_after_s=self._placed[0] + 60 - now,
            )
        if active >= config.max_concurrent:
            raise AtCapacity(f"{config.max_concurrent} calls are up already", retry_after_s=5)
        self._placed.append(now)


def _any_matches(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)
