"""Who is asking: a token, the user behind the unix socket, or the holder of a ticket. No HTTP framework here."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from api.errors import Problem, ProblemError, problem
from api.facade import NOT_CONFIGURED, basic
from api.limits import FailureLimit, RateLimit, Tickets
from api.security import Headers, Peer, bearer, ticket
from phoned.store.logins import Session, end_session, exchange_login
from phoned.store.tokens import Scope, TokenStore, grants
from phoned.twilio import TwilioAccount

GROUP = "phoned"
UID = "uid:"
"""Begins the id of a caller whom the unix socket knows."""
TWILIO = "twilio"
"""The id of whoever knows the password of ``[twilio]``."""
LOGIN_REFUSED = "This code is unknown, was used already, or is older than 5 minutes. Fix: phoned token --console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller who proved who it is. ``id`` names a token or a user, never the token's text."""

    id: str
    scope: Scope
    expires_at: datetime | None = None
    """When a session ends; None for what lasts."""


def in_group(uid: int, gid: int | None, group: str = GROUP) -> bool:
    """Whether the user belongs to the group, by primary or supplementary membership."""
    try:
        entry = grp.getgrnam(group)
        if gid == entry.gr_gid:
            return True
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return user.pw_gid == entry.gr_gid or user.pw_name in entry.gr_mem


def scope_of_user(
    uid: int, gid: int | None, *, own_uid: int, member: Callable[[int, int | None], bool] = in_group
) -> Scope | None:
    """What the peer of the unix socket may do without a token: root and our own user all, the group calls."""
    if uid in (0, own_uid):
        return "admin"
    return "call" if member(uid, gid) else None


class Access:
    """Tokens, tickets and counters of one running API. Driven by `api.gate`."""

    def __init__(
        self,
        tokens: TokenStore,
        *,
        rate_per_s: float,
        own_uid: int | None = None,
        twilio: Callable[[], TwilioAccount | None] = lambda: None,
    ) -> None:
        self._tokens = tokens
        self._own_uid = os.geteuid() if own_uid is None else own_uid
        self._twilio = twilio
        self._failures = FailureLimit()
        self.rate = RateLimit(rate_per_s)
        self.tickets: Tickets[Principal] = Tickets()

    def identify(
        self, peer: Peer, headers: Headers, now: float, subprotocols: tuple[str, ...] = ()
    ) -> Principal | Problem:
        """The caller, or 401 or 429. A token that was sent counts even where the socket would have been enough."""
        token = bearer(headers)
        if token is not None:
            found = self._tokens.find(token) if token else None
            if found is None:
                return self._wrong(peer, now)
            return Principal(id=found.id, scope=found.scope, expires_at=found.expires_at)
        passed = ticket(subprotocols)
        if passed is not None:
            return self.tickets.redeem(passed, now) or self._wrong(peer, now)
        if peer.unix and peer.uid is not None:
            scope = scope_of_user(peer.uid, peer.gid, own_uid=self._own_uid)
            if scope is not None:
                return Principal(id=f"{UID}{peer.uid}", scope=scope)
        return problem("unauthorized")

    def identify_at_facade(self, peer: Peer, headers: Headers, now: float) -> Principal | Problem:
        """The same for Twilio's paths, where the account of ``[twilio]`` may come with its password, too. They are
        there only if there is such an account: else 404."""
        account = self._twilio()
        if account is None:
            return problem("not_found", NOT_CONFIGURED)
        given = basic(headers)
        if given is None:
            return self.identify(peer, headers, now)
        return Principal(id=TWILIO, scope="call") if account.accepts(*given) else self._wrong(peer, now)

    def still(self, principal: Principal) -> bool:
        """Whether a caller that proved who it is may go on: a token may be revoked, a session ends."""
        return principal.id.startswith(UID) or self._tokens.holds(principal.id)

    def exchange(self, code: str) -> Session | None:
        """The session for a login code, once and in time. Blocks only for a code that is known."""
        return exchange_login(self._tokens.state_dir, code) if self._tokens.knows_login(code) else None

    def refused_login(self, peer: Peer, now: float) -> Problem:
        """What a wrong code is answered with: it counts as a wrong token does."""
        wrong = self._wrong(peer, now)
        return wrong if wrong.status == 429 else problem("unauthorized", LOGIN_REFUSED)

    def end(self, principal: Principal) -> None:
        """Log out: a session ends; a token that lasts is left alone. Blocks."""
        if principal.expires_at is not None:
            end_session(self._tokens.state_dir, principal.id)

    def _wrong(self, peer: Peer, now: float) -> Problem:
        wait_s = self._failures.failed(peer.key, now)
        return problem("unauthorized") if wait_s is None else problem("too_many_failures", retry_after_s=wait_s)


def check_scope(principal: Principal, needed: Scope) -> Problem | None:
    """403 when the scope is too small."""
    if grants(principal.scope, needed):
        return None
    return problem(
        "insufficient_scope", f"This needs the scope {needed!r}; the caller has {principal.scope!r}.", scope=needed
    )


def require_scope(principal: Principal, needed: Scope) -> None:
    """Raises `ProblemError` when the scope is too small."""
    refused = check_scope(principal, needed)
    if refused is not None:
        raise ProblemError(refused)
