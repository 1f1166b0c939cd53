"""One AOR binding (RFC 3261 10; 5626 outbound; 5627 GRUU; 3327 Path; 3608 Service-Route).

It owns instance-id, reg-id, Call-ID, CSeq and the digest state of one account's REGISTER requests. It sends a REGISTER
on a given flow when it is told to, and reports what came of it. It must not know when to refresh, whether to retry or
when to give up: that is decided outside (`phoned.accounts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from phoned.sip.events import AccountId, Event
from phoned.sip.io import FlowId, Random
from phoned.sip.transaction import TransactionEvent
from phoned.sip.transaction_layer import TransactionLayer


class RegistrationState(StrEnum):
    """What is in flight."""

    IDLE = "idle"
    REGISTERING = "registering"
    UNREGISTERING = "unregistering"


class FailureCause(StrEnum):
    """`RegistrationFailed.cause`."""

    REFUSED = "refused"
    """A final response of 300 or above that is none of those below; ``status`` tells."""
    TIMEOUT = "timeout"
    """No final response in time."""
    FLOW = "flow"
    """The flow broke, or was not up."""
    AUTH = "auth"
    """Our credentials were refused, or there are none."""
    FOREIGN_REALM = "foreign_realm"
    """Challenged by a realm other than the one that was pinned; nothing was answered."""
    UNANSWERABLE = "unanswerable"
    """Challenged in a way that we cannot answer: unknown algorithm or qop, or broken."""
    NOT_BOUND = "not_bound"
    """200, but our binding is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationParameters:
    """What the registrations of one account have in common.

    ``contact_user``/``contact_host``: parts of the Contact URI; a host of None makes a stable ``….invalid`` name from
    the instance-id (RFC 7118 5), so that a restart replaces the old binding even at a registrar without outbound.
    """

    aor: str
    registrar: str
    instance_id: str
    reg_id: int = 1
    expires_s: int = 120
    display_name: str | None = None
    contact_user: str | None = None
    contact_host: str | None = None
    auth_username: str | None = None
    secret: str | None = field(default=None, repr=False)
    route: tuple[str, ...] = ()
    user_agent: str | None = None
    timeout_s: float | None = None
    """How long one REGISTER may stay unanswered; None: Timer F."""


class Registration:
    """Driven by the user agent core: `register`, `unregister`, and the events of its transactions.

    Returns `events.Registered`, `RegistrationFailed`, `Unregistered`, and `RegistrationIdentityChanged` after each
    REGISTER that was sent.
    """

    def __init__(
        self,
        *,
        account: AccountId,
        parameters: RegistrationParameters,
        layer: TransactionLayer,
        random: Random,
        call_id: str | None = None,
        cseq: int = 0,
    ) -> None:
        self.state = RegistrationState.IDLE

    @property
    def contact(self) -> str:
        """The Contact URI that we bind (without header parameters)."""
        ...

    def register(self, flow: FlowId, now: float, expires_s: int | None = None) -> list[Event]:
        """Bind, or refresh, over ``flow``. While one is in flight on the same flow nothing is sent (its outcome is the
        answer); one on another flow is abandoned: the newer flow wins."""
        ...

    def unregister(self, flow: FlowId, now: float) -> list[Event]:
        """Remove our binding over ``flow``. What is in flight is abandoned."""
        ...

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Event]:
        """The outcome of a REGISTER. Events of an abandoned one are ignored."""
        ...
