"""The parts of an invite session: its states, its legs, and the transactions that it has in hand. Values, no behaviour
beyond small queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from phoned.sip.dialog import Dialog
from phoned.sip.events import DescriptionKind, ModifyCause, Token
from phoned.sip.message import Request, Response
from phoned.sip.offer_answer import OfferAnswer
from phoned.sip.transaction import TransactionKey


class InviteState(StrEnum):
    """Where the INVITE usage stands. What else goes on (offers, refreshes, a CANCEL that waits) are facts beside it."""

    PREPARING = "preparing"
    """Caller: our media makes the offer."""
    CALLING = "calling"
    """Caller: no provisional response yet."""
    PROCEEDING = "proceeding"
    CANCELING = "canceling"
    """Caller: given up, the final response is awaited."""
    INCOMING = "incoming"
    """Callee: nothing final is said."""
    ANSWERING = "answering"
    """Callee: shall be answered; a description or a PRACK is awaited."""
    ACCEPTED = "accepted"
    """2xx sent or received, ACK outstanding."""
    CONFIRMED = "confirmed"
    ENDED = "ended"


_S = InviteState
LEGAL: dict[InviteState, frozenset[InviteState]] = {
    _S.PREPARING: frozenset({_S.CALLING, _S.ENDED}),
    _S.CALLING: frozenset({_S.PROCEEDING, _S.CANCELING, _S.ACCEPTED, _S.ENDED}),
    _S.PROCEEDING: frozenset({_S.CALLING, _S.CANCELING, _S.ACCEPTED, _S.ENDED}),
    _S.CANCELING: frozenset({_S.ENDED}),
    _S.INCOMING: frozenset({_S.ANSWERING, _S.ENDED}),
    _S.ANSWERING: frozenset({_S.ACCEPTED, _S.ENDED}),
    _S.ACCEPTED: frozenset({_S.CONFIRMED, _S.ENDED}),
    _S.CONFIRMED: frozenset({_S.ENDED}),
    _S.ENDED: frozenset(),
}


class Deadline(Enum):
    """The session's timers."""

    DESCRIPTION = "description"
    SETUP = "setup"
    RING = "ring"
    SUCCESS = "retransmit 2xx"
    NO_ACK = "no ACK"
    OVERDUE = "no ACK over a new flow"
    RELIABLE = "retransmit reliable provisional"
    NO_PRACK = "no PRACK"
    MODIFY_AGAIN = "re-INVITE after glare or Retry-After"
    MODIFY_END = "re-INVITE without final response"
    SESSION = "session timer"
    REFERRAL = "outcome of our REFER"
    TAKEN = "REFER without a decision"
    LINGER = "words that wait for a flow"
    FAILED = "could not be sent"


class Purpose(Enum):
    """What a client transaction of ours is for."""

    INVITE = "INVITE"
    REINVITE = "re-INVITE"
    UPDATE = "UPDATE"
    PRACK = "PRACK"
    BYE = "BYE"
    REFER = "REFER"
    NOTIFY = "NOTIFY"
    MESSAGE = "INFO or MESSAGE"
    """Opaque to the call: its outcome is reported and changes nothing."""


class Use(Enum):
    """What a description that we asked for is needed for."""

    FIRST_OFFER = "offer of our INVITE"
    ACK_ANSWER = "answer in our ACK"
    PRACK_ANSWER = "answer in our PRACK"
    ANSWER_TO_PRACK = "answer in our response to PRACK"
    INCOMING = "answer, or offer, of an incoming INVITE"
    MODIFY_OFFER = "offer of our re-INVITE or UPDATE"
    REMOTE_MODIFY = "answer, or offer, in our response to a re-INVITE or UPDATE"


@dataclass(slots=True, eq=False, kw_only=True)
class Leg:
    """One dialog of the usage. A caller may have several early ones (forks); one is left once it is answered."""

    dialog: Dialog
    exchange: OfferAnswer = field(default_factory=OfferAnswer)
    early: tuple[Token, bytes] | None = None
    """Caller: the answer that came before the 2xx."""
    early_reliable: bool = False
    rseq: int | None = None
    """Caller: the last reliable provisional response that was taken."""
    prack_for: Response | None = None
    """Caller: a reliable offer that waits for our answer."""
    ack: Request | None = None
    """The ACK of the newest 2xx, as it was sent; sent again for each repetition."""
    ack_number: int = 0
    methods: frozenset[str] = frozenset()
    """What the far end allows, when it said so."""


