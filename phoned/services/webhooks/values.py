"""What webhooks are made of and how they are made into something else: patterns, lanes, envelopes. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol

from phoned.config.report import nearest
from phoned.errors import InvalidValue
from phoned.event_types import EVENT_TYPES
from phoned.events import Event, envelope
from phoned.plain import dumps
from phoned.webhook import Parcel, StoredWebhook, WebhookView


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a receiver. ``body`` is cut off after `MAX_BODY` bytes and one more."""

    status: int
    retry_after: str | None
    body: bytes


class Post(Protocol):
    """One attempt over HTTP. Raises `PhonedError` with a reason for people when there is no answer."""

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: str, *, trusted: bool, timeout_s: float
    ) -> Answer: ...


_PATTERN = re.compile(r"[a-z_*?]{1,64}(\.[a-z_*?]{1,64}){0,3}", re.ASCII)
MAX_PATTERNS = 64
_OF_A_CALL = ("recording", "playback", "stream", "message")
"""Objects that name the call which they belong to."""


def check_events(events: Sequence[str], pointer: str = "") -> tuple[str, ...]:
    """Patterns such as ``call.*``, each of which fits some event: a slip of the pen would be silence for ever. Raises
    `InvalidValue`."""
    if not 1 <= len(events) <= MAX_PATTERNS:
        raise InvalidValue(f"name 1 to {MAX_PATTERNS} events", pointer=pointer)
    for index, pattern in enumerate(events):
        if not _PATTERN.fullmatch(pattern):
            raise InvalidValue(
                f"{pattern[:64]!r} is no event: write it like 'call.ended', 'call.*' or '*'",
                pointer=f"{pointer}/{index}" if pointer else "",
            )
        if not any(fnmatchcase(type_, pattern) for type_ in EVENT_TYPES):
            families = sorted({f"{type_.partition('.')[0]}.*" for type_ in EVENT_TYPES})
            near = nearest(pattern, families if pattern.endswith("*") else EVENT_TYPES)
            raise InvalidValue(
                f"no event is called {pattern[:64]!r}" + (near or ": /asyncapi.json lists them"),
                pointer=f"{pointer}/{index}" if pointer else "",
            )
    return tuple(events)


def wants(patterns: Sequence[str], type_: str) -> bool:
    """Whether an event is asked for."""
    return any(fnmatchcase(type_, pattern) for pattern in patterns)


def lane_of(data: Mapping[str, Any]) -> str:
    """What an event must stay in order with: its call, else its account, else all others of this phone."""
    call = data.get("call")
    if isinstance(call, Mapping):
        return str(call["id"])
    for name in _OF_A_CALL:
        thing = data.get(name)
        if isinstance(thing, Mapping):
            owner = thing.get("call") or (f"account:{thing['account']}" if "account" in thing else None)
            return str(owner) if owner else "node"
    account = data.get("account")
    return f"account:{account['id']}" if isinstance(account, Mapping) else "node"


def parcel_of(event: Event) -> Parcel:
    """An event of the log, ready to be kept. Its body is the envelope that every other surface shows."""
    told = envelope(event)
    return Parcel(
        id=event.id,
        type=event.type,
        seq=event.seq,
        lane=lane_of(told["data"]),
        body=dumps(told),
        created_at=event.time,
    )


def parcel_beside(told: Mapping[str, Any], created_at: datetime) -> Parcel:
    """An envelope that is not in the sequence of events."""
    return Parcel(
        id=told["id"], type=told["type"], seq=None, lane=told["type"], body=dumps(told), created_at=created_at
    )


def view_of(webhook: StoredWebhook, pending: int) -> WebhookView:
    """A webhook for everybody."""
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        events=webhook.events,
        enabled=webhook.enabled,
        last_status=webhook.last_status,
        source=webhook.source,
        created_at=webhook.created_at,
        failing_since=webhook.failing_since,
        disabled_reason=webhook.disabled_reason,
        pending=pending,
    )
