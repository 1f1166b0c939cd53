"""One AOR binding (RFC 3261 10; 5626 outbound; 5627 GRUU; 3327 Path; 3608 Service-Route).

It owns instance-id, reg-id, Call-ID, CSeq and the digest state of one account's REGISTER requests. It sends a REGISTER
on a given flow when it is told to, and reports what came of it. It must not know when to refresh, whether to retry or
when to give up: that is decided outside (`phoned.accounts`). What a 200 says is read by `binding`.

Credentials go only to a challenge of a REGISTER that is in flight, and only to the realm that was pinned at first use,
one for the registrar (401) and one for a proxy (407). The nonce is used again, counted, on later REGISTERs; when such
pre-emptive credentials are challenged, the challenge is answered as if none had been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from phoned.errors import AtCapacity
from phoned.sip.accessors import min_expires, readable_contacts, retry_after
from phoned.sip.auth import ChallengeOutcome, DigestClient
from phoned.sip.binding import MOST_EXPIRES_S, read_binding
from phoned.sip.challenge import Challenge, Credentials, challenges
from phoned.sip.events import (
    AccountId,
    BindingsTold,
    Event,
    Registered,
    RegistrationFailed,
    RegistrationIdentityChanged,
    Unregistered,
)
from phoned.sip.fields import NameAddr
from phoned.sip.grammar import parse_host_port
from phoned.sip.headers import Headers
from phoned.sip.io import FlowId, Random
from phoned.sip.message import Request, Response
from phoned.sip.transaction import ResponseReceived, TimedOut, TransactionEvent, TransactionKey, TransportFailed
from phoned.sip.transaction_layer import TransactionLayer
from phoned.sip.uri import Uri

CSEQ_LIMIT = 2**31 - 1
"""RFC 3261 8.1.1.5: beyond it, a new Call-ID begins a new count."""
MOST_TRIES = 2
"""Answers to a challenge within one attempt that do not count as stale."""
MOST_CHALLENGES = 6
"""All challenges within one attempt: a server that says stale for ever is left at last."""
_FIELDS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


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

    ``contact_user``/``contact_host``: parts of the Contact URI. A user of None is the AOR's. A host of None makes a
    stable ``….invalid`` name from the instance-id (RFC 7118 5), so that a restart replaces the old binding even at a
    registrar without outbound.
    """

    aor: str
    registrar: str
    instance_id: str
    """``urn:uuid:…`` (RFC 5626 4.1)."""
    reg_id: int = 1
    expires_s: int = 120
    display_name: str | None = None
    contact_user: str | None = None
    contact_host: str | None = None
    contact_is_local: bool = False
    """The Contact's host and port are what the flow is ``sent_by``; they change with the flow."""
    contact_transport: str | None = "ws"
    """``transport`` of the Contact URI: ``ws`` for WS and WSS alike (RFC 7118 5.2.4)."""
    auth_username: str | None = None
    """None: the user of the AOR."""
    secret: str | None = field(default=None, repr=False)
    route: tuple[str, ...] = ()
    user_agent: str | None = None
    asks_only: bool = False
    """See `AccountParameters.asks_only`."""
    timeout_s: float | None = None
    """How long one REGISTER may stay unanswered; None: Timer F."""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What is in flight: one wish, which may take several REGISTERs."""

    flow: FlowId
    expires_s: int
    key: TransactionKey | None = None
    sent: dict[int, str] = field(default_factory=dict, repr=False)
    """Credentials of the newest REGISTER, by the status that asked for them."""
    tries: dict[int, int] = field(default_factory=dict)
    challenges: int = 0
    lengthened: bool = False


class Registration:
    """Driven by the user agent core: `register`, `unregister`, and the events of its transactions.

    Returns `events.Registered` (`BindingsTold` where it only asks), `RegistrationFailed`, `Unregistered`, and
    `RegistrationIdentityChanged` after each REGISTER that was queued. Every attempt that is not superseded ends with
    exactly one of the first. Whoever persists the identity lazily must restore a CSeq with room for what may have been
    sent since.
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
        self.call_id = call_id or random.token()
        self.cseq = cseq
        """Of the newest REGISTER that was sent."""
        self._contact = _contact_of(parameters)
        self._account = account
        self._parameters = parameters
        self._layer = layer
        self._random = random
        self._tag = random.token()
        self._attempt: _Attempt | None = None
        self._digests: dict[int, DigestClient] = {}
        self._least_expires_s = 0
        self._without_outbound: FlowId | None = None

    @property
    def contact(self) -> str:
        """The Contact URI that we bind (without header parameters)."""
        return str(self._contact)

    @property
    def instance_id(self) -> str:
        """``+sip.instance`` of our binding."""
        return self._parameters.instance_id

    @property
    def in_flight(self) -> FlowId | None:
        """The flow on which an answer is awaited."""
        return None if self._attempt is None else self._attempt.flow

    @property
    def realms(self) -> frozenset[str]:
        """The realms that were pinned: who may ask for our password elsewhere, too."""
        return frozenset(digest.realm for digest in self._digests.values())

    def change(self, parameters: RegistrationParameters) -> None:
        """Other credentials, another expiry or another kind of Contact, from the next REGISTER on. The realms that were
        pinned stay so: other credentials are for those who asked for the old ones."""
        old, self._parameters = self._parameters, parameters
        if (old.contact_host, old.contact_is_local) != (parameters.contact_host, parameters.contact_is_local):
            self._contact = _contact_of(parameters)
        if credentials_of(old) != credentials_of(parameters):
            self._digests = {status: self._digest(digest.realm) for status, digest in self._digests.items()}

    def _digest(self, realm: str) -> DigestClient:
        parameters = self._parameters
        username = parameters.auth_username or Uri.parse(parameters.aor).user or ""
        return DigestClient(username=username, password=parameters.secret or "", realm=realm, random=self._random)

    def register(self, flow: FlowId, now: float, expires_s: int | None = None) -> list[Event]:
        """Bind, or refresh, over ``flow``. While one is in flight on the same flow nothing is sent (its outcome is the
        answer); one on another flow is abandoned: the newer flow wins. Raises `InvalidValue` for parameters that must
        not be written."""
        attempt = self._attempt
        if attempt is not None and attempt.flow == flow and attempt.expires_s > 0:
            return []
        wanted = self._parameters.expires_s if expires_s is None else expires_s
        if self._parameters.contact_is_local:
            host, port = parse_host_port(self._layer.sent_by(flow))
            self._contact = replace(self._contact, host=host, port=port)
        return self._begin(_Attempt(flow=flow, expires_s=max(wanted, self._least_expires_s, 1)), now)

    def unregister(self, flow: FlowId, now: float) -> list[Event]:
        """Remove our binding over ``flow``. What is in flight is abandoned."""
        return self._begin(_Attempt(flow=flow, expires_s=0), now)

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Event]:
        """The outcome of a REGISTER. Events of an abandoned one are ignored."""
        attempt = self._attempt
        if attempt is None or event.key != attempt.key:
            return []
        match event:
            case ResponseReceived(response=response) if response.status >= 200:
                return self._answered(attempt, response, now)
            case TimedOut():
                return self._failed(attempt, FailureCause.TIMEOUT)
            case TransportFailed():
                return self._failed(attempt, FailureCause.FLOW)
            case _:
                return []

    # --- sending

    def _begin(self, attempt: _Attempt, now: float) -> list[Event]:
        if self._attempt is not None and self._attempt.key is not None:
            self._layer.abandon(self._attempt.key)
            self._attempt = None
        return self._send(attempt, now)

    def _send(self, attempt: _Attempt, now: float) -> list[Event]:
        if self.cseq >= CSEQ_LIMIT:
            self.call_id, self.cseq = self._random.token(), 0
        self.cseq += 1
        request = self._build(attempt)
        try:
            attempt.key = self._layer.send_request(
                request, attempt.flow, now, self, timeout_s=self._parameters.timeout_s
            )
        except AtCapacity as error:
            return self._failed(attempt, FailureCause.REFUSED, reason=error.detail)
        self._attempt = attempt
        return [RegistrationIdentityChanged(account=self._account, call_id=self.call_id, cseq=self.cseq)]

    def _build(self, attempt: _Attempt) -> Request:
        parameters = self._parameters
        to = NameAddr(uri=Uri.parse(parameters.aor), display_name=parameters.display_name or "")
        headers = Headers([("Route", route) for route in parameters.route])
        headers.add("Max-Forwards", "70")
        headers.add("From", str(to.with_parameter("tag", self._tag)))
        headers.add("To", str(to))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{self.cseq} REGISTER")
        outbound = attempt.flow != self._without_outbound
        if not parameters.asks_only:
            contact = NameAddr(uri=self._contact).with_parameter("+sip.instance", f"<{parameters.instance_id}>")
            if outbound:
                contact = contact.with_parameter("reg-id", str(parameters.reg_id))
            headers.add("Contact", str(contact.with_parameter("expires", str(attempt.expires_s))))
            headers.add("Expires", str(attempt.expires_s))
        headers.add("Supported", "path, gruu, outbound" if outbound else "path, gruu")
        if parameters.user_agent:
            headers.add("User-Agent", parameters.user_agent)
        attempt.sent.clear()
        for status, digest in self._digests.items():
            if digest.ready:
                credentials = digest.authorization("REGISTER", parameters.registrar)
                headers.add(_FIELDS[status][1], credentials)
                attempt.sent[status] = credentials
        return Request(method="REGISTER", uri=parameters.registrar, headers=headers)

    # --- answers

    def _answered(self, attempt: _Attempt, response: Response, now: float) -> list[Event]:
        if response.status < 300:
            return self._accepted(attempt, response)
        if response.status in _FIELDS:
            return self._challenged(attempt, response, now)
        if response.status == 423 and not attempt.lengthened:
            least = min_expires(response)
            # less than we asked for, or more than anybody can mean: answering it would loop, or bind us for years
            if least is not None and attempt.expires_s < least <= MOST_EXPIRES_S and attempt.expires_s > 0:
                attempt.lengthened = True
                attempt.expires_s = self._least_expires_s = least
                return self._send(attempt, now)
        if response.status == 439 and self._without_outbound != attempt.flow:
            # RFC 5626 11.6: the registrar could, the first hop cannot; without reg-id it is a plain binding
            self._without_outbound = attempt.flow
            return self._send(attempt, now)
        return self._failed(attempt, FailureCause.REFUSED, response)

    def _accepted(self, attempt: _Attempt, response: Response) -> list[Event]:
        if self._parameters.asks_only:
            self._attempt = None
            told = tuple(str(each.uri) for each in readable_contacts(response))
            return [BindingsTold(account=self._account, flow=attempt.flow, contacts=told)]
        if attempt.expires_s == 0:
            self._attempt = None
            return [Unregistered(account=self._account, flow=attempt.flow)]
        binding = read_binding(
            response,
            contact=self._contact,
            instance_id=self._parameters.instance_id,
            reg_id=self._parameters.reg_id,
            requested_s=attempt.expires_s,
        )
        if binding is None:
            return self._failed(attempt, FailureCause.NOT_BOUND, response)
        self._attempt = None
        return [
            Registered(
                account=self._account,
                flow=attempt.flow,
                expires_s=binding.expires_s,
                contact=self.contact,
                pub_gruu=binding.pub_gruu,
                temp_gruu=binding.temp_gruu,
                service_route=binding.service_route,
                flow_timer_s=binding.flow_timer_s,
            )
        ]

    def _challenged(self, attempt: _Attempt, response: Response, now: float) -> list[Event]:
        status = response.status
        found = [each for each in challenges(response, _FIELDS[status][0]) if each.is_digest]
        if self._parameters.secret is None:
            return self._failed(attempt, FailureCause.AUTH, response)
        if not found:
            return self._failed(attempt, FailureCause.UNANSWERABLE, response)
        digest = self._digests.get(status)
        if digest is None:
            digest = self._digest(found[0].realm)
        if all(each.realm != digest.realm for each in found):
            return self._failed(attempt, FailureCause.FOREIGN_REALM, response)
        tries = attempt.tries.get(status, 0)
        outcome = _consider(digest, found, attempt.sent.get(status), tries)
        if outcome is ChallengeOutcome.UNSUPPORTED:
            return self._failed(attempt, FailureCause.UNANSWERABLE, response)
        self._digests[status] = digest
        attempt.challenges += 1
        if outcome is ChallengeOutcome.REFUSED or attempt.challenges > MOST_CHALLENGES:
            digest.forget()
            return self._failed(attempt, FailureCause.AUTH, response)
        if outcome is ChallengeOutcome.ANSWER:
            attempt.tries[status] = tries + 1
        return self._send(attempt, now)

    def _failed(
        self, attempt: _Attempt, cause: FailureCause, response: Response | None = None, *, reason: str = ""
    ) -> list[Event]:
        self._attempt = None
        after_s = None if response is None else retry_after(response)
        return [
            RegistrationFailed(
                account=self._account,
                flow=attempt.flow,
                cause=cause,
                status=None if response is None else response.status,
                reason=reason if response is None else response.reason,
                retry_after_s=None if after_s is None else float(after_s),
            )
        ]


