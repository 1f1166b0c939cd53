"""The far end on virtual time: registrar, proxy and callees in one, by a seed, and as ill-mannered as a test wants.

It hears the server's ends of a `tests.support.simulated_wire.Wire`. A restart loses everything that it knew. It keeps
books that no registrar of ours keeps: every binding by what a stranger's registrar would tell them apart by, so that a
ghost binding is seen, and every REGISTER with its Call-ID and CSeq.
"""

from __future__ import annotations

import asyncio
import random as stdlib_random
from dataclasses import dataclass

from phoned.errors import MalformedMessage, PhonedError
from phoned.model import Cause
from phoned.sandbox.registrar import Registrar, caller_of
from phoned.signaling import AccountEvent, Signaling
from phoned.sip import events as sip
from phoned.sip.accessors import call_id, contacts, cseq, to
from phoned.sip.account import AccountParameters, Limits
from phoned.sip.auth import DigestServer
from phoned.sip.message import Message, Request, Response, parse, response_to, serialise
from phoned.sip.uri import Uri
from phoned.sip.user_agent import UserAgent
from phoned.transport.flow import Flow
from tests.support.simulated_wire import SimulatedFlow, branch_of
from tests.support.sip_network import SeededRandom

DOMAIN = "example.org"
NONSENSE_DELAYS = ("soon", "-5", "0", "1", "99999999999999999999", "3600 (later);duration=9", "", "1.5", "\x7f")
NONSENSE_EXPIRES = ("0", "1", "1000000000", "-1", "never", "18446744073709551616")
NONSENSE_LEAST = ("0", "-1", "120", "600", "1000000000", "x")
REFUSALS = ("401", "403", "423", "500", "503", "foreign", "expires", "empty")
"""How REGISTER may be answered instead of properly."""
LIMITS = Limits(new_requests_per_s=1000, new_requests_burst=2000, sessions=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One REGISTER that was seen."""

    at: float
    flow: int
    call_id: str
    cseq: int


class SimulatedExchange:
    """`FlowListener` of the wire, and both sinks of its own core."""

    def __init__(self, random: stdlib_random.Random, users: dict[str, str]) -> None:
        self._random = random
        self._tokens = SeededRandom(random.randrange(2**32))
        self._users = users
        self.mute = False
        """Frames are read, and never answered."""
        self.manner: str | None = None
        """One of `REFUSALS`, for every REGISTER."""
        self.lost_messages = 0
        self.seen: dict[str, list[Registered]] = {}
        self.bound: dict[str, dict[tuple[str, ...], float]] = {}
        """By user: bindings as a stranger's registrar would tell them apart, and when each is over."""
        self.sessions: dict[str, str] = {}
        """Live sessions: their Call-ID, or "" before it is known."""
        self.up: set[str] = set()
        """Those that were answered."""
        self._timers: set[asyncio.TimerHandle] = set()
        self._start()

    def _start(self) -> None:
        self.agent = UserAgent(random=self._tokens, limits=LIMITS)
        self.signaling = Signaling(self.agent)
        self.signaling.connect(self, self)
        self.registrar = Registrar(domain=DOMAIN, users=self._users, random=self._tokens)
        self._digest = DigestServer(realm=DOMAIN, random=self._tokens)
        self._attached: set[int] = set()
        self._flows: dict[int, SimulatedFlow] = {}
        self.sessions.clear()
        self.up.clear()
        self.bound.clear()
        for user in self._users:
            self.signaling.add_account(
                user,
                AccountParameters(
                    aor=f"sip:{user}@{DOMAIN}",
                    contact_host=DOMAIN,
                    allow_unregistered_incoming=True,
                    answers_for_all=True,
                ),
            )

    def close(self) -> None:
        """Forget everything."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.signaling.close()

    def restart(self) -> None:
        """Another process takes its place; it knows nothing of calls, bindings and nonces."""
        self.close()
        self._start()

    # --- sockets

    def on_message(self, flow: Flow, data: bytes) -> None:
        if self.mute or not flow.is_open:
            return
        try:
            message = parse(data)
        except MalformedMessage as error:
            raise AssertionError(f"the phone said what nobody can read: {data!r}") from error
        if isinstance(message, Request):
            answer = self._gate(flow, message)
            if answer is not None:
                flow.send(serialise(answer))
                return
        if flow.generation in self._attached:
            self.signaling.on_message(self._asker(flow, message, data), data)

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        self.registrar.forget_flow(flow.generation)
        self._attached.discard(flow.generation)
        self._flows.pop(flow.generation, None)
        self.signaling.on_closed(flow, cause, detail)

    def _asker(self, flow: Flow, message: Message, data: bytes) -> Flow:
        """A proxy knows a response by its branch, whatever it comes over: the flow whose request it answers."""
        if isinstance(message, Request):
            return flow
        branch = branch_of(data)
        return next((other for other in self._flows.values() if branch in other.asked), flow)

    def _gate(self, flow: Flow, request: Request) -> Response | None:
        now = asyncio.get_running_loop().time()
        user = caller_of(request)
        if request.method == "REGISTER":
            return self._register(flow, request, user or "", now)
        known = user is not None and user in self._users
        if to(request).tag is None and known and request.method == "INVITE":
            challenge = self.registrar.challenge(request, now)
            if challenge is not None:
                return challenge
        if flow.generation not in self._attached and user is not None and known:
            self._attach(user, flow)
        return None

    def _attach(self, user: str, flow: Flow) -> None:
        assert isinstance(flow, SimulatedFlow)
        self._attached.add(flow.generation)
        self._flows[flow.generation] = flow
        self.signaling.attach(user, flow)

    # --- REGISTER

    def _register(self, flow: Flow, request: Request, user: str, now: float) -> Response:
        seen = Registered(at=now, flow=flow.generation, call_id=call_id(request), cseq=cseq(request).number)
        self.seen.setdefault(user, []).append(seen)
        answer = self._refusal(request, now) or self.registrar.challenge(request, now)
        if answer is not None:
            return answer
        answer = self.registrar.register(request, flow.generation, now)
        if answer.status == 200:
            self._note(user, request, now)
            if self.registrar.binding(user, now) is not None:
                if flow.generation not in self._attached:
                    self._attach(user, flow)
                self.signaling.move_account(user, flow)
            if self.manner == "expires":
                self._spoil(answer)
        return answer

    def _refusal(self, request: Request, now: float) -> Response | None:
        def say(status: int, **fields: str) -> Response:
            response = response_to(request, status, "No", to_tag=self._tokens.token()[:8])
            for name, value in fields.items():
                response.headers.add(name.replace("_", "-"), value)
            return response

        choice = self._random.choice
        match self.manner:
            case "401":
                response = say(401)
                for challenge in self._digest.challenge(now):
                    response.headers.add("WWW-Authenticate", challenge)
                return response
            case "423":
                return say(423, Min_Expires=choice(NONSENSE_LEAST))
            case "403" | "500" | "503" as status:
                return say(int(status), Retry_After=choice(NONSENSE_DELAYS))
            case "foreign":
                return say(200, Contact="<sip:else@192.0.2.99;transport=ws>;expires=600")
            case "empty":
                return say(200)
        return None

    def _spoil(self, answer: Response) -> None:
        contact = answer.headers.get("Contact")
        if contact is not None:
            kept = contact.rpartition(";expires=")[0]
            answer.headers.set("Contact", f"{kept};expires={self._random.choice(NONSENSE_EXPIRES)}")

    def _note(self, user: str, request: Request, now: float) -> None:
        bound = self.bound.setdefault(user, {})
        for key in [key for key, over_at in bound.items() if over_at <= now]:
            del bound[key]
        for contact in contacts(request):
            instance = contact.parameters.get("+sip.instance")
            key = (instance, contact.parameters.get("reg-id") or "") if instance else (str(contact.uri),)
            expires_s = int(contact.parameters.get("expires") or 0)
            if expires_s:
                bound[key] = now + expires_s
            else:
                bound.pop(key, None)

    # --- calls

    def on_account_event(self, event: AccountEvent) -> None:
        """Nothing of our own is registered anywhere."""

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None:
        """`on_closed` has done it."""

    def on_session_event(self, event: sip.Event) -> None:
        """The people at the far end: they give every description at once, and do as their number says."""
        match event:
            case sip.IncomingCall():
                self.sessions[event.session] = event.call_id
                self._take(event)
            case sip.DescriptionWanted():
                self.signaling.supply(event.token, f"{event.kind} of the far end {event.token}".encode())
            case sip.Answered():
                self.sessions[event.session] = event.call_id
                self.up.add(event.session)
            case sip.Ended():
                self.sessions.pop(event.session, None)
                self.up.discard(event.session)
            case _:
                pass

    def _take(self, event: sip.IncomingCall) -> None:
        called, session = Uri.parse(event.to_uri).user or "", event.session
        if called == "busy":
            self.signaling.reject(session, 486)
            return
        if called == "slow":
            self._later(0.2, lambda: self.signaling.ring(session))
            self._later(4.0, lambda: self.signaling.answer(session))
        elif called == "noanswer":
            self.signaling.ring(session)
        else:
            self.signaling.ring(session)
            self.signaling.answer(session)

    def _later(self, seconds: float, action: object) -> None:
        def act() -> None:
            self._timers.discard(timer)
            if callable(action):
                self.attempt(action)

        timer = asyncio.get_running_loop().call_later(seconds, act)
        self._timers.add(timer)

    def call(self, user: str) -> None:
        """Somebody calls ``user``, where the registrar knows the way."""
        binding = self.registrar.binding(user, asyncio.get_running_loop().time())
        if binding is not None:

            def adopt(session: str) -> None:
                self.sessions[session] = ""

            self.attempt(lambda: self.signaling.invite(user, binding.contact, (), adopt, caller=f"sip:eve@{DOMAIN}"))

    def hangup(self) -> None:
        """Somebody at the far end hangs up."""
        if self.sessions:
            session = self._random.choice(list(self.sessions))
            self.attempt(lambda: self.signaling.hangup(session))

    def modify(self) -> None:
        """Somebody at the far end changes something about the call."""
        if self.up:
            session = self._random.choice(sorted(self.up, key=list(self.sessions).index))
            self.attempt(lambda: self.signaling.reinvite(session, sip.ModifyCause.MEDIA))

    def attempt(self, verb: object) -> None:
        """A verb that may not fit the moment."""
        try:
            assert callable(verb)
            verb()
        except PhonedError:
            pass

    @property
    def calls_up(self) -> set[str]:
        """Call-IDs of answered calls."""
        return {self.sessions[session] for session in self.up}
