"""A simulated network between pure user agents, in simulated time: delay, loss, copies, reordering, partition, fork.

Everything random comes from one seed. `SipNetwork.run` moves messages and time until nothing is left to do, or a limit;
after each step the invariants of the core are checked: one end for each session and nothing after it.
"""

from __future__ import annotations

import heapq
import random as stdlib_random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from phoned.errors import MalformedMessage
from phoned.sip.accessors import cseq, to
from phoned.sip.account import AccountParameters, FlowParameters, Limits
from phoned.sip.events import DescriptionWanted, Ended, Event, FlowId, IncomingCall, ModifyCause
from phoned.sip.headers import Headers
from phoned.sip.message import Message, Request, Response, parse, serialise
from phoned.sip.user_agent import UserAgent

EventT = TypeVar("EventT")


class SeededRandom:
    """`phoned.sip.io.Random` from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = stdlib_random.Random(seed)

    def token(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def below(self, n: int) -> int:
        return self._random.randrange(n)


@dataclass(slots=True, kw_only=True)
class Weather:
    """What a link does to messages. ``delay_s`` one way, ``jitter_s`` on top (so they overtake each other)."""

    delay_s: float = 0.02
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0


class Phone:
    """A user agent with one account, and a user who answers for the media: each description wanted is given at once."""

    def __init__(
        self,
        network: SipNetwork,
        name: str,
        *,
        parameters: AccountParameters | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.network = network
        self.name = name
        self.ua = UserAgent(random=SeededRandom(network.random.randrange(2**32)), limits=limits)
        self.ua.add_account(
            name,
            parameters
            or AccountParameters(aor=f"sip:{name}@example.com", contact_user=name, allow_unregistered_incoming=True),
        )
        self.events: list[Event] = []
        self.sent: list[Message] = []
        self.flows: list[FlowId] = []
        self.auto_supply = True
        self.auto_answer = False
        self.auto_ring = False
        self.on_event: Callable[[Event], None] | None = None
        self.descriptions = 0

    # --- inputs

    def take(self, events: list[Event]) -> None:
        """Remember events, and do what the user does by himself."""
        for event in events:
            for before in self.events:
                if isinstance(before, Ended) and getattr(event, "session", None) == before.session:
                    raise AssertionError(f"{self.name}: {event} after {before}")
            self.events.append(event)
        for event in events:
            if isinstance(event, DescriptionWanted) and self.auto_supply:
                self.supply(event)
            if isinstance(event, IncomingCall):
                if self.auto_ring:
                    self.take(self.ua.ring(event.session, self.network.now))
                if self.auto_answer:
                    self.take(self.ua.answer(event.session, self.network.now))
            if self.on_event is not None:
                self.on_event(event)
        self.network.collect(self)

    def supply(self, wanted: DescriptionWanted) -> None:
        """Give the description that was wanted; each is unlike all others."""
        self.descriptions += 1
        body = f"{wanted.kind} {self.descriptions} of {self.name}".encode()
        self.take(self.ua.supply(wanted.token, body, self.network.now))

    def call(
        self,
        target: str = "sip:bob@example.com",
        *,
        headers: Sequence[tuple[str, str]] = (),
        offer: bytes | None = None,
        offerless: bool = False,
    ) -> str:
        """Place a call; returns the session."""
        session, events = self.ua.invite(
            self.name, target, self.network.now, headers=headers, offer=offer, offerless=offerless
        )
        self.take(events)
        return session

    def answer(self, session: str | None = None) -> None:
        self.take(self.ua.answer(session or self.session, self.network.now))

    def ring(self, session: str | None = None, *, status: int = 180, early_media: bool = False) -> None:
        self.take(self.ua.ring(session or self.session, self.network.now, status=status, early_media=early_media))

    def reject(self, status: int = 486) -> None:
        self.take(self.ua.reject(self.session, self.network.now, status=status))

    def hangup(self, session: str | None = None) -> None:
        self.take(self.ua.hangup(session or self.session, self.network.now))

    def reinvite(self, cause: ModifyCause = ModifyCause.HOLD, *, use_update: bool = False) -> None:
        self.take(self.ua.reinvite(self.session, self.network.now, cause, use_update=use_update))

    # --- what happened

    @property
    def session(self) -> str:
        """The newest session that was heard of."""
        return next(str(found) for event in reversed(self.events) if (found := getattr(event, "session", None)))

    def all(self, kind: type[EventT]) -> list[EventT]:
        """Every event of a kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[EventT]) -> EventT:
        """The only event of a kind."""
        found = self.all(kind)
        assert len(found) == 1, f"{self.name}: {len(found)} {kind.__name__} in {self.events}"
        return found[0]

    def requests(self, method: str) -> list[Request]:
        """What it sent."""
        return [message for message in self.sent if isinstance(message, Request) and message.method == method]

    def responses(self, status: int) -> list[Response]:
        """What it sent."""
        return [message for message in self.sent if isinstance(message, Response) and message.status == status]


