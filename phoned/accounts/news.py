"""What an account tells the world: its events, and what must be remembered to tell them right."""

from __future__ import annotations

import logging
from collections.abc import Callable

from phoned.events import EventBus
from phoned.model import AccountView, Cause, LastError
from phoned.recovery.proxies import Move

log = logging.getLogger(__name__)


class AccountNews:
    """Publishes the events of one account. Driven by `phoned.accounts.account`; times are monotonic seconds."""

    def __init__(self, bus: EventBus, view: Callable[[], AccountView]) -> None:
        self._bus = bus
        self._view = view
        self._outage_began: float | None = None
        self._move: Move | None = None
        self._matter: Cause | None = None
        self._waiting: list[tuple[str, dict[str, object]]] = []
        self.ever_registered = False
        self.last_error: LastError | None = None

    def tell(self, type_: str, **facts: object) -> None:
        """An event, with the account's full view of the moment when it is published (`flush`): what happens changes the
        state too, and the two are told as one."""
        self._waiting.append((type_, facts))

    def flush(self) -> None:
        """Publish what there is to tell: the state is right now."""
        waiting, self._waiting = self._waiting, []
        for type_, facts in waiting:
            self._bus.publish(type_, account=self._view(), **facts)

    def outage(self, now: float) -> None:
        """From now on the account cannot be reached, unless it could not before."""
        if self._outage_began is None:
            self._outage_began = now

    def failure(self, cause: Cause, detail: str, status: int | None = None) -> None:
        """Something came to nothing."""
        self.last_error = LastError(cause=cause, sip_code=status, detail=detail)
        self._matter = cause

    def moving(self, move: Move | None) -> None:
        """Another outbound proxy was chosen; it is told once the account is registered there."""
        if move is not None:
            log.info("outbound proxy %s -> %s (%s)", move.old, move.new, move.why)
            self._move = move
            # to go back to the preferred proxy is as much a wish as to go to the other one
            self._matter = Cause(move.why) if move.why in set(Cause) else Cause.API

    def why(self, suspect: Cause | None) -> Cause | None:
        """What is the matter: the doubt of the flow in use, else what happened last: a failure, or a move."""
        return suspect or self._matter

    def attempt_failed(self, cause: Cause, *, first: bool) -> None:
        """A dial, or what followed it, came to nothing."""
        if cause is Cause.TLS:
            self.tell("account.tls_error")
        self.tell("account.connect_failed", cause=str(cause), first=first and not self.ever_registered)

    def reconnecting(self, attempt: int, cause: Cause, next_in_s: float) -> None:
        """The next attempt, and when."""
        self.tell("account.reconnecting", n=attempt, cause=str(cause), next_in_s=round(next_in_s, 3))

    def registered(self, now: float, attempts: int, *, never_left: bool) -> None:
        """Registered on another flow than before. ``never_left``: it took the place of one that was only doubted."""
        began, self._outage_began = self._outage_began, None
        self.last_error = self._matter = None
        if not never_left:
            self.tell("account.registered")
        if self.ever_registered and began is not None:
            self.tell("account.reconnected", outage_ms=round((now - began) * 1000), attempts=max(attempts, 1))
        if self._move is not None:
            move, self._move = self._move, None
            self.tell("account.proxy_changed", **{"from": move.old, "to": move.new, "why": move.why})
        self.ever_registered = True

    def spared(self) -> None:
        """A doubt was unfounded: there was no outage."""
        self._outage_began = None