class Credentialed(Protocol):
    """Whatever proves itself with a name and a password."""

    @property
    def auth_username(self) -> str | None: ...

    @property
    def secret(self) -> str | None: ...


def credentials_of(parameters: Credentialed) -> tuple[str | None, str | None]:
    """What digests are made of."""
    return parameters.auth_username, parameters.secret


def _contact_of(parameters: RegistrationParameters) -> Uri:
    """The Contact URI that is bound while no flow has another name for us."""
    aor = Uri.parse(parameters.aor)
    digits = parameters.instance_id.rpartition(":")[2].replace("-", "").lower()
    contact = Uri.sip(
        parameters.contact_host or f"{digits}.invalid",
        user=parameters.contact_user or aor.user,
        scheme=aor.scheme,  # RFC 3261 8.1.1.8: sips is answered at sips
    )
    if parameters.contact_transport is None:
        return contact
    return contact.with_parameter("transport", parameters.contact_transport)


def _consider(digest: DigestClient, found: Sequence[Challenge], sent: str | None, tries: int) -> ChallengeOutcome:
    """What to do with the challenges of one response, after ``tries`` answers within this attempt.

    A refusal of credentials that were sent before anybody asked is a first challenge like any other. After that, a new
    nonce gets one more answer: behind a load balancer the next registrar need not know the nonce of the first.
    """
    outcome = digest.consider(found, sent=sent)
    if outcome is ChallengeOutcome.REFUSED and sent is not None:
        nonce = Credentials.parse(sent).get("nonce")
        if tries == 0 or (tries < MOST_TRIES and all(each.nonce != nonce for each in found)):
            outcome = digest.consider(found)
    if outcome is ChallengeOutcome.ANSWER and not digest.ready:
        # RFC 2069: a nonce without a count, which this server offers again
        digest.forget()
        digest.consider(found)
    return outcome
