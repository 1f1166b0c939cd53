"""What the SIP core must know of an account and of a flow: plain values, no behaviour, no state.

It must not know configuration files, proxies' addresses or how a flow is dialled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

InDialogAuth = Literal["407", "both", "never"]
Refresher = Literal["auto", "local", "remote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimerParameters:
    """RFC 4028. ``session_expires_s`` 0 asks for no timer, but accepts the far end's."""

    session_expires_s: int = 1800
    min_se_s: int = 90
    refresher: Refresher = "auto"
    """Who shall refresh a call that we place: "auto" leaves it to the far end to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountParameters:
    """One account: an AOR, how it proves itself, and how it behaves.

    ``contact_user`` is the user part of our Contact (default: that of the AOR). ``registrar`` is the Request-URI of
    REGISTER (default: ``sip:`` and the AOR's host). ``call_id`` and ``cseq`` continue the registration of an earlier
    life. ``contact_host`` None: the flow's own name (``….invalid`` on WebSocket).
    """

    aor: str
    display_name: str | None = None
    registrar: str | None = None
    auth_username: str | None = None
    secret: str | None = field(default=None, repr=False)
    contact_user: str | None = None
    contact_host: str | None = None
    contact_is_local: bool = False
    """Contact names what the flow is ``sent_by``, for servers that want an address."""
    instance_id: str = ""
    """``urn:uuid:…`` (RFC 5626 4.1); empty: the core makes one up, which does not outlive the process."""
    reg_id: int = 1
    call_id: str | None = None
    cseq: int = 0
    expires_s: int = 120
    asks_only: bool = False
    """REGISTER only asks which bindings there are (RFC 3261 10.2.3), and binds nothing: for diagnosis."""
    in_dialog_auth: InDialogAuth = "407"
    allow_unregistered_incoming: bool = False
    """Take calls over an adopted flow that is not registered: for peers without a registrar."""
    answers_for_all: bool = False
    """Take calls for any user part, as an exchange does; else only for our own."""
    retention_s: float = 300.0
    """How long the repair of a call may be put off by Retry-After."""
    allow_refer: bool = False
    mailbox: bool = False
    """Subscribe to news of our mailbox (RFC 3842). News that come unasked are taken in any case."""
    redirect_hosts: tuple[str, ...] = ()
    """Hosts that a 3xx may send us to; empty: a 3xx is a refusal."""
    reliable_provisionals: Literal["supported", "required", "never"] = "supported"
    session_timer: SessionTimerParameters = SessionTimerParameters()
    route: tuple[str, ...] = ()
    """Preloaded Route for requests outside dialogs, before any Service-Route of the registrar."""
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowParameters:
    """One live flow. ``sent_by`` is what Via and Contact say: ``host[:port]``, None makes a ``….invalid`` name."""

    transport: Literal["WS", "WSS", "UDP", "TCP", "TLS"] = "WS"
    sent_by: str | None = None

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats by itself (RFC 3261 17)."""
        return self.transport != "UDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What strangers may cost us. Requests inside a dialog never count against the bucket."""

    new_requests_per_s: float = 10.0
    new_requests_burst: int = 30
    sessions: int = 64
    description_s: float = 10.0
    """How long a `DescriptionWanted` may stay unanswered."""
    ring_s: float = 180.0
    """How long an incoming call may ring before it is answered with 480."""
    setup_s: float = 180.0
    """How long an outgoing call may be on its way (RFC 3261 Timer C has no counterpart in a user agent)."""
    early_dialogs: int = 16
    """Forks of one INVITE that are followed."""
