"""Whether a call that comes in rings, is answered or is refused: rules, callers who may make us answer, do not disturb.

The headers that ask a phone to answer by itself (``Answer-Mode``, RFC 5373; ``Call-Info: ...;answer-after=0``;
``Alert-Info: ...;info=alert-autoanswer``) count for listed callers alone: from anybody else they would be a bug in the
room. Their URLs are never fetched. Nothing is remembered but what was configured and what was wished.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from phoned.config.schema import IncomingRule
from phoned.errors import MalformedMessage
from phoned.sip.uri import Uri

DO_NOT_DISTURB = 480
"""RFC 3261 21.4.18 names this very case: the server may still have a voice mailbox."""
LONGEST_DELAY_S = 60.0
"""What ``answer-after`` may ask for."""
_ANSWER_AFTER = re.compile(r";\s*+answer-after\s*+=\s*+([0-9]{1,6})\s*+(?:[;,]|$)", re.IGNORECASE)
_ALERT = re.compile(r"(?:^|[;,])\s*+info\s*+=\s*+\"?+\s*+alert-autoanswer\s*+\"?+\s*+(?:[;,]|$)", re.IGNORECASE)
_AUTO = re.compile(r"\s*+auto\s*+(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and whom: the URIs as they were written, and all header fields."""

    account: str
    caller: str
    called: str
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and how many seconds from now. ``code`` goes with ``reject``."""

    action: Literal["ring", "answer", "reject", "stream"] = "ring"
    after_s: float = 0.0
    code: int = 486
    rule: IncomingRule | None = None


class IncomingPolicy:
    """Asked for each call. Driven by the call manager; changed by a reload and by `do_not_disturb`."""

    def __init__(self, rules: Sequence[IncomingRule] = (), auto_callers: Sequence[str] = ()) -> None:
        self._rules = tuple(rules)
        self._auto_callers = tuple(auto_callers)
        self.do_not_disturb = False

    def change(self, rules: Sequence[IncomingRule], auto_callers: Sequence[str]) -> None:
        """Other rules, for calls that come from now on."""
        self._rules, self._auto_callers = tuple(rules), tuple(auto_callers)

    def decide(self, call: Caller) -> Decision:
        """The first rule that matches, unless the caller may make us answer, or nobody may disturb. A rule that rejects
        comes before both."""
        rule = incoming_rule(self._rules, account=call.account, caller=call.caller, called=call.called)
        if rule is not None and rule.action == "reject" and not rule.after_s:
            return Decision(action="reject", code=rule.code, rule=rule)
        if self.do_not_disturb:
            return Decision(action="reject", code=DO_NOT_DISTURB)
        asked_s = asked_answer_s(call.headers)
        if asked_s is not None and _matches_any(self._auto_callers, call.caller):
            return Decision(action="answer", after_s=asked_s)
        if rule is None:
            return Decision()
        return Decision(action=rule.action, after_s=rule.after_s, code=rule.code, rule=rule)


def incoming_rule(rules: Sequence[IncomingRule], *, account: str, caller: str, called: str) -> IncomingRule | None:
    """The first rule that matches, if any."""
    for rule in rules:
        fits = fnmatchcase(account.lower(), rule.account.lower())
        if fits and _matches(rule.match, caller) and _matches(rule.to, called):
            return rule
    return None


def asked_answer_s(headers: Iterable[tuple[str, str]]) -> float | None:
    """After how many seconds the caller wants us to answer by ourselves; None when nothing asks for it."""
    for name, value in headers:
        match name.lower():
            case "answer-mode" | "priv-answer-mode" if _AUTO.match(value):
                return 0.0
            case "call-info" if found := _ANSWER_AFTER.search(value):
                return min(float(found[1]), LONGEST_DELAY_S)
            case "alert-info" if _ALERT.search(value):
                return 0.0
    return None


def _matches_any(patterns: Iterable[str], uri: str) -> bool:
    return any(_matches(pattern, uri) for pattern in patterns)


def _matches(pattern: str, uri: str) -> bool:
    """Without case. A URI may be written in many ways; the plainest one counts as well, so that an escape is no way
    around a rule."""
    return any(fnmatchcase(name, pattern.lower()) for name in (uri.lower(), _plain(uri)))


def _plain(uri: str) -> str:
    """``scheme:user@host`` with the user part unescaped, without port and parameters."""
    try:
        parsed = Uri.parse(uri)
    except MalformedMessage:
        return uri.lower()
    user = f"{parsed.user}@" if parsed.user else ""
    return f"{parsed.scheme}:{user}{parsed.host}".lower()
