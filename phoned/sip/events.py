"""What the SIP core tells its driver: frozen values, returned by every input of `phoned.sip.user_agent.UserAgent`.

Accounts and sessions are named by strings, flows by the integer that the driver gave them. Session descriptions are
opaque bytes. A session yields exactly one `Ended`, and nothing after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from phoned.sip.message_summary import MessageSummary

AccountId = str
SessionId = str
FlowId = int
Token = str


class DescriptionKind(StrEnum):
    """RFC 3264: who speaks first."""

    OFFER = "offer"
    ANSWER = "answer"


class Party(StrEnum):
    """By whom a session ended."""

    LOCAL = "local"
    REMOTE = "remote"
    SYSTEM = "system"


class EndCause(StrEnum):
    """Why a session ended, in the core's words."""

    BYE = "bye"
    """Hung up by `Ended.by` after it was answered."""
    CANCELED = "canceled"
    """Given up by the caller (`Ended.by` tells which end called) before it was answered."""
    REFUSED = "refused"
    """A final response of 300 or above: received (by remote) or sent (by local)."""
    TIMEOUT = "timeout"
    """No final response to the INVITE in time."""
    NO_ANSWER = "no_answer"
    """It rang for longer than the ring time."""
    UNREACHABLE = "unreachable"
    """The flow broke, or there was none, before the call was answered."""
    NO_ACK = "no_ack"
    """Our 2xx was never acknowledged (RFC 3261 13.3.1.4)."""
    DIALOG_GONE = "dialog_gone"
    """481 to a request inside the dialog: the far end has no such call."""
    NO_ANSWER_FROM_PEER = "no_answer_from_peer"
    """A request inside the dialog stayed without an answer, twice."""
    SESSION_EXPIRED = "session_expired"
    """RFC 4028: not refreshed in time."""
    DESCRIPTION_FAILED = "description_failed"
    """Offer and answer came to nothing: an answer was missing, or our side refused to give one."""
    FLOW_LOST = "flow_lost"
    """Answered, then ended by its owner while it had no flow for a BYE."""
    FAILED = "failed"
    """Our own fault."""


class ModifyCause(StrEnum):
    """Why a session is re-negotiated. Passed through from the caller, so that the outcome can be told apart."""

    HOLD = "hold"
    RECOVERY = "recovery"
    MEDIA = "media"
    REFRESH = "refresh"
    TARGET = "target"


# --- registration -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A REGISTER was answered with 200 and our binding is in it."""

    account: AccountId
    flow: FlowId
    expires_s: float
    contact: str
    pub_gruu: str | None = None
    temp_gruu: str | None = None
    service_route: tuple[str, ...] = ()
    flow_timer_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationFailed:
    """A REGISTER came to nothing. ``cause``: refused, timeout, flow, auth, unanswerable. ``status`` when answered."""

    account: AccountId
    flow: FlowId
    cause: str
    status: int | None = None
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregistered:
    """The binding was removed (by us)."""

    account: AccountId
    flow: FlowId


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingsTold:
    """A REGISTER that only asks was answered with 200: the Contacts of the AOR, ours or anybody's."""

    account: AccountId
    flow: FlowId
    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationIdentityChanged:
    """Call-ID and CSeq to persist before they are needed again."""

    account: AccountId
    call_id: str
    cseq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesWaiting:
    """News of the account's mailbox (RFC 3842)."""

    account: AccountId
    summary: MessageSummary


# --- description seam -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionWanted:
    """The core needs a description: answer by `supply(token, ...)` or `refuse(token, ...)` before ``deadline``.

    ``remote`` is the offer to be answered. ``causes`` tells why an offer is wanted after the first. ``fork`` is the
    remote tag of the early dialog that is meant, when there may be several.
    """

    session: SessionId
    token: Token
    kind: DescriptionKind
    remote: bytes | None
    deadline: float
    causes: tuple[ModifyCause, ...] = ()
    fork: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerReceived:
    """The far end answered our offer ``token``. ``early``: in a provisional response of the early dialog ``fork``.

    With forking, several forks may each answer the same offer; the one that is answered for good comes last, with
    ``early`` false (also when its description is the one that its provisional response had).
    """

    session: SessionId
    token: Token
    description: bytes
    early: bool
    fork: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionExpired:
    """A `DescriptionWanted` was overtaken or its deadline passed: nothing need be supplied any more. An answer that
    was already being made, or an offer that was sent, is to be rolled back."""

    session: SessionId
    token: Token