@dataclass(slots=True, eq=False, kw_only=True)
class Outgoing:
    """A request of ours and its client transaction."""

    purpose: Purpose
    request: Request
    leg: Leg | None
    tries: int = 0
    """Challenges answered."""
    token: Token | None = None
    causes: tuple[ModifyCause, ...] = ()
    key: TransactionKey | None = None
    sent: Request | None = None
    """As it went out, once its flow has failed: with our Via."""


@dataclass(slots=True, eq=False, kw_only=True)
class Incoming:
    """A request of the far end and its server transaction."""

    key: TransactionKey
    request: Request
    leg: Leg
    final: bool = False
    """Whether it has its final response."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Want:
    """A description that our media owes."""

    token: Token
    kind: DescriptionKind
    use: Use
    leg: Leg | None
    exchange: OfferAnswer
    incoming: Incoming | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Success:
    """A 2xx of ours to an INVITE, sent again until its ACK comes (RFC 3261 13.3.1.4)."""

    incoming: Incoming
    response: Response
    number: int
    interval_s: float
    offered: bool
    """Whether it holds our offer, so that the ACK owes the answer."""
    moved: bool = False
    """The flow that its INVITE came over is gone: it is repeated over the account's new one."""
    overdue: bool = False
    """Repeated there for a while without an ACK: our re-INVITE waits for it no longer."""


@dataclass(slots=True, eq=False, kw_only=True)
class Reliable:
    """A provisional response of ours that waits for its PRACK (RFC 3262 3)."""

    response: Response
    rseq: int
    interval_s: float
    has_description: bool


@dataclass(slots=True, kw_only=True)
class CallerFacts:
    """What a caller keeps until its INVITE is answered."""

    target: str
    headers: list[tuple[str, str]]
    offerless: bool
    in_name_of: str | None = None
    """The From URI, when it is not the account's own."""
    exchange: OfferAnswer = field(default_factory=OfferAnswer)
    """Of the offer in the INVITE; each leg has its own once there is one."""
    offer: bytes = b""
    offer_token: Token = ""
    invite: Outgoing | None = None
    number: int = 0
    """The CSeq number that was used last."""
    redirects: int = 0
    reason: str | None = None
    """Reason of the CANCEL or BYE that gives it up."""
    orphan: Request | None = None
    """An INVITE whose flow broke: cancelled on the next one."""


@dataclass(slots=True, kw_only=True)
class CalleeFacts:
    """What a callee keeps until its 2xx is acknowledged."""

    incoming: Incoming
    offer: bytes | None
    peer_reliable: bool
    must_reliable: bool
    description: bytes = b""
    """Ours, once it was supplied: the answer, or the offer of an offerless INVITE."""
    ringing: list[tuple[int, bool]] = field(default_factory=list)
    """Provisional responses that wait: for a description, or for the PRACK of the one before."""
    answer_wanted: bool = False
    reliable: Reliable | None = None
    rseq: int = 0
    description_reliable: bool = False
    """Whether the description went out in a provisional response that was made reliable."""


@dataclass(slots=True, kw_only=True)
class Referral:
    """A REFER of ours, until its outcome is known."""

    token: Token
    numbers: set[int]
    """The CSeq numbers that it was said with: one of them is the ``id`` of what it subscribes to."""
    accepted: bool = False


@dataclass(slots=True, kw_only=True)
class Taken:
    """A REFER of theirs, until its outcome was told."""

    token: Token
    number: int
    incoming: Incoming | None
    """While it has no answer."""
    said: tuple[int, str] = (100, "Trying")
    """The newest of our NOTIFYs."""
    unheard: bool = False
    """Its flow broke under it."""


@dataclass(slots=True, kw_only=True)
class ModifyFacts:
    """Our re-INVITEs and UPDATEs, one at a time."""

    wishes: list[ModifyCause] = field(default_factory=list)
    offer: bytes | None = None
    """Given by the caller with the newest wish; else our media is asked."""
    use_update: bool = False
    current: Outgoing | None = None
    strikes: int = 0
    """Requests without an answer, in a row."""
    again: int = 0
    """Tries that met glare, or were put off, in a row."""
    put_off_since: float | None = None
    """When the first of these was put off by Retry-After."""
    cut_off: bool = False
    """Whether the current one was cancelled for want of a final response."""
    forerunners: list[Outgoing] = field(default_factory=list)
    """Re-INVITEs of which nothing more was heard, the oldest first, until one is accepted."""
    refused_early: tuple[ModifyCause, ...] = ()
    """Refused before the registrar confirmed the new flow: said once more after it."""