Receiver = Callable[[FlowId, bytes], None]


@dataclass(slots=True)
class _Link:
    """One direction: who hears what is sent on a flow."""

    receive: Callable[[bytes], None]
    weather: Weather
    up: bool = True


@dataclass(order=True, slots=True)
class _Packet:
    at: float
    number: int
    link: _Link = field(compare=False)
    data: bytes = field(compare=False)


class SipNetwork:
    """Phones, and links between them. Driven by tests."""

    def __init__(self, seed: int = 1) -> None:
        self.random = stdlib_random.Random(seed)
        self.now = 1000.0
        self.weather = Weather()
        self.phones: list[Phone] = []
        self.trace: list[tuple[float, str, str]] = []
        self.drop: Callable[[str, Message], bool] | None = None
        """Asked for each message with its sender's name: True loses it."""
        self.alter: Callable[[str, Message], bool] | None = None
        """Asked for each message: may change it under way; its result means nothing."""
        self.heard: dict[str, list[bytes]] = {}
        """What reached each phone over `connect`."""
        self._links: dict[tuple[str, FlowId], _Link] = {}
        self._packets: list[_Packet] = []
        self._count = 0
        self._next_flow = 1

    def phone(self, name: str, **options: object) -> Phone:
        """A new user agent."""
        phone = Phone(self, name, **options)  # type: ignore[arg-type]  # passed through
        self.phones.append(phone)
        return phone

    def pair(self, *, transport: str = "WS", weather: Weather | None = None, **options: object) -> tuple[Phone, Phone]:
        """Alice and Bob, connected and adopted."""
        alice, bob = self.phone("alice", **options), self.phone("bob", **options)
        self.connect(alice, bob, transport=transport, weather=weather)
        return alice, bob

    def flow(self, phone: Phone, receive: Callable[[bytes], None], *, transport: str, weather: Weather) -> FlowId:
        """A new flow of ``phone`` whose far end is ``receive``."""
        flow, self._next_flow = self._next_flow, self._next_flow + 1
        self._links[phone.name, flow] = _Link(receive, weather)
        phone.flows.append(flow)
        parameters = FlowParameters(transport=transport)  # type: ignore[arg-type]  # a literal of the caller
        phone.take(phone.ua.flow_up(flow, phone.name, parameters, self.now))
        return flow

    def connect(
        self, one: Phone, other: Phone, *, transport: str = "WS", weather: Weather | None = None, adopt: bool = True
    ) -> tuple[FlowId, FlowId]:
        """A link between two phones, one flow each."""
        weather = weather or Weather()
        ends: list[FlowId] = []

        def to_other(data: bytes) -> None:
            self.heard.setdefault(other.name, []).append(data)
            other.take(other.ua.receive(ends[1], data, self.now))

        def to_one(data: bytes) -> None:
            self.heard.setdefault(one.name, []).append(data)
            one.take(one.ua.receive(ends[0], data, self.now))

        ends.append(self.flow(one, to_other, transport=transport, weather=weather))
        ends.append(self.flow(other, to_one, transport=transport, weather=weather))
        if adopt:
            one.take(one.ua.move_account(one.name, ends[0], self.now))
            other.take(other.ua.move_account(other.name, ends[1], self.now))
        return ends[0], ends[1]

    def cut(self, phone: Phone, flow: FlowId | None = None, *, tell: bool = True) -> None:
        """Break a flow: nothing passes any more; ``tell`` says so to the phone."""
        flow = phone.flows[-1] if flow is None else flow
        self._links[phone.name, flow].up = False
        if tell:
            phone.take(phone.ua.flow_down(flow, self.now))

    def partition(self, *phones: Phone, up: bool = False) -> None:
        """Let nothing out of these phones, or everything again."""
        for phone in phones:
            for flow in phone.flows:
                self._links[phone.name, flow].up = up

    # --- moving

    def collect(self, phone: Phone) -> None:
        """Take what a phone wants to send."""
        for flow, data in phone.ua.outbox():
            link = self._links.get((phone.name, flow))
            message = _read(data)
            if message is not None:
                phone.sent.append(message)
                self.trace.append((self.now, phone.name, _summary(message)))
            if link is None or not link.up:
                continue
            if message is not None and self.drop is not None and self.drop(phone.name, message):
                continue
            if message is not None and self.alter is not None:
                self.alter(phone.name, message)
                data = serialise(message)
            self.send(link, data)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something in a while."""
        self._count += 1
        link = _Link(lambda data: action(), Weather())
        heapq.heappush(self._packets, _Packet(self.now + seconds, self._count, link, b""))

    def send(self, link: _Link, data: bytes) -> None:
        """Put a message on a link, through its weather."""
        weather = link.weather
        if self.random.random() < weather.loss:
            return
        copies = 2 if self.random.random() < weather.duplicate else 1
        for _ in range(copies):
            self._count += 1
            at = self.now + weather.delay_s + self.random.random() * weather.jitter_s
            heapq.heappush(self._packets, _Packet(at, self._count, link, data))

    def _next(self) -> float | None:
        moments = [at for phone in self.phones if (at := phone.ua.next_timer()) is not None]
        if self._packets:
            moments.append(self._packets[0].at)
        return min(moments) if moments else None

    def step(self, until: float) -> bool:
        """The next thing that happens, if it happens by ``until``."""
        at = self._next()
        if at is None or at > until:
            return False
        self.now = max(self.now, at)
        while self._packets and self._packets[0].at <= self.now:
            packet = heapq.heappop(self._packets)
            if packet.link.up:
                packet.link.receive(packet.data)
        for phone in self.phones:
            timer = phone.ua.next_timer()
            if timer is not None and timer <= self.now:
                phone.take(phone.ua.tick(self.now))
                again = phone.ua.next_timer()
                assert again is None or again >= timer, "a timer that was due is due again"
        return True

    def run(self, seconds: float = 1.0) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        steps = 0
        while self.step(until):
            steps += 1
            assert steps < 200_000, "it never ends"
        self.now = until

    def drain(self) -> None:
        """Let everything end that ends by itself, then check that nothing is left."""
        self.run(600)
        for phone in self.phones:
            assert len(phone.ua) == 0, f"{phone.name} keeps sessions: {phone.ua.left()}"
            assert len(phone.ua.layer) == 0, f"{phone.name} keeps transactions"
            assert phone.ua.next_timer() is None, f"{phone.name} keeps a timer"
            assert phone.ua.counters.internal_errors == 0


def _read(data: bytes) -> Message | None:
    """What a phone sent; a refusal repeats what was broken in the request, so that only its status can be read."""
    if not data.strip():
        return None
    try:
        return parse(data)
    except MalformedMessage:
        assert data.startswith(b"SIP/2.0 ")
        return Response(int(data[8:11]), headers=Headers([("CSeq", "0 BROKEN")]))


def _summary(message: Message) -> str:
    if isinstance(message, Request):
        return f"{message.method} {cseq(message).number}"
    return f"{message.status} to {cseq(message)}"


class ForkingProxy:
    """One caller, several callees: RFC 3261 16.7 as far as a test needs it. INVITE goes to all; the best refusal comes
    back when all refused; a 2xx cancels the rest."""

    def __init__(
        self, network: SipNetwork, caller: Phone, callees: list[Phone], weather: Weather | None = None
    ) -> None:
        weather = weather or Weather()
        self._network = network
        self._callees = callees
        self._flows: list[FlowId] = []
        self._by_tag: dict[str, int] = {}
        self._invite: Request | None = None
        self._refusals: dict[int, Response] = {}
        self._won = False
        flow = network.flow(caller, self._from_caller, transport="WS", weather=weather)
        self._to_caller = _Link(lambda data: caller.take(caller.ua.receive(flow, data, network.now)), weather)
        caller.take(caller.ua.move_account(caller.name, flow, network.now))
        self._to_callees: list[_Link] = []
        for index, callee in enumerate(callees):
            self._add(index, callee, weather)

    def _add(self, index: int, callee: Phone, weather: Weather) -> None:
        network = self._network
        flow = network.flow(callee, lambda data: self._from_callee(index, data), transport="WS", weather=weather)
        callee.take(callee.ua.move_account(callee.name, flow, network.now))
        self._to_callees.append(_Link(lambda data: callee.take(callee.ua.receive(flow, data, network.now)), weather))

    def _from_caller(self, data: bytes) -> None:
        message = parse(data)
        tag = to(message).tag
        if isinstance(message, Request) and message.method == "INVITE" and tag is None:
            self._invite, self._refusals, self._won = message, {}, False
        if tag is not None:
            if tag in self._by_tag and not (isinstance(message, Request) and self._acks_refusal(message)):
                self._network.send(self._to_callees[self._by_tag[tag]], data)
            return
        for link in self._to_callees:
            self._network.send(link, data)

    def _acks_refusal(self, message: Request) -> bool:
        tags = {to(response).tag for response in self._refusals.values()}
        return message.method == "ACK" and to(message).tag in tags

    def _from_callee(self, index: int, data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request):
            self._network.send(self._to_caller, data)
            return
        tag = to(message).tag
        if tag is not None:
            self._by_tag[tag] = index
        if cseq(message).method != "INVITE" or message.status < 200 or self._invite is None:
            if cseq(message).method != "CANCEL":
                self._network.send(self._to_caller, data)
            return
        if message.status < 300:
            if not self._won:
                self._won = True
                for other, link in enumerate(self._to_callees):
                    if other != index:
                        self._network.send(link, serialise(_derived(self._invite, "CANCEL", None)))
            self._network.send(self._to_caller, data)
            return
        self._network.send(self._to_callees[index], serialise(_derived(self._invite, "ACK", message)))
        self._refusals[index] = message
        if len(self._refusals) == len(self._callees) and not self._won:
            best = min(self._refusals.values(), key=lambda response: response.status)
            self._network.send(self._to_caller, serialise(best))


def _derived(invite: Request, method: str, response: Response | None) -> Request:
    headers = Headers([("Via", invite.headers.all("Via")[0]), ("Max-Forwards", "70")])
    headers.add("From", invite.headers.get("From") or "")
    headers.add("To", (response or invite).headers.get("To") or "")
    headers.add("Call-ID", invite.headers.get("Call-ID") or "")
    headers.add("CSeq", f"{cseq(invite).number} {method}")
    return Request(method, invite.uri, headers)