# --- session ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall:
    """An INVITE for an account, before anything but 100 was said. Next: `ring`, `answer`, `reject`.

    ``headers`` are all header fields in order (long names, unfolded values). ``replaces``: the session whose place it
    takes (RFC 3891), which is this account's and not ended; answer this one, then end that one.
    """

    session: SessionId
    account: AccountId
    flow: FlowId
    call_id: str
    from_uri: str
    from_display_name: str | None
    to_uri: str
    request_uri: str
    headers: tuple[tuple[str, str], ...]
    has_offer: bool
    replaces: SessionId | None = None
    asserted_uri: str | None = None
    asserted_display_name: str | None = None
    """P-Asserted-Identity (RFC 3325): who the server says it is."""
    private: bool = False
    """The caller asked that nobody learns who it is (RFC 3323)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A provisional response to our INVITE, above 100. ``early_media``: a description came with it."""

    session: SessionId
    status: int
    reason: str
    fork: str | None
    reliable: bool
    early_media: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A 2xx was received (and acknowledged) or sent: the call is up."""

    session: SessionId
    call_id: str
    local_tag: str
    remote_tag: str
    remote_uri: str
    remote_target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Our 2xx was acknowledged (callee only); the dialog can be modified from now on."""

    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Modified:
    """Our re-INVITE or UPDATE was accepted. ``causes`` are all the wishes that it carried."""

    session: SessionId
    causes: tuple[ModifyCause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyRefused:
    """Our re-INVITE or UPDATE was refused; the session is as it was. ``status`` 0: it could not be sent."""

    session: SessionId
    causes: tuple[ModifyCause, ...]
    status: int
    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyPutOff:
    """Our re-INVITE or UPDATE was refused for ``after_s``: it is said again then, or on a new flow before that."""

    session: SessionId
    causes: tuple[ModifyCause, ...]
    status: int
    reason: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModified:
    """The far end's re-INVITE or UPDATE was accepted by us (its description, if any, came by `DescriptionWanted`)."""

    session: SessionId
    with_description: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSuspect:
    """A request inside a dialog stayed without an answer: the flow, not the call, is to be doubted first."""

    session: SessionId
    account: AccountId
    flow: FlowId


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogChanged:
    """What is worth to be kept of the session changed; `UserAgent.snapshot` gives it for the journal."""

    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a session, once. ``status`` and ``reason`` of the final response that ended it; ``reasons`` the raw
    Reason header values (RFC 3326) of the far end's BYE, CANCEL or response; ``contacts`` of a 3xx."""

    session: SessionId
    cause: EndCause
    by: Party
    status: int | None = None
    reason: str = ""
    reasons: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    retry_after_s: float | None = None


# --- requests beside the call -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoReceived:
    """An INFO inside a dialog, already answered with 200."""

    session: SessionId
    content_type: str
    body: bytes
    info_package: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """A MESSAGE (RFC 3428), already answered with 200. ``session`` when it came inside a dialog."""

    account: AccountId
    session: SessionId | None
    from_uri: str
    from_display_name: str | None
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswered:
    """The final outcome of an INFO, MESSAGE or OPTIONS of ours. ``status`` 0: no answer (timeout or broken flow)."""

    account: AccountId
    session: SessionId | None
    token: Token
    method: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]


# --- transfers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferAccepted:
    """The far end will try what our REFER ``token`` asks for (202)."""

    session: SessionId
    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferProgress:
    """How the far end fares with our REFER (RFC 3515 2.4.4). ``final`` comes once: ``status`` is that of the call it
    placed, or of the refusal; 0 when nothing was heard."""

    session: SessionId
    token: Token
    status: int
    reason: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """The far end asks us to call ``target``; ``replaces`` is the Replaces value to call with. Next: `accept_refer` and
    `notify_refer` until a final status, or `refuse_refer`."""

    session: SessionId
    token: Token
    target: str
    replaces: str | None
    referred_by: str | None


Event = (
    Registered
    | RegistrationFailed
    | Unregistered
    | BindingsTold
    | RegistrationIdentityChanged
    | MessagesWaiting
    | DescriptionWanted
    | AnswerReceived
    | DescriptionExpired
    | IncomingCall
    | Progress
    | Answered
    | Confirmed
    | Modified
    | ModifyRefused
    | ModifyPutOff
    | RemoteModified
    | FlowSuspect
    | DialogChanged
    | Ended
    | InfoReceived
    | MessageReceived
    | RequestAnswered
    | ReferAccepted
    | ReferProgress
    | Referred
)
