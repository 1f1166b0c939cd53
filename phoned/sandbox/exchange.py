"""The exchange: what comes in on a socket goes to the registrar, to a test line, or to another phone.

It is a back-to-back user agent: every registered user is an account of one `UserAgent`, driven by the same `Signaling`
as the phone's. REGISTER and the challenges of calls are answered by the gate (`registrar`) before the core sees them.
"""

from __future__ import annotations

import asyncio
import logging

from phoned.errors import MalformedMessage
from phoned.model import Cause
from phoned.sandbox.bridge import Bridge
from phoned.sandbox.delay import Delay
from phoned.sandbox.faults import Faults
from phoned.sandbox.lines import LINES, Line, MediaFactory
from phoned.sandbox.registrar import Binding, Registrar, caller_of
from phoned.signaling import AccountEvent, Signaling, SystemRandom
from phoned.sip import events as sip
from phoned.sip.accessors import cseq, to
from phoned.sip.account import AccountParameters, Limits
from phoned.sip.message import Message, Request, Response, parse, response_to, serialise
from phoned.sip.uri import Uri
from phoned.sip.user_agent import UserAgent
from phoned.tasks import Tasks
from phoned.transport.flow import Flow

log = logging.getLogger(__name__)

PASSED_ON = ("x-", "alert-info", "call-info", "answer-mode")
"""Header fields of an INVITE that reach the called phone, as at any exchange."""
CHALLENGED = frozenset({"INVITE", "MESSAGE"})
LIMITS = Limits(new_requests_per_s=200, new_requests_burst=400, sessions=400, description_s=180, ring_s=180)


class Exchange:
    """Hears the sockets (`FlowListener`), the core's accounts and its sessions. Made on a running loop."""

    def __init__(self, *, domain: str, users: dict[str, str], media: MediaFactory, faults: Faults) -> None:
        self._domain = domain
        self._media = media
        self._faults = faults
        self._tasks = Tasks("exchange", self._on_crash)
        self._registrar = Registrar(domain=domain, users=users, random=SystemRandom())
        self.signaling = Signaling(UserAgent(random=SystemRandom(), limits=LIMITS))
        self.signaling.connect(self, self)
        self._inbound = Delay()
        self._attached: dict[int, str] = {}
        self._calls: dict[str, Line | Bridge] = {}
        for user in users:
            self.signaling.add_account(
                user,
                AccountParameters(
                    aor=f"sip:{user}@{domain}",
                    contact_host=domain,
                    allow_unregistered_incoming=True,
                    answers_for_all=True,
                    allow_refer=True,
                    reliable_provisionals="never",
                    user_agent="phoned-sandbox",
                ),
            )

    async def close(self) -> None:
        """Drop everything."""
        self.signaling.close()
        await self._tasks.close()

    def binding(self, user: str) -> Binding | None:
        """Where a user is reached now."""
        return self._registrar.binding(user, asyncio.get_running_loop().time())

    # --- sockets

    def on_message(self, flow: Flow, data: bytes) -> None:
        """One SIP message from a phone."""
        try:
            message = parse(data)
        except MalformedMessage:
            if flow.generation in self._attached:
                self.signaling.on_message(flow, data)
            return
        if self._faults.loses(cseq(message).method):
            return
        self._inbound.later(self._faults.delay_ms / 1000, lambda: self._take(flow, message, data))

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """A phone's socket is gone."""
        self._registrar.forget_flow(flow.generation)
        self._attached.pop(flow.generation, None)
        self.signaling.on_closed(flow, cause, detail)

    def _take(self, flow: Flow, message: Message, data: bytes) -> None:
        if not flow.is_open:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(message, Request):
            answer = self._gate(flow, message, now)
            if answer is not None:
                self._say(flow, answer)
                return
        if flow.generation in self._attached:
            self.signaling.on_message(flow, data)

    def _gate(self, flow: Flow, request: Request, now: float) -> Response | None:
        """The answer of the gate, or None when the core shall have the request."""
        user = caller_of(request)
        outside = to(request).tag is None
        if request.method == "REGISTER":
            answer = self._registrar.challenge(request, now)
            if answer is None:
                answer = self._registrar.register(request, flow.generation, now)
                bound = self._registrar.binding(user, now) if user is not None else None
                if answer.status == 200 and user is not None and bound is not None and bound.flow == flow.generation:
                    self._adopt(user, flow)
            return answer
        if user is None or not self._registrar.knows(user):
            if flow.generation in self._attached and not outside:
                return None  # a request of the far end's own dialog: its From is whom it called as
            return None if request.method == "ACK" else response_to(request, 403, "Forbidden", to_tag="gate")
        if outside and request.method in CHALLENGED:
            challenge = self._registrar.challenge(request, now)
            if challenge is not None:
                return challenge
        if flow.generation not in self._attached:
            # a re-INVITE right behind the REGISTER of a new socket: the dialog proves who it is
            self._attach(user, flow)
        return None

    def _attach(self, user: str, flow: Flow) -> None:
        self._attached[flow.generation] = user
        self.signaling.attach(user, flow)

    def _adopt(self, user: str, flow: Flow) -> None:
        if flow.generation not in self._attached:
            self._attach(user, flow)
        self.signaling.move_account(user, flow)

    def _say(self, flow: Flow, response: Response) -> None:
        flow.send(serialise(response))

    # --- the core's events

    def on_account_event(self, event: AccountEvent) -> None:
        """Nothing of our own is registered anywhere."""

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None:
        """`on_closed` has done it."""

    def on_session_event(self, event: sip.Event) -> None:
        """An event of one of our sessions."""
        if isinstance(event, sip.IncomingCall):
            self._incoming(event)
            return
        session = getattr(event, "session", None)
        call = self._calls.get(session) if session is not None else None
        if call is None:
            return
        call.on_event(event)
        if isinstance(event, sip.Ended):
            self._calls.pop(event.session, None)

    def _incoming(self, event: sip.IncomingCall) -> None:
        called = Uri.parse(event.to_uri).user or ""
        if called in LINES:
            line = Line(called, event.session, signaling=self.signaling, media=self._media, tasks=self._tasks)
            self._calls[event.session] = line
            line.start()
            return
        binding = self._registrar.binding(called, asyncio.get_running_loop().time())
        if binding is None:
            known = self._registrar.knows(called)
            self.signaling.reject(event.session, 480 if known else 404)
            return
        headers = tuple((name, value) for name, value in event.headers if name.lower().startswith(PASSED_ON))

        def adopt(session: str) -> None:
            self._calls[session] = bridge

        bridge = Bridge(
            event.session,
            account=called,
            target=binding.contact,
            caller_uri=event.from_uri,
            headers=headers,
            signaling=self.signaling,
            on_callee=adopt,
        )
        self._calls[event.session] = bridge
        bridge.start()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)
