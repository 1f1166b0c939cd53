"""The UAC/UAS core of all accounts (RFC 3261 8): the one pure object that the driver feeds.

It owns accounts, flows, registrations and sessions, and only routes between them: *up is returned, down is queued,
time is passed in*. It must not know sockets, clocks, session descriptions or why a flow was dialled.

Every input takes ``now`` (monotonic seconds) and returns the events it caused, in order. Drain `outbox` after each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phoned.sip.account import AccountParameters, FlowParameters, Limits
from phoned.sip.events import AccountId, Event, FlowId, ModifyCause, SessionId, Token


class UserAgent:
    """Driven by `phoned.signaling`. Verbs about things that do not exist raise `phoned.errors.UsageError`."""

    def __init__(self, *, random: Any, limits: Limits | None = None) -> None: ...

    # --- accounts and flows

    def add_account(self, account: AccountId, parameters: AccountParameters) -> None: ...

    def remove_account(self, account: AccountId, now: float) -> list[Event]:
        """Ends its sessions (without a word on the wire) and forgets it."""
        ...

    def flow_up(self, flow: FlowId, account: AccountId, parameters: FlowParameters, now: float) -> list[Event]:
        """A connected flow. It is not used for calls before it is registered or adopted."""
        ...

    def flow_down(self, flow: FlowId, now: float) -> list[Event]:
        """The flow is gone: its transactions fail, established sessions wait for the next flow."""
        ...

    def move_account(self, account: AccountId, flow: FlowId, now: float) -> list[Event]:
        """Adopt ``flow`` for everything the account says from now on; its sessions move there. `Registered` on a flow
        adopts it by itself."""
        ...

    # --- bytes and time

    def receive(self, flow: FlowId, data: bytes, now: float) -> list[Event]:
        """One message (or keep-alive) from the network. Never raises, whatever the bytes are."""
        ...

    def tick(self, now: float) -> list[Event]: ...

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        ...

    def outbox(self) -> list[tuple[FlowId, bytes]]:
        """What to send, in order; emptied by the call."""
        ...

    # --- registration

    def register(self, account: AccountId, flow: FlowId, now: float, expires_s: int | None = None) -> list[Event]: ...

    def unregister(self, account: AccountId, now: float) -> list[Event]: ...

    # --- calls

    def invite(
        self,
        account: AccountId,
        target: str,
        now: float,
        *,
        headers: Sequence[tuple[str, str]] = (),
        offer: bytes | None = None,
        offerless: bool = False,
    ) -> tuple[SessionId, list[Event]]:
        """A new outgoing call. Without ``offer`` (and not ``offerless``) a `DescriptionWanted` comes first."""
        ...

    def ring(self, session: SessionId, now: float, *, status: int = 180, early_media: bool = False) -> list[Event]:
        """Send a provisional response; ``early_media`` asks for an answer to go with it (183 as a rule)."""
        ...

    def answer(self, session: SessionId, now: float) -> list[Event]:
        """Answer an incoming call: a `DescriptionWanted` follows when none was given yet."""
        ...

    def reject(
        self, session: SessionId, now: float, *, status: int = 486, reason: str = "", retry_after_s: int | None = None
    ) -> list[Event]: ...

    def hangup(self, session: SessionId, now: float, *, reason: str | None = None) -> list[Event]:
        """Make it end, whatever its state: CANCEL, BYE or a refusal. ``reason`` is a Reason header value. `Ended`
        comes at once after an answered call (the BYE is on its way), and with the final response before that."""
        ...

    def reinvite(
        self, session: SessionId, now: float, cause: ModifyCause, *, offer: bytes | None = None
    ) -> list[Event]:
        """One state-preserving re-INVITE; wishes that come while one is in flight are gathered into the next."""
        ...

    def info(
        self, session: SessionId, content_type: str, body: bytes, now: float, *, info_package: str | None = None
    ) -> tuple[Token, list[Event]]: ...

    def message(
        self, account: AccountId, target: str, content_type: str, body: bytes, now: float
    ) -> tuple[Token, list[Event]]: ...

    def session_message(
        self, session: SessionId, content_type: str, body: bytes, now: float
    ) -> tuple[Token, list[Event]]: ...

    def options(self, account: AccountId, target: str, now: float) -> tuple[Token, list[Event]]: ...

    # --- descriptions

    def supply(self, token: Token, description: bytes, now: float) -> list[Event]:
        """The description that was wanted. A stale token is ignored."""
        ...

    def refuse(self, token: Token, status: int, now: float) -> list[Event]:
        """There will be none; ``status`` answers the far end where it waits for one. A stale token is ignored."""
        ...

    # --- journal

    def snapshot(self, session: SessionId) -> Mapping[str, Any]:
        """The confirmed dialog as plain JSON-able values."""
        ...

    def restore(self, account: AccountId, snapshot: Mapping[str, Any], now: float) -> SessionId:
        """A session from an earlier life; `reinvite` it when a flow is registered. Raises `InvalidValue`."""
        ...
