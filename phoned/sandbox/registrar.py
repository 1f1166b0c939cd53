"""The exchange's gate: REGISTER with digest (RFC 3261 10, 7616), and digest for calls. Pure.

It looks at a request before the user agent does and says what to do with it: answer it here, or let it pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.errors import MalformedMessage
from phoned.sip.accessors import contact_is_star, contacts, expires, from_
from phoned.sip.auth import DigestServer, Verdict
from phoned.sip.challenge import Credentials
from phoned.sip.io import FlowId, Random
from phoned.sip.message import Request, Response, response_to

LEAST_EXPIRES_S, MOST_EXPIRES_S, DEFAULT_EXPIRES_S = 10, 3600, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Where a user is reached."""

    flow: FlowId
    contact: str
    expires_at: float


class Registrar:
    """Users, their bindings, and who may speak. Driven by `phoned.sandbox.exchange`."""

    def __init__(self, *, domain: str, users: dict[str, str], random: Random) -> None:
        self._domain = domain
        self._users = users
        self._random = random
        self._digest = DigestServer(realm=domain, random=random)
        self._bindings: dict[str, Binding] = {}

    def knows(self, user: str) -> bool:
        """Whether there is such a user."""
        return user in self._users

    def binding(self, user: str, now: float) -> Binding | None:
        """Where ``user`` is reached now."""
        binding = self._bindings.get(user)
        if binding is not None and binding.expires_at <= now:
            del self._bindings[user]
            return None
        return binding

    def forget_flow(self, flow: FlowId) -> None:
        """A socket is gone, and with it what was bound to it."""
        for user, binding in tuple(self._bindings.items()):
            if binding.flow == flow:
                del self._bindings[user]

    def challenge(self, request: Request, now: float) -> Response | None:
        """The 401 or 407 that a request needs first, a 403 for a stranger; None: it may pass."""
        register = request.method == "REGISTER"
        user = caller_of(request)
        if user is None or user not in self._users:
            return self._answer(request, 403, "Forbidden")
        asked, carried = (
            ("WWW-Authenticate", "Authorization") if register else ("Proxy-Authenticate", "Proxy-Authorization")
        )
        stale = False
        for value in request.headers.all(carried):
            try:
                credentials = Credentials.parse(value)
            except MalformedMessage:
                return self._answer(request, 400, "Malformed Credentials")
            verdict = self._digest.verify(
                credentials,
                request.method,
                request.uri,
                request.body,
                username=user,
                password=self._users[user],
                now=now,
            )
            if verdict is Verdict.OK:
                return None
            if verdict is Verdict.WRONG:
                return self._answer(request, 403, "Forbidden")
            stale = True
        response = self._answer(
            request, 401 if register else 407, "Unauthorized" if register else "Proxy Authentication Required"
        )
        for challenge in self._digest.challenge(now, stale=stale):
            response.headers.add(asked, challenge)
        return response

    def register(self, request: Request, flow: FlowId, now: float) -> Response:
        """Bind, refresh or remove. The newest binding of a user replaces the one before."""
        user = caller_of(request) or ""
        if contact_is_star(request):
            self._bindings.pop(user, None)
            return self._answer(request, 200, "OK")
        try:
            wanted = contacts(request)
        except MalformedMessage:
            return self._answer(request, 400, "Bad Contact")
        if len(wanted) > 1:
            return self._answer(request, 403, "One Contact Only")
        for contact in wanted:
            asked = contact.parameters.get("expires")
            seconds = int(asked) if asked and asked.isdecimal() and len(asked) < 10 else expires(request)
            seconds = DEFAULT_EXPIRES_S if seconds is None else seconds
            if seconds == 0:
                bound = self.binding(user, now)
                if bound is not None and bound.contact == str(contact.uri):  # another phone's binding is not his to end
                    del self._bindings[user]
            elif seconds < LEAST_EXPIRES_S:
                response = self._answer(request, 423, "Interval Too Brief")
                response.headers.add("Min-Expires", str(LEAST_EXPIRES_S))
                return response
            else:
                granted = min(seconds, MOST_EXPIRES_S)
                self._bindings[user] = Binding(flow=flow, contact=str(contact.uri), expires_at=now + granted)
        response = self._answer(request, 200, "OK")
        binding = self.binding(user, now)
        if binding is not None:
            instance = wanted[0].parameters.raw("+sip.instance") if wanted else None
            tail = f";+sip.instance={instance};reg-id=1" if instance else ""
            response.headers.add("Contact", f"<{binding.contact}>{tail};expires={round(binding.expires_at - now)}")
            response.headers.add("Flow-Timer", "30")
        return response

    def _answer(self, request: Request, status: int, reason: str) -> Response:
        return response_to(request, status, reason, to_tag=self._random.token()[:12])


def caller_of(request: Request) -> str | None:
    """The user part of From."""
    try:
        return from_(request).uri.user
    except MalformedMessage:
        return None
