"""Who owes whom a description: the offer/answer state of one session (RFC 3264, RFC 6337), with tokens and deadlines.

It holds no description longer than its exchange lasts, reads none, and must not know who makes them. Versions in ``o=``
lines belong to the media layer. One exchange at a time: an offer is answered, refused or withdrawn before the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from phoned.sip.events import DescriptionKind, ModifyCause, Token


class OfferAnswerState(Enum):
    """Whose move it is."""

    IDLE = "idle"
    WANT_OFFER = "want_offer"
    """We asked our media for an offer; nothing is on the wire."""
    LOCAL_OFFER = "local_offer"
    """Our offer is out, the far end owes an answer."""
    REMOTE_OFFER = "remote_offer"
    """The far end's offer is in, our media owes an answer."""


class Carrier(Enum):
    """Which request, or the response to it, carries the exchange."""

    INVITE = "INVITE"
    REINVITE = "re-INVITE"
    PRACK = "PRACK"
    UPDATE = "UPDATE"


class Conflict(Enum):
    """Why an offer of the far end cannot be taken now (RFC 3261 14.2, RFC 3311 5.2)."""

    GLARE = 491
    """Ours is out."""
    BUSY = 500
    """The one before is not answered yet: ``Retry-After`` goes with it."""


_S = OfferAnswerState
LEGAL: dict[OfferAnswerState, frozenset[OfferAnswerState]] = {
    _S.IDLE: frozenset({_S.WANT_OFFER, _S.LOCAL_OFFER, _S.REMOTE_OFFER}),
    _S.WANT_OFFER: frozenset({_S.LOCAL_OFFER, _S.IDLE}),
    _S.LOCAL_OFFER: frozenset({_S.IDLE}),
    _S.REMOTE_OFFER: frozenset({_S.IDLE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One offer and its answer, under way."""

    token: Token
    carrier: Carrier
    causes: tuple[ModifyCause, ...] = ()
    deadline: float | None = None
    """Until when our own media may take; None once it is the far end's turn."""


class OfferAnswer:
    """The state of one session. Driven by `phoned.sip.invite_session`."""

    __slots__ = ("established", "exchange", "state")

    def __init__(self) -> None:
        self.state = OfferAnswerState.IDLE
        self.exchange: Exchange | None = None
        self.established = False
        """Whether one exchange was completed."""

    def _enter(self, state: OfferAnswerState, exchange: Exchange | None) -> None:
        assert state in LEGAL[self.state], f"{self.state} -> {state}"
        self.state = state
        self.exchange = exchange

    @property
    def idle(self) -> bool:
        """Nobody owes anything."""
        return self.state is OfferAnswerState.IDLE

    @property
    def wanted(self) -> DescriptionKind | None:
        """What our own media owes."""
        if self.state is OfferAnswerState.WANT_OFFER:
            return DescriptionKind.OFFER
        return DescriptionKind.ANSWER if self.state is OfferAnswerState.REMOTE_OFFER else None

    @property
    def deadline(self) -> float | None:
        """When our own media is too late."""
        return self.exchange.deadline if self.exchange else None

    def holds(self, token: Token) -> bool:
        """Whether ``token`` is the one that our media owes a description for."""
        return self.exchange is not None and self.exchange.token == token and self.wanted is not None

    def want_offer(self, token: Token, carrier: Carrier, deadline: float, causes: tuple[ModifyCause, ...] = ()) -> None:
        """Our media was asked for an offer."""
        self._enter(
            OfferAnswerState.WANT_OFFER, Exchange(token=token, carrier=carrier, causes=causes, deadline=deadline)
        )

    def offered(self, token: Token, carrier: Carrier, causes: tuple[ModifyCause, ...] = ()) -> None:
        """Our offer goes out."""
        self._enter(OfferAnswerState.LOCAL_OFFER, Exchange(token=token, carrier=carrier, causes=causes))

    def conflict(self) -> Conflict | None:
        """Whether an offer of the far end must be refused now. An offer that our media is only making is no conflict
        (withdraw it first), except the first of a session, which the far end waits for."""
        if self.state is OfferAnswerState.REMOTE_OFFER:
            return Conflict.BUSY
        if self.state is OfferAnswerState.LOCAL_OFFER:
            return Conflict.GLARE
        if self.state is OfferAnswerState.WANT_OFFER and not self.established:
            return Conflict.GLARE
        return None

    def remote_offered(self, token: Token, carrier: Carrier, deadline: float) -> None:
        """The far end's offer came in, and our media was asked for the answer."""
        self._enter(OfferAnswerState.REMOTE_OFFER, Exchange(token=token, carrier=carrier, deadline=deadline))

    def answered(self) -> None:
        """The answer went out, or came in: the exchange is complete."""
        self._enter(OfferAnswerState.IDLE, None)
        self.established = True

    def withdraw(self) -> Exchange | None:
        """The exchange came to nothing; the session is as before. Returns it, None when there was none."""
        exchange = self.exchange
        if exchange is not None:
            self._enter(OfferAnswerState.IDLE, None)
        return exchange
