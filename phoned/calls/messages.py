"""Text between people (SIP MESSAGE, RFC 3428), in and out, outside of calls and inside.

Owns the messages that wait for their answer. The SIP core sends, answers challenges and keeps the time; it must not
know what is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from phoned.calls.line import AccountFacts
from phoned.calls.policy import DialPolicy, Target, target_of
from phoned.clock import WallClock
from phoned.errors import AtCapacity, DeadlineExceeded, InvalidValue, NotFound, NotRegistered, Refused
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.model import MessageRequest, MessageView, Peer
from phoned.sip.events import MessageReceived, RequestAnswered

MAX_BODY = 16 * 1024
"""Room is left below the limits of a SIP message (RFC 3428 section 8 wants much less without congestion control)."""
MAX_WAITING = 100
ANSWER_S = 40.0
"""The core's own deadline is 64*T1 = 32 s."""


class MessageSignaling(Protocol):
    """The verb of the SIP driver."""

    def message(self, account: str, target: str, content_type: str, body: bytes) -> str:
        """Send; `RequestAnswered` with the token follows. Raises `NotRegistered` and `InvalidValue`."""
        ...


class MessageDesk:
    """Driven by `send`, and by the call manager with what the core reports."""

    def __init__(
        self,
        signaling: MessageSignaling,
        accounts: Callable[[str], AccountFacts | None],
        policy: DialPolicy,
        bus: EventBus,
        clock: WallClock,
    ) -> None:
        self._signaling = signaling
        self._accounts = accounts
        self._policy = policy
        self._bus = bus
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[RequestAnswered]] = {}
        self._early: RequestAnswered | None = None
        """An answer that came before `send` knew its token: the core may refuse at once."""

    async def send(self, request: MessageRequest) -> MessageView:
        """Returns once the far end, or a server that keeps it for them, took the message. Raises `Refused`,
        `DeadlineExceeded`, `NotFound`, `NotRegistered`, `Denied`, `InvalidValue`, `AtCapacity`."""
        account, target, body = self._checked(request)
        if len(self._waiting) >= MAX_WAITING:
            raise AtCapacity(f"{MAX_WAITING} messages wait for their answer", retry_after_s=5)
        if not account.online:
            raise NotRegistered(f"account {request.account} is not registered", retry_after_s=5)
        view = MessageView(
            id=new_id("msg"),
            account=request.account,
            direction="out",
            peer=Peer(uri=target.uri, number=target.number),
            content_type=request.content_type,
            body=request.body,
            created_at=self._clock(),
            state="sending",
        )
        answered = await self._ask(request, target, body)
        if answered is not None and 200 <= answered.status < 300:
            view = replace(view, state="sent", sip_code=answered.status)
            self._bus.publish("message.sent", message=view)
            return view
        view = replace(view, state="failed", sip_code=answered.status or None if answered else None)
        self._bus.publish("message.failed", message=view)
        if answered is None or not answered.status:
            raise DeadlineExceeded("the message was not answered; it may have arrived or not")
        raise Refused(answered.status, answered.reason)

    def _checked(self, request: MessageRequest) -> tuple[AccountFacts, Target, bytes]:
        account = self._accounts(request.account)
        if account is None:
            raise NotFound(f"no account {request.account}", pointer="/account")
        target = target_of(request.to, account.aor)
        self._policy.allow(target)
        body = request.body.encode()
        if len(body) > MAX_BODY:
            raise InvalidValue(f"a message has at most {MAX_BODY} bytes", pointer="/body")
        main, slash, sub = request.content_type.partition(";")[0].strip().partition("/")
        if not slash or not main or not sub or any(ord(c) < 32 or ord(c) > 126 for c in request.content_type):
            raise InvalidValue(f"{request.content_type!r} is no media type", pointer="/content_type")
        return account, target, body

    async def _ask(self, request: MessageRequest, target: Target, body: bytes) -> RequestAnswered | None:
        self._early = None
        token = self._signaling.message(request.account, target.uri, request.content_type, body)
        early, self._early = self._early, None
        if early is not None and early.token == token:
            return early
        waiting: asyncio.Future[RequestAnswered] = asyncio.get_running_loop().create_future()
        self._waiting[token] = waiting
        try:
            async with asyncio.timeout(ANSWER_S):
                return await waiting
        except TimeoutError:
            return None
        finally:
            del self._waiting[token]

    def on_answered(self, event: RequestAnswered) -> None:
        """What became of a MESSAGE of ours."""
        waiting = self._waiting.get(event.token)
        if waiting is None:
            self._early = event
        elif not waiting.done():
            waiting.set_result(event)

    def on_received(self, event: MessageReceived, call: str | None) -> None:
        """Somebody wrote to us; the core has answered 200. ``call``: inside of which it came."""
        view = MessageView(
            id=new_id("msg"),
            account=event.account,
            direction="in",
            peer=Peer(uri=event.from_uri, number=None, display_name=event.from_display_name),
            content_type=event.content_type,
            body=event.body.decode("utf-8", "replace"),
            created_at=self._clock(),
            state="received",
            call=call,
        )
        self._bus.publish("message.received", message=view)
