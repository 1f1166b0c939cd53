"""Changing a call that is up: hold, the re-INVITE by hand, the repair after a new flow (recovery.md).

`Modifications` keeps the wish (shall it be held?) apart from what the far end agreed to (`held`). A wish that cannot be
sent now stands: the next re-INVITE of any kind describes it, and the far end's 2xx to that one makes it true. It must
not know call states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from phoned.calls.negotiation import Negotiation
from phoned.calls.ports import CallMedia, CallSignaling
from phoned.errors import DeadlineExceeded, Gone, Refused
from phoned.sip.events import Modified, ModifyCause, ModifyPutOff, ModifyRefused

MODIFY_BUDGET_S = 40.0
"""Longer than any INVITE transaction can take (64*T1 and a digest round)."""
PATIENCE_S = 10.0
"""Who asked by hand is not kept waiting for longer when the far end wants it said again later."""


class Owner(Protocol):
    """The call, as far as its modifications must know it."""

    def publish(self, type_: str, **facts: object) -> None: ...

    def established(self, verb: str) -> str:
        """The SIP session of a call that is up; raises `Gone` or `WrongState` otherwise."""
        ...


class Modifications:
    """See the module's docstring. Driven by the call's verbs and by the outcomes that the core reports."""

    def __init__(self, call: Owner, media: CallMedia, signaling: CallSignaling, negotiation: Negotiation) -> None:
        self.held = False
        """The far end has agreed that we hold."""
        self.on_wish: Callable[[], None] = lambda: None
        """Who is to hear that the wish is another one."""
        self._call = call
        self._media = media
        self._signaling = signaling
        self._negotiation = negotiation
        self._one_at_a_time = asyncio.Lock()
        self._awaited: tuple[ModifyCause, asyncio.Future[ModifyRefused | None]] | None = None

    async def hold(self, on: bool) -> None:
        """Hold or resume; returns after the far end's 2xx. Raises `Refused` with everything as it was, and
        `DeadlineExceeded` when there was no way to say it yet: the wish stands then, and is carried out later."""
        verb = "hold" if on else "unhold"
        self._call.established(verb)
        try:
            async with asyncio.timeout(MODIFY_BUDGET_S), self._one_at_a_time:
                session = self._call.established(verb)
                if self._negotiation.holding == on and self.held == on:
                    return
                self.wish_held(on)
                await self._send(session, ModifyCause.HOLD)
        except TimeoutError:
            raise DeadlineExceeded(f"the far end has not heard of the {verb} yet; it will, with the repair") from None

    async def reinvite(self, *, ice_restart: bool) -> None:
        """The recovery verb by hand: one re-INVITE, with an ICE restart when asked."""
        self._call.established("reinvite")
        try:
            async with asyncio.timeout(MODIFY_BUDGET_S), self._one_at_a_time:
                session = self._call.established("reinvite")
                self._negotiation.wish(ice_restart=ice_restart)
                await self._send(session, ModifyCause.RECOVERY)
        except TimeoutError:
            raise DeadlineExceeded("the far end did not answer the re-INVITE") from None

    def on_outcome(self, event: Modified | ModifyRefused) -> None:
        """What became of a re-INVITE or UPDATE of ours."""
        if isinstance(event, Modified):
            self._agreed(event)
        else:
            self._refused(event)

    def on_put_off(self, event: ModifyPutOff) -> None:
        """A re-INVITE is said again, in a while: who has asked for it by hand hears why and when."""
        if event.after_s <= PATIENCE_S or self._awaited is None:
            return
        cause, outcome = self._awaited
        if cause is ModifyCause.RECOVERY and cause in event.causes and not outcome.done():
            outcome.set_result(
                ModifyRefused(
                    session=event.session,
                    causes=event.causes,
                    status=event.status,
                    reason=event.reason,
                    retry_after_s=event.after_s,
                )
            )

    def close(self) -> None:
        """The call has ended: whoever waits hears `Gone`."""
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(Gone("the call ended meanwhile"))

    @property
    def holding(self) -> bool:
        """The wish: we hold."""
        return self._negotiation.holding

    def wish_held(self, on: bool) -> None:
        """Let what we hear and say follow the wish now; the next offer tells the far end."""
        self._negotiation.holding = on
        self._media.hold(on)
        self.on_wish()

    async def _send(self, session: str, cause: ModifyCause) -> None:
        outcome: asyncio.Future[ModifyRefused | None] = asyncio.get_running_loop().create_future()
        self._awaited = (cause, outcome)
        try:
            self._signaling.reinvite(session, cause)
            refusal = await outcome
        finally:
            self._awaited = None
        if refusal is not None:
            raise Refused(refusal.status, refusal.reason, retry_after_s=refusal.retry_after_s)

    def _agreed(self, event: Modified) -> None:
        told = self._negotiation.settled()
        if told is not None and told != self.held:
            self.held = told
            self._call.publish("call.held" if told else "call.unheld")
        if ModifyCause.RECOVERY in event.causes:
            self._call.publish("call.dialog_verified")
        if self._awaited is None:
            return
        cause, outcome = self._awaited
        # an earlier wish may be answered late, and a later re-INVITE may carry ours: what was described counts
        done = told == self._negotiation.holding if cause is ModifyCause.HOLD else cause in event.causes
        if done and not outcome.done():
            outcome.set_result(None)

    def _refused(self, event: ModifyRefused) -> None:
        if event.status == 0:
            self._negotiation.refused()
            return  # it could not be sent: wishes stand until it can
        told = self._negotiation.settled()
        self._negotiation.refused()
        overtaken = told is not None and told != self._negotiation.holding
        if ModifyCause.HOLD in event.causes:
            if overtaken:
                return  # the newest wish is on its way yet
            self.wish_held(self.held)
        if self._awaited is not None and self._awaited[0] in event.causes and not self._awaited[1].done():
            self._awaited[1].set_result(event)
