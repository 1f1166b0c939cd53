"""The far end of a flow as a script: each request is given to a function that says what to answer."""

from __future__ import annotations

from collections.abc import Callable

from phoned.sip.auth import DigestServer
from phoned.sip.challenge import Credentials
from phoned.sip.events import FlowId
from phoned.sip.message import Message, Request, Response, parse, response_to, serialise
from tests.support.sip_network import Phone, SeededRandom, SipNetwork, Weather

Answer = Callable[[Request], Response | None]


class Server:
    """Registrar and proxy in one. ``answer`` may be changed at any time; None is silence."""

    def __init__(self, network: SipNetwork, phone: Phone, answer: Answer, *, transport: str = "WS") -> None:
        self.heard: list[Message] = []
        self.answer = answer
        self._network = network
        self._phone = phone
        self.flow: FlowId = network.flow(phone, self._receive, transport=transport, weather=Weather())

    def _receive(self, data: bytes) -> None:
        message = parse(data)
        self.heard.append(message)
        response = self.answer(message) if isinstance(message, Request) and message.method != "ACK" else None
        if response is not None:
            self.say(response)

    def say(self, message: Message) -> None:
        """Send something of its own accord."""
        data = serialise(message)
        self._network.later(0.01, lambda: self._phone.take(self._phone.ua.receive(self.flow, data, self._network.now)))

    def requests(self, method: str) -> list[Request]:
        """What it heard."""
        return [message for message in self.heard if isinstance(message, Request) and message.method == method]


def registered(request: Request, *, gruu: str | None = None) -> Response:
    """200 to a REGISTER, with the binding that it asked for."""
    response = response_to(request, 200, to_tag="registrar")
    contact = request.headers.get("Contact") or ""
    if gruu:
        contact += f';pub-gruu="{gruu}"'
    response.headers.add("Contact", contact)
    return response


class Challenger:
    """Lets requests pass whose credentials are right, and challenges the others."""

    def __init__(self, passes: Answer, *, realm: str = "example.com", status: int = 407, password: str = "pw") -> None:
        self.realm = realm
        self._passes = passes
        self._status = status
        self._password = password
        self._server = DigestServer(realm=realm, random=SeededRandom(5))
        self.challenged = 0

    def __call__(self, request: Request) -> Response | None:
        asks, answers = {
            401: ("WWW-Authenticate", "Authorization"),
            407: ("Proxy-Authenticate", "Proxy-Authorization"),
        }[self._status]
        value = request.headers.get(answers)
        if value is not None:
            credentials = Credentials.parse(value)
            verdict = self._server.verify(
                credentials,
                request.method,
                request.uri,
                request.body,
                username="alice",
                password=self._password,
                now=0.0,
            )
            if verdict.name == "OK":
                return self._passes(request)
        self.challenged += 1
        response = response_to(request, self._status, to_tag="challenge")
        for challenge in self._server.challenge(0.0):
            response.headers.add(asks, challenge)
        return response


def accept_all(request: Request) -> Response | None:
    """Registers, and answers every call."""
    if request.method == "REGISTER":
        return registered(request)
    response = response_to(request, 200, to_tag="far")
    if request.method in ("INVITE", "UPDATE"):
        response.headers.add("Contact", "<sip:bob@far.example.com>")
        response.headers.add("Content-Type", "application/sdp")
        response.body = b"answer"
    return response
