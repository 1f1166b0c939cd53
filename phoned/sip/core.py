"""What the machines of the user agent core share: the layer below, randomness, limits, and the account they act for.

`AccountCore` owns an account's flow, its registration and its credentials; it builds requests outside dialogs and
answers challenges by the rules of who may ask us. It must not know calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.accessors import cseq
from phoned.sip.account import AccountParameters, Limits
from phoned.sip.auth import ChallengeOutcome, DigestClient
from phoned.sip.challenge import challenges
from phoned.sip.events import AccountId, Registered
from phoned.sip.fields import NameAddr
from phoned.sip.headers import Headers, canonical
from phoned.sip.io import FlowId, Random, TimerValues
from phoned.sip.message import Request, Response
from phoned.sip.registration import Registration, RegistrationParameters, credentials_of
from phoned.sip.transaction_layer import TransactionLayer
from phoned.sip.uri import Uri

OURS = frozenset(
    {
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Length", "Content-Type", "Max-Forwards", "Route",
        "Record-Route", "Authorization", "Proxy-Authorization", "Allow", "Supported", "Require", "Session-Expires",
        "Min-SE", "RSeq", "RAck",
    }
)  # fmt: skip
"""Header fields that a caller may not add: the core writes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Handed to every machine of one user agent."""

    layer: TransactionLayer
    random: Random
    limits: Limits
    timers: TimerValues


class AccountCore:
    """One account at run time. Driven by the user agent; read by its sessions."""

    def __init__(self, account: AccountId, parameters: AccountParameters, core: Core) -> None:
        aor = _address(parameters.aor)
        self._random = core.random
        self._digests: dict[str, DigestClient] = {}
        self._realms: dict[int, str] = {}
        self.id = account
        self.parameters = parameters
        self.aor = replace(aor, display_name=parameters.display_name or aor.display_name)
        self.flow: FlowId | None = None
        """What requests go out on: the flow that registered last, or was adopted."""
        self.flows: set[FlowId] = set()
        """All that are up."""
        self.trusted: set[FlowId] = set()
        """Those that were registered, or adopted if that is enough: calls are taken from them."""
        self.registered: Registered | None = None
        self.contact_user = parameters.contact_user or aor.uri.user or core.random.token()[:12]
        self.registration = Registration(
            account=account,
            parameters=self._registration(
                parameters, parameters.instance_id or f"urn:uuid:{_uuid(core.random.token())}"
            ),
            layer=core.layer,
            random=core.random,
            call_id=parameters.call_id,
            cseq=parameters.cseq,
        )

    def change(self, parameters: AccountParameters) -> None:
        """Take on other parameters, for what is said next. The binding keeps its identity, and realms stay pinned:
        other credentials are for those who asked for the old ones. Raises InvalidValue for another address of record.
        """
        if _address(parameters.aor).uri != self.aor.uri:
            raise InvalidValue("another address of record is another account")
        if credentials_of(parameters) != credentials_of(self.parameters):
            self._digests.clear()
        self.parameters = parameters
        self.registration.change(self._registration(parameters, self.registration.instance_id))

    def _registration(self, parameters: AccountParameters, instance_id: str) -> RegistrationParameters:
        uri = self.aor.uri
        return RegistrationParameters(
            aor=str(uri),
            registrar=parameters.registrar or str(Uri.sip(uri.host, port=uri.port, scheme=uri.scheme)),
            instance_id=instance_id,
            reg_id=parameters.reg_id,
            expires_s=parameters.expires_s,
            asks_only=parameters.asks_only,
            display_name=parameters.display_name,
            contact_user=parameters.contact_user,
            contact_host=parameters.contact_host,
            contact_is_local=parameters.contact_is_local,
            auth_username=parameters.auth_username,
            secret=parameters.secret,
            route=parameters.route,
            user_agent=parameters.user_agent,
        )

    @property
    def contact(self) -> str:
        """The Contact header value of dialogs: the public GRUU reaches whatever flow we have next."""
        gruu = self.registered.pub_gruu if self.registered else None
        return f"<{gruu or self.registration.contact}>"

    @property
    def routes(self) -> tuple[str, ...]:
        """Preloaded Route values of requests outside dialogs."""
        return (*self.parameters.route, *(self.registered.service_route if self.registered else ()))

    @property
    def agent(self) -> list[tuple[str, str]]:
        """The User-Agent header field, when there is one."""
        return [("User-Agent", self.parameters.user_agent)] if self.parameters.user_agent else []

    def confirmed_on(self, flow: FlowId) -> bool:
        """Whether the registrar answered 200 on this flow."""
        return self.registered is not None and self.registered.flow == flow

    def owns(self, uri: str) -> bool:
        """Whether the Request-URI of a parsed message means this account: our user at any host (the proxy wrote it), or
        our GRUU."""
        if self.parameters.answers_for_all:
            return True
        ours = [str(self.aor.uri), self.registration.contact]
        if self.registered is not None:
            ours += [gruu for gruu in (self.registered.pub_gruu, self.registered.temp_gruu) if gruu]
        return Uri.parse(uri).user in {self.contact_user, *(Uri.parse(each).user for each in ours)}

    def request(
        self,
        method: str,
        target: str,
        *,
        call_id: str,
        tag: str,
        number: int,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Request:
        """A request outside dialogs (RFC 3261 8.1.1). Raises InvalidValue."""
        try:
            uri = Uri.parse(target)
        except MalformedMessage as error:
            raise InvalidValue(f"not a URI that can be called: {error.detail}") from None
        if uri.scheme not in ("sip", "sips", "tel"):
            raise InvalidValue(f"no call goes to a {uri.scheme} URI")
        uri = uri.without_headers()
        fields = Headers([("Route", route) for route in self.routes])
        fields.add("Max-Forwards", "70")
        fields.add("From", f"{self.aor};tag={tag}")
        fields.add("To", f"<{uri}>")
        fields.add("Call-ID", call_id)
        fields.add("CSeq", f"{number} {method}")
        for name, value in headers:
            fields.add(name, value)
        return Request(method=method, uri=str(uri), headers=fields, body=b"")

    # --- credentials

    def answers(self, response: Response) -> bool:
        """Whether a challenge inside a dialog may be answered at all: a far end that asks may be after a hash."""
        policy = self.parameters.in_dialog_auth
        return policy == "both" or (policy == "407" and response.status == 407)

    def authorize(self, request: Request, response: Response, *, in_dialog: bool) -> Request | None:
        """``request`` again, with the next CSeq and credentials for the challenge in ``response``; None when it is not
        to be answered. The realm is pinned at first use; inside a dialog no new realm is learnt."""
        asked, answered = _CHALLENGES[response.status]
        offered = [challenge for challenge in challenges(response, asked) if challenge.is_digest]
        known = self._realm(response.status, [challenge.realm for challenge in offered], in_dialog=in_dialog)
        if known is None or self.parameters.secret is None:
            return None
        digest = self._digests.get(known)
        if digest is None:
            username = self.parameters.auth_username or self.aor.uri.user or ""
            digest = DigestClient(username=username, password=self.parameters.secret, realm=known, random=self._random)
        outcome = digest.consider(offered, sent=request.headers.get(answered))
        if outcome not in (ChallengeOutcome.ANSWER, ChallengeOutcome.STALE):
            return None
        self._digests[known] = digest
        if not in_dialog:
            self._realms[response.status] = known
        again = Request(request.method, request.uri, request.headers.copy(), request.body)
        again.headers.set("CSeq", f"{cseq(request).number + 1} {request.method}")
        again.headers.set(answered, digest.authorization(request.method, request.uri, request.body))
        return again

    def _realm(self, status: int, offered: list[str], *, in_dialog: bool) -> str | None:
        """Which of the realms that ask may be answered."""
        proven = self.registration.realms
        if in_dialog:
            return next((realm for realm in offered if realm in proven or realm in self._realms.values()), None)
        pinned = self._realms.get(status)
        if pinned is not None:
            return pinned if pinned in offered else None
        trusted = next((realm for realm in offered if realm in proven), None)
        if trusted is not None or (proven and status == 401):
            return trusted  # a registrar that knows us has one realm: another's 401 comes from the far end
        return offered[0] if offered else None


_CHALLENGES = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


def checked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The caller's own header fields. Raises InvalidValue for one that the core writes itself."""
    checked = [(canonical(name), value) for name, value in headers]
    for name, _ in checked:
        if name in OURS:
            raise InvalidValue(f"{name} cannot be set")
    return checked


def written(*texts: str) -> None:
    """What our user wants on the wire. Raises InvalidValue for what would end the line."""
    if any(not _LINE_ENDS.isdisjoint(text) for text in texts):
        raise InvalidValue("text holds a line end")


_LINE_ENDS = frozenset("\r\n\0")


def _address(aor: str) -> NameAddr:
    try:
        address = NameAddr.parse(aor if "<" in aor else f"<{aor}>")
    except MalformedMessage as error:
        raise InvalidValue(f"address of record: {error.detail}") from None
    if not address.uri.is_sip or not address.uri.host:
        raise InvalidValue("address of record is no sip URI")
    return address


def _uuid(token: str) -> str:
    return f"{token[:8]}-{token[8:12]}-4{token[13:16]}-8{token[17:20]}-{token[20:32]}"
