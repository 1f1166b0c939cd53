"""Two transaction layers and a bad network between them: whatever is lost, doubled or late, everything ends, once."""

from __future__ import annotations

import heapq
import random

import pytest

from phoned.sip.account import FlowParameters
from phoned.sip.io import FlowId, Outbox
from phoned.sip.message import Message, Request, parse, response_to
from phoned.sip.transaction import (
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    Terminated,
    TimedOut,
    TransactionEvent,
    TransactionKey,
    TransportFailed,
)
from phoned.sip.transaction_layer import TransactionLayer
from tests.support.sip_transactions import CountingRandom, request


class Side:
    """One end: answers what it is asked, acknowledges each 2xx, and writes down what becomes of its transactions."""

    def __init__(self, transport: str, dice: random.Random) -> None:
        self.outbox = Outbox()
        self.layer = TransactionLayer(outbox=self.outbox, random=CountingRandom())
        self.layer.flow_up(1, FlowParameters(transport="UDP" if transport == "UDP" else "WSS"))
        self.dice = dice
        self.log: dict[TransactionKey, list[TransactionEvent]] = {}
        self.invites: dict[TransactionKey, Request] = {}
        self.wishes: list[tuple[float, int, TransactionKey, int]] = []

    def on_transaction(self, event: TransactionEvent, now: float) -> list[TransactionEvent]:
        if event.key is None:
            return []
        self.log.setdefault(event.key, []).append(event)
        if (
            isinstance(event, ResponseReceived)
            and event.request.method == "INVITE"
            and 200 <= event.response.status < 300
        ):
            self.layer.send_ack(request("ACK", via="", to_tag="far"), 1)
        if isinstance(event, CancelReceived):
            self.wish(now, event.key, 487)
        return []

    def wish(self, at: float, key: TransactionKey, status: int) -> None:
        heapq.heappush(self.wishes, (at, len(self.wishes), key, status))

    def take(self, deliveries: list[tuple[object, TransactionEvent]], now: float) -> None:
        for owner, event in deliveries:
            if isinstance(event, RequestReceived):
                self.layer.adopt(event.key, self)
                self.invites[event.key] = event.request
                self.log[event.key] = [event]
                if event.request.method == "INVITE":
                    self.wish(now + self.dice.random(), event.key, 180)
                self.wish(now + self.dice.random() * 4, event.key, self.dice.choice([200, 200, 486, 603]))
            elif owner is self:
                self.on_transaction(event, now)

    def fulfil(self, now: float) -> None:
        while self.wishes and self.wishes[0][0] <= now:
            _, _, key, status = heapq.heappop(self.wishes)
            taken = self.layer.respond(key, response_to(self.invites[key], status, to_tag="us"), now)
            if taken and key.method == "INVITE" and status == 200:
                self.wish(now + 2, key, status)  # RFC 3261 13.3.1.4: the core repeats a 2xx, whatever the transport

    def next(self) -> float | None:
        moments = [self.layer.next_timer(), self.wishes[0][0] if self.wishes else None]
        return min((at for at in moments if at is not None), default=None)


class Network:
    """Delivers parsed messages after a delay; on an unreliable flow it loses, doubles and reorders."""

    def __init__(self, transport: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.unreliable = transport == "UDP"
        self.near, self.far = Side(transport, self.dice), Side(transport, self.dice)
        self.flying: list[tuple[float, int, Side, Message]] = []
        self.count = 0
        self.now = 0.0

    def collect(self) -> None:
        for side, other in ((self.near, self.far), (self.far, self.near)):
            for _, data in side.outbox.drain():
                copies = self.dice.choice([0, 1, 1, 1, 2]) if self.unreliable else 1
                for _ in range(copies):
                    delay = self.dice.random() if self.unreliable else 0.05
                    self.count += 1
                    heapq.heappush(self.flying, (self.now + delay, self.count, other, parse(data)))

    def run(self) -> None:
        for _ in range(100_000):
            self.collect()
            moments = [at for at in (self.near.next(), self.far.next()) if at is not None]
            moments += [self.flying[0][0]] if self.flying else []
            if not moments:
                return
            self.now = max(self.now, min(moments))
            while self.flying and self.flying[0][0] <= self.now:
                _, _, side, message = heapq.heappop(self.flying)
                side.take(list(side.layer.receive(1, message, self.now)), self.now)
            for side in (self.near, self.far):
                side.fulfil(self.now)
                side.take(list(side.layer.tick(self.now)), self.now)
        raise AssertionError("it never comes to rest")


def play(transport: str, seed: int, *, break_at: float | None = None) -> Network:
    network = Network(transport, seed)
    near = network.near
    flow: FlowId = 1
    keys: list[TransactionKey] = []
    for number in range(6):
        method = network.dice.choice(["INVITE", "INVITE", "OPTIONS"])
        to_send = request(method, via="", call_id=f"call-{number}", number=number + 1)
        keys.append(near.layer.send_request(to_send, flow, 0.0, near))
        if method == "INVITE" and network.dice.random() < 0.3:
            near.layer.cancel(keys[-1], 0.0)
    if break_at is not None:
        network.collect()
        for side in (near, network.far):
            side.take(list(side.layer.flow_down(flow, break_at)), break_at)
        network.flying.clear()
    network.run()
    return network


@pytest.mark.parametrize("transport", ["UDP", "WSS"])
@pytest.mark.parametrize("seed", range(40))
def test_everything_ends_once_and_leaves_nothing_behind(transport: str, seed: int) -> None:
    network = play(transport, seed)
    for side in (network.near, network.far):
        assert len(side.layer) == 0
        assert side.layer.next_timer() is None
        for key, events in side.log.items():
            kinds = [type(event) for event in events]
            assert kinds.count(Terminated) == 1, key
            assert kinds[-1] is Terminated
            assert kinds.count(TimedOut) <= 1
    assert len(network.near.log) == 6
    assert network.far.layer.counters.merged == 0


@pytest.mark.parametrize("seed", range(10))
def test_reliable_flow_answers_every_request_without_a_timeout(seed: int) -> None:
    network = play("WSS", seed)
    for events in network.near.log.values():
        finals = [event.response for event in events if isinstance(event, ResponseReceived)]
        assert len({response.status for response in finals if response.status >= 200}) == 1
    assert not [event for events in network.far.log.values() for event in events if isinstance(event, TimedOut)]


@pytest.mark.parametrize("seed", range(10))
def test_broken_flow_ends_everything_at_once(seed: int) -> None:
    network = play("WSS", seed, break_at=0.0)
    assert network.now == 0.0
    for events in network.near.log.values():
        assert [type(event) for event in events] == [TransportFailed, Terminated]
