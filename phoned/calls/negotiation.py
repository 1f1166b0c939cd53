"""The seam between a SIP session and its media: who wants which description, one at a time (RFC 3264).

`Negotiation` takes the core's wishes for descriptions in order, asks the media session for them and hands them back.
It must not know call states. Media work waits for sockets, so it runs in one task per call that has something to
negotiate; a description that nobody wants any more is rolled back. An answer that cannot be used is the end of a call
that has agreed on nothing else; later it is as good as a refusal, and what ran before it keeps running.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from phoned.calls.ports import DescribedMedia, DescriptionDesk
from phoned.errors import DescriptionError, PhonedError
from phoned.sip.events import (
    AnswerReceived,
    DescriptionExpired,
    DescriptionKind,
    DescriptionWanted,
    Modified,
    ModifyCause,
    ModifyRefused,
)
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

NOT_ACCEPTABLE_HERE = 488
SERVER_ERROR = 500
OK = 200

Outcome = Modified | ModifyRefused
Tell = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferWish:
    """What the next offer shall be besides a description of the present wishes."""

    ice_restart: bool = False
    rebuild: bool = False
    pause: bool = False
    """Send nothing until the new path is there: the old one is believed dead."""


@dataclass(frozen=True, slots=True)
class Due:
    """An outcome, and who is to hear it once the answer before it was taken."""

    event: Outcome
    tell: Tell = field(repr=False)


Work = DescriptionWanted | AnswerReceived | DescriptionExpired | Due


class Negotiation:
    """One call's descriptions. Driven by `wanted`, `answered`, `expired`, `outcome`, `refused` and `settled`."""

    def __init__(
        self,
        media: DescribedMedia,
        signaling: DescriptionDesk,
        tasks: Tasks,
        *,
        on_unusable: Callable[[str], None],
    ) -> None:
        self._media = media
        self._signaling = signaling
        self._tasks = tasks
        self._on_unusable = on_unusable
        self._work: asyncio.Queue[Work] = asyncio.Queue(maxsize=32)
        self._worker: asyncio.Task[None] | None = None
        self.holding = False
        """The wish that offers describe: we hold."""
        self._wish = OfferWish()
        self._asked = OfferWish()
        self._described_hold: bool | None = None
        self._offered: str | None = None
        self._followed_fork: str | None = None
        self._expired: set[str] = set()
        self._agreed = False
        """Something is in force that can be rolled back to."""
        self._answers = self._outcomes = 0
        """Final answers, and outcomes that came with them, which wait for their turn."""
        self._unusable = False
        """The answer of the next outcome was of no use."""

    def wish(self, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False) -> None:
        """Let the next offer restart ICE or rebuild the association as well. It stands until one was accepted, or
        refused for good: an offer that met another one (glare) is made again with all that was wished."""
        self._wish = OfferWish(
            ice_restart=self._wish.ice_restart or ice_restart,
            rebuild=self._wish.rebuild or rebuild,
            pause=self._wish.pause or pause,
        )

    def start_over(self) -> None:
        """The dialog is gone before it was answered, another begins: what an early answer agreed on is built anew."""
        self.refused()
        self._followed_fork, self._agreed = None, False
        if self._media.current_offer() is not None:
            self.wish(rebuild=True)

    def on_event(self, event: DescriptionWanted | AnswerReceived | DescriptionExpired) -> None:
        """What the core says of descriptions."""
        match event:
            case DescriptionWanted():
                self.wanted(event)
            case AnswerReceived():
                self.answered(event)
            case DescriptionExpired():
                self.expired(event)

    def wanted(self, event: DescriptionWanted) -> None:
        """The core needs an offer or an answer."""
        self._enqueue(event)

    def answered(self, event: AnswerReceived) -> None:
        """The far end answered our offer."""
        if event.early and self._followed_fork not in (None, event.fork):
            return  # another fork's early answer: one offer of ours can follow one fork only (RFC 3264)
        self._followed_fork = event.fork
        self._answers += not event.early
        self._enqueue(event)

    def outcome(self, event: Outcome, tell: Tell) -> None:
        """What became of a re-INVITE of ours, for ``tell``: once the answer that it brought was taken, and as a refusal
        when that cannot be used."""
        if not self._answers:
            tell(event)
            return
        self._outcomes += 1
        self._enqueue(Due(event, tell))

    def expired(self, event: DescriptionExpired) -> None:
        """Nobody wants this description any more."""
        self._expired.add(event.token)
        self._enqueue(event)

    def refused(self) -> None:
        """Our offer was refused: everything that ran before it keeps running."""
        if self._offered is not None:
            self._offered = None
            self._media.rollback()

    def settled(self) -> bool | None:
        """Our offer was accepted, or refused for good: what it asked for is done with. Returns whether it described
        that we hold; None when there was no new description in it."""
        done, self._asked = self._asked, OfferWish()
        self._wish = OfferWish(
            ice_restart=self._wish.ice_restart and not done.ice_restart,
            rebuild=self._wish.rebuild and not done.rebuild,
            pause=self._wish.pause and not done.pause,
        )
        told, self._described_hold = self._described_hold, None
        return told

    def _enqueue(self, work: Work) -> None:
        try:
            self._work.put_nowait(work)
        except asyncio.QueueFull:
            if isinstance(work, DescriptionWanted):
                self._signaling.refuse(work.token, SERVER_ERROR)
            else:
                self._on_unusable("more descriptions at once than any call needs")
            return
        if self._worker is None or self._worker.done():
            self._worker = self._tasks.spawn("negotiate", self._run())

    async def _run(self) -> None:
        while not self._work.empty():
            work = self._work.get_nowait()
            match work:
                case DescriptionWanted():
                    await self._supply(work)
                case AnswerReceived():
                    await self._accept(work)
                case DescriptionExpired():
                    self._expired.discard(work.token)
                    if self._offered == work.token:
                        self.refused()
                case Due():
                    self._tell(work)

    async def _supply(self, wanted: DescriptionWanted) -> None:
        if wanted.token in self._expired:
            return
        try:
            description = await self._describe(wanted)
        except DescriptionError as error:
            log.info("remote description refused: %s", error.detail)
            self._signaling.refuse(wanted.token, error.status)
        except PhonedError as error:
            log.warning("no description to give: %s", error.detail)
            self._signaling.refuse(wanted.token, NOT_ACCEPTABLE_HERE)
        else:
            if wanted.kind is DescriptionKind.OFFER:
                self._offered = wanted.token
            else:
                self._agreed = True
            self._signaling.supply(wanted.token, description)

    async def _describe(self, wanted: DescriptionWanted) -> bytes:
        if wanted.kind is DescriptionKind.ANSWER:
            if wanted.remote is None:
                raise DescriptionError("an answer is wanted, but there is no offer")
            return await self._media.answer(wanted.remote)
        self.refused()  # an offer that is still open was overtaken by this one
        current = self._media.current_offer()
        if current is not None and set(wanted.causes) == {ModifyCause.REFRESH}:
            return current
        wish = self._asked = self._wish
        self._described_hold = self.holding
        return await self._media.offer(ice_restart=wish.ice_restart, rebuild=wish.rebuild, pause=wish.pause)

    async def _accept(self, answer: AnswerReceived) -> None:
        try:
            await self._media.accept_answer(answer.description)
        except PhonedError as error:
            log.warning("the answer cannot be used: %s", error.detail)
            if not answer.early:
                self._rejected(error.detail)
        else:
            if not answer.early:
                self._offered, self._agreed = None, True
        finally:
            self._answers -= not answer.early

    def _rejected(self, detail: str) -> None:
        if self._outcomes:
            self._unusable = True
        elif self._agreed:
            self.refused()  # it came in an ACK: nobody waits for its outcome
        else:
            self._on_unusable(detail)

    def _tell(self, due: Due) -> None:
        event, unusable = due.event, self._unusable
        self._outcomes, self._unusable = self._outcomes - 1, False
        if unusable and isinstance(event, Modified):
            reason = "no usable answer in it"
            event = ModifyRefused(session=event.session, causes=event.causes, status=OK, reason=reason)
        due.tell(event)
