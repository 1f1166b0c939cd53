"""SIP messages: those of a call as they passed, and text that people send (RFC 3428)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from phoned.model.calls import Peer
from phoned.model.states import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessageView:
    """One SIP message as it passed, without secrets. ``local`` and ``remote``: ``address:port`` of its socket."""

    time: datetime
    direction: Literal["sent", "received"]
    sip_call_id: str
    flow: int
    transport: str
    local: str
    remote: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """The SIP of a call. ``complete``: False when some of it is not kept (any more)."""

    call: str
    sip_call_ids: tuple[str, ...]
    complete: bool
    messages: tuple[SipMessageView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRequest:
    """Text to be sent (SIP MESSAGE, RFC 3428)."""

    account: str
    to: str
    body: str
    content_type: str = "text/plain;charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """Text that was sent or received. ``call``: inside of which it came."""

    id: str
    account: str
    direction: Direction
    peer: Peer
    content_type: str
    body: str
    created_at: datetime
    state: Literal["sending", "sent", "failed", "received"]
    sip_code: int | None = None
    call: str | None = None
