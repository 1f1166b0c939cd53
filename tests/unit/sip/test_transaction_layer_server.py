"""The server half of the transaction layer: keys, ACK, CANCEL, merged requests, caps, lost flows."""

from __future__ import annotations

import tracemalloc

import pytest

from phoned.sip.account import FlowParameters
from phoned.sip.headers import Headers
from phoned.sip.io import Outbox
from phoned.sip.message import Request, Response, response_to
from phoned.sip.transaction import (
    AckReceived,
    CancelReceived,
    Delivery,
    RequestReceived,
    Terminated,
    TimedOut,
    Timer,
    TransactionKey,
    TransportFailed,
)
from phoned.sip.transaction_layer import TransactionLayer, TransactionLimits
from tests.support.sip_transactions import CountingRandom, Recorder, drained, drained_with_flow, request, title


class Bench:
    """A layer with one reliable flow (1), one unreliable (2) and one more reliable (3)."""

    def __init__(self, limits: TransactionLimits | None = None) -> None:
        self.outbox = Outbox()
        self.layer = TransactionLayer(outbox=self.outbox, random=CountingRandom(), limits=limits)
        for flow, transport in ((1, "WSS"), (2, "UDP"), (3, "WSS")):
            self.layer.flow_up(flow, FlowParameters(transport="UDP" if transport == "UDP" else "WSS"))
        self.owner = Recorder()

    def take(self, message: Request, flow: int = 1, now: float = 0) -> TransactionKey:
        """A new request comes in, and is adopted."""
        ((owner, event),) = self.layer.receive(flow, message, now)
        assert owner is None
        assert isinstance(event, RequestReceived)
        assert event.request is message
        self.layer.adopt(event.key, self.owner)
        return event.key

    def respond(self, key: TransactionKey, message: Request, status: int, now: float = 0) -> bool:
        return self.layer.respond(key, response_to(message, status, to_tag="us"), now)

    def titles(self) -> list[str]:
        return [title(message) for message in drained(self.outbox)]


def kinds(deliveries: list[Delivery]) -> list[str]:
    return [type(event).__name__ for _, event in deliveries]


# --- requests and responses


def test_invite_is_answered_with_100_and_comes_up_once() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite, flow=3)
    assert drained_with_flow(bench.outbox) == [(3, "100 INVITE")]
    assert bench.layer.receive(3, invite, 0.5) == []
    assert bench.respond(key, invite, 180)
    assert drained_with_flow(bench.outbox) == [(3, "100 INVITE"), (3, "180 INVITE")]


def test_response_goes_to_the_flow_of_its_request() -> None:
    bench = Bench()
    options = request("OPTIONS")
    key = bench.take(options, flow=3)
    assert bench.respond(key, options, 200, now=4)
    assert drained_with_flow(bench.outbox) == [(3, "200 OPTIONS")]
    assert bench.layer.next_timer() == 4
    assert bench.layer.tick(4) == [(bench.owner, Terminated(key=key))]
    assert not bench.respond(key, options, 200)


def test_same_request_on_another_flow_is_another_transaction() -> None:
    bench = Bench()
    bench.take(request("OPTIONS", to_tag="dialog"), flow=1)
    bench.take(request("OPTIONS", to_tag="dialog"), flow=3)
    assert len(bench.layer) == 2


def test_same_branch_of_another_sender_or_method_is_another_transaction() -> None:
    bench = Bench()
    keys = {
        bench.take(request("OPTIONS", to_tag="t")),
        bench.take(request("OPTIONS", to_tag="t", via="SIP/2.0/WSS proxy.example:5061;branch=z9hG4bKfar1")),
        bench.take(request("INFO", to_tag="t")),
    }
    assert len(keys) == 3


def test_sender_is_compared_without_case() -> None:
    bench = Bench()
    bench.take(request("OPTIONS"))
    assert bench.layer.receive(1, request("OPTIONS", via="SIP/2.0/WSS PROXY.example;branch=z9hG4bKfar1"), 1) == []


def test_only_one_final_response_is_taken() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    assert bench.respond(key, invite, 486)
    assert not bench.respond(key, invite, 200)
    assert not bench.respond(key, invite, 180)


def test_2xx_may_be_repeated_until_the_transaction_ends() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    assert bench.respond(key, invite, 200, now=1)
    assert bench.respond(key, invite, 200, now=1.5)
    assert bench.titles() == ["100 INVITE", "200 INVITE", "200 INVITE"]
    assert bench.layer.tick(33) == [(bench.owner, Terminated(key=key))]
    assert not bench.respond(key, invite, 200, now=33)


def test_transaction_that_nobody_adopted_ends_in_silence() -> None:
    bench = Bench()
    options = request("OPTIONS")
    ((_, event),) = bench.layer.receive(1, options, 0)
    assert event.key is not None
    assert bench.respond(event.key, options, 200)
    assert bench.layer.next_timer() is None
    bench.layer.adopt(event.key, bench.owner)
    assert len(bench.layer) == 0


def test_stateless_response_needs_a_flow_that_is_up() -> None:
    bench = Bench()
    bad = response_to(request("OPTIONS"), 400)
    assert bench.layer.respond_statelessly(1, bad)
    assert not bench.layer.respond_statelessly(9, bad)
    assert drained_with_flow(bench.outbox) == [(1, "400 OPTIONS")]


def test_request_that_cannot_be_answered_is_counted_and_dropped() -> None:
    bench = Bench()
    no_to = request("OPTIONS")
    no_to.headers.remove("To")
    unwritable = request("INVITE")
    unwritable.headers.set("From", "<sip:a@b>;tag=x\r\nEvil: yes")
    bare_ack = Request("ACK", "sip:x", Headers())
    for message in (no_to, unwritable, bare_ack, Response(200, "OK", Headers())):
        assert bench.layer.receive(1, message, 0) == []
    assert bench.layer.counters.malformed + bench.layer.counters.stray_responses == 4
    assert len(bench.layer) == 0
    bench.take(request("OPTIONS"))


# --- ACK


def test_ack_of_a_refusal_is_absorbed() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    bench.respond(key, invite, 486)
    assert bench.layer.receive(1, request("ACK", to_tag="us"), 1) == [(bench.owner, Terminated(key=key))]
    assert len(bench.layer) == 0


def test_missing_ack_of_a_refusal_comes_up() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    bench.respond(key, invite, 486)
    assert bench.layer.tick(32) == [
        (bench.owner, TimedOut(key=key, timer=Timer.H)),
        (bench.owner, Terminated(key=key)),
    ]


def test_ack_of_a_2xx_has_a_branch_of_its_own_and_comes_up_unowned() -> None:
    bench = Bench()
    invite = request("INVITE")
    bench.respond(bench.take(invite), invite, 200)
    ack = request("ACK", branch="z9hG4bKother", to_tag="us")
    assert bench.layer.receive(1, ack, 1) == [(None, AckReceived(key=None, flow=1, request=ack))]
    assert bench.layer.counters.stray_acks == 1


def test_ack_of_a_2xx_with_the_branch_of_the_invite_comes_up_to_the_owner() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    bench.respond(key, invite, 200)
    ack = request("ACK", to_tag="us")
    assert bench.layer.receive(1, ack, 1) == [(bench.owner, AckReceived(key=key, flow=1, request=ack))]


def test_ack_over_another_flow_does_not_touch_the_transaction() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    bench.respond(key, invite, 486)
    ((owner, event),) = bench.layer.receive(3, request("ACK", to_tag="us"), 1)
    assert (owner, event.key) == (None, None)
    assert len(bench.layer) == 1


# --- CANCEL


def test_cancel_is_answered_and_comes_up_to_the_owner_of_the_invite() -> None:
    bench = Bench()
    invite = request("INVITE")
    key = bench.take(invite)
    bench.respond(key, invite, 180)
    bench.outbox.drain()
    cancel = request("CANCEL")
    assert bench.layer.receive(1, cancel, 1) == [(bench.owner, CancelReceived(key=key, cancel=cancel))]
    (ok,) = drained(bench.outbox)
    assert title(ok) == "200 CANCEL"
    assert ok.headers.get("To") == "<sip:us@example.org>;tag=us"
    assert bench.respond(key, invite, 487)
    assert bench.layer.receive(1, request("ACK", to_tag="us"), 2) == [(bench.owner, Terminated(key=key))]


def test_cancel_before_any_tag_was_given_comes_up_even_unowned() -> None:
    bench = Bench()
    ((_, event),) = bench.layer.receive(1, request("INVITE"), 0)
    cancel = request("CANCEL")
    assert event.key is not None
    assert bench.layer.receive(1, cancel, 1) == [(None, CancelReceived(key=event.key, cancel=cancel))]
    assert ";tag=" in (drained(bench.outbox)[-1].headers.get("To") or "")


def test_cancel_that_crosses_a_final_response_changes_nothing() -> None:
    bench = Bench()
    invite = request("INVITE")
    bench.respond(bench.take(invite), invite, 200)
    assert bench.layer.receive(1, request("CANCEL"), 1) == []
    assert bench.titles() == ["100 INVITE", "200 INVITE", "200 CANCEL"]


def test_cancel_of_nothing_is_answered_with_481() -> None:
    bench = Bench()
    bench.take(request("INVITE"))
    assert bench.layer.receive(1, request("CANCEL", branch="z9hG4bKguessed"), 1) == []
    assert bench.layer.receive(3, request("CANCEL"), 1) == []
    assert drained_with_flow(bench.outbox) == [(1, "100 INVITE"), (1, "481 CANCEL"), (3, "481 CANCEL")]
    assert bench.layer.counters.stray_cancels == 2


def test_repeated_cancel_comes_up_once_on_an_unreliable_flow() -> None:
    bench = Bench()
    bench.take(request("INVITE"), flow=2)
    assert kinds(bench.layer.receive(2, request("CANCEL"), 1)) == ["CancelReceived"]
    assert bench.layer.receive(2, request("CANCEL"), 1.5) == []
    assert bench.titles() == ["100 INVITE", "200 CANCEL", "200 CANCEL"]
    assert bench.layer.tick(33) == []


# --- RFC 2543: no magic cookie


@pytest.mark.parametrize("branch", [None, "1", "z9hG4bK"])
def test_old_peer_is_matched_by_what_its_requests_have_in_common(branch: str | None) -> None:
    bench = Bench()
    invite = request("INVITE", branch=branch)
    key = bench.take(invite)
    assert bench.layer.receive(1, invite, 0.5) == []
    cancel = request("CANCEL", branch=branch)
    assert bench.layer.receive(1, cancel, 1) == [(bench.owner, CancelReceived(key=key, cancel=cancel))]
    bench.respond(key, invite, 487)
    assert kinds(bench.layer.receive(1, request("ACK", branch=branch, to_tag="not-us"), 2)) == ["AckReceived"]
    ack = request("ACK", branch=branch, to_tag="us")
    assert bench.layer.receive(1, ack, 2) == [(bench.owner, Terminated(key=key))]


def test_old_peer_may_invite_again_inside_the_dialog() -> None:
    bench = Bench()
    invite = request("INVITE", branch=None, to_tag="us", number=2)
    key = bench.take(invite)
    bench.respond(key, invite, 488)
    ack = request("ACK", branch=None, to_tag="us", number=2)
    assert bench.layer.receive(1, ack, 2) == [(bench.owner, Terminated(key=key))]


@pytest.mark.parametrize(
    "other",
    [
        request("OPTIONS", branch=None, to_tag="t", uri="sip:other@example.org"),
        request("OPTIONS", branch=None, to_tag="t", from_tag="other"),
        request("OPTIONS", branch=None, to_tag="t", call_id="other"),
        request("OPTIONS", branch=None, to_tag="t", number=2),
        request("OPTIONS", branch=None, to_tag="other"),
        request("OPTIONS", to_tag="t", via="SIP/2.0/WSS proxy.example;branch=2"),
    ],
    ids=["uri", "from", "call-id", "cseq", "to", "via"],
)
def test_old_peers_requests_differ_when_anything_differs(other: Request) -> None:
    bench = Bench()
    bench.take(request("OPTIONS", branch=None, to_tag="t"))
    bench.take(other)
    assert len(bench.layer) == 2


# --- merged requests


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_second_copy_of_a_forked_request_is_refused(method: str) -> None:
    bench = Bench()
    key = bench.take(request(method))
    bench.outbox.drain()
    for flow in (1, 3):
        assert bench.layer.receive(flow, request(method, branch=f"z9hG4bKcopy{flow}"), 1) == []
    refusals = drained(bench.outbox)
    assert [title(message) for message in refusals] == [f"482 {method}"] * 2
    assert all(";tag=" in (message.headers.get("To") or "") for message in refusals)
    assert bench.layer.counters.merged == 2
    assert bench.respond(key, request(method), 200)


def test_repeated_copy_gets_the_same_refusal() -> None:
    bench = Bench()
    bench.take(request("INVITE"), flow=2)
    bench.outbox.drain()
    copy = request("INVITE", branch="z9hG4bKcopy")
    bench.layer.receive(2, copy, 1)
    bench.layer.receive(2, copy, 1.5)
    first, second = drained(bench.outbox)
    assert first == second


def test_request_may_come_again_when_the_first_is_over() -> None:
    bench = Bench()
    options = request("OPTIONS")
    bench.respond(bench.take(options), options, 200)
    bench.layer.tick(0)
    bench.take(request("OPTIONS", branch="z9hG4bKagain"))


def test_next_try_of_a_call_is_not_a_copy() -> None:
    bench = Bench()
    bench.take(request("INVITE"))
    bench.take(request("INVITE", branch="z9hG4bKnext", number=2))


# --- caps


def flood(bench: Bench, count: int, *, first: int = 0, flow: int = 1, to_tag: str | None = None) -> list[Delivery]:
    deliveries: list[Delivery] = []
    for number in range(first, first + count):
        message = request("INVITE", branch=f"z9hG4bK{number}", call_id=f"flood-{number}", to_tag=to_tag)
        deliveries += bench.layer.receive(flow, message, 0)
    return deliveries


def test_requests_beyond_the_cap_are_put_off_without_memory() -> None:
    bench = Bench(limits=TransactionLimits(server_new=2, server_total=3, retry_after_s=7))
    assert len(flood(bench, 5)) == 2
    assert len(bench.layer) == 2
    assert bench.layer.counters.over_capacity == 3
    refusals = drained(bench.outbox)[2:]
    assert [title(message) for message in refusals] == ["503 INVITE"] * 3
    assert [message.headers.get("Retry-After") for message in refusals] == ["7"] * 3


def test_flood_leaves_room_for_requests_inside_dialogs_and_for_cancel() -> None:
    bench = Bench(limits=TransactionLimits(server_new=2, server_total=4))
    flood(bench, 9)
    bench.take(request("INVITE", branch="z9hG4bKre", to_tag="us"))
    cancel = request("CANCEL", branch="z9hG4bK0", call_id="flood-0")
    assert kinds(bench.layer.receive(1, cancel, 0)) == ["CancelReceived"]
    flood(bench, 9, first=100, to_tag="guessed")
    assert len(bench.layer) == 4


def test_refused_invites_make_room_before_anything_is_put_off() -> None:
    bench = Bench(limits=TransactionLimits(server_new=2, server_total=3))
    first = request("INVITE", branch="z9hG4bKa", call_id="a")
    key = bench.take(first)
    bench.respond(key, first, 486)
    assert bench.layer.tick(0) == []
    deliveries = flood(bench, 2)
    assert deliveries[1] == (bench.owner, Terminated(key=key))
    assert kinds(deliveries) == ["RequestReceived", "Terminated", "RequestReceived"]
    assert bench.layer.counters.over_capacity == 0


def test_acknowledged_refusal_is_not_given_up_a_second_time() -> None:
    bench = Bench(limits=TransactionLimits(server_new=1, server_total=1))
    first = request("INVITE", branch="z9hG4bKa", call_id="a")
    bench.respond(bench.take(first), first, 486)
    bench.layer.receive(1, request("ACK", branch="z9hG4bKa", call_id="a", to_tag="us"), 0)
    assert kinds(flood(bench, 2)) == ["RequestReceived"]
    assert bench.layer.counters.over_capacity == 1


def test_refused_invite_is_kept_on_an_unreliable_flow_where_it_absorbs_copies() -> None:
    bench = Bench(limits=TransactionLimits(server_new=1, server_total=1))
    first = request("INVITE", branch="z9hG4bKa", call_id="a")
    bench.respond(bench.take(first, flow=2), first, 486)
    assert flood(bench, 1, flow=2) == []
    assert bench.layer.counters.over_capacity == 1


def test_flood_of_new_calls_that_are_refused_keeps_memory_constant() -> None:
    bench = Bench(limits=TransactionLimits(server_new=64, server_total=128))

    def refuse_all(first: int, count: int) -> None:
        for number in range(first, first + count):
            message = request("INVITE", branch=f"z9hG4bK{number}", call_id=f"flood-{number}")
            for owner, event in bench.layer.receive(1, message, 0):
                assert owner is None
                if isinstance(event, RequestReceived):
                    bench.respond(event.key, message, 486)
            bench.outbox.drain()

    refuse_all(0, 200)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    refuse_all(200, 2000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(bench.layer) == 64
    assert after - before < 500_000
    assert bench.layer.counters.over_capacity == 0


def test_requests_that_our_side_forgets_give_their_place_back() -> None:
    bench = Bench()
    flood(bench, 9)
    bench.layer.receive(1, request("OPTIONS"), 0)
    bench.layer.tick(600)
    assert len(bench.layer) == 0
    assert bench.layer.next_timer() is None


# --- flow_down


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        ("INVITE", None, ["TransportFailed", "Terminated"]),
        ("INVITE", 180, ["TransportFailed", "Terminated"]),
        ("INVITE", 200, ["Terminated"]),
        ("INVITE", 486, ["Terminated"]),
        ("OPTIONS", None, ["TransportFailed", "Terminated"]),
        ("OPTIONS", 100, ["TransportFailed", "Terminated"]),
        ("OPTIONS", 200, ["Terminated"]),
    ],
)
@pytest.mark.parametrize("flow", [1, 2])
def test_lost_flow_ends_requests_in_every_state(
    flow: int, method: str, status: int | None, expected: list[str]
) -> None:
    bench = Bench()
    message = request(method)
    key = bench.take(message, flow=flow)
    if status is not None:
        bench.respond(key, message, status)
    deliveries = bench.layer.flow_down(flow, 1) + bench.layer.tick(1)
    assert kinds(deliveries) == expected
    assert {id(owner) for owner, _ in deliveries} == {id(bench.owner)}
    assert len(bench.layer) == 0
    assert not bench.respond(key, message, 200)
    assert drained(bench.outbox) == []


def test_lost_flow_lets_the_call_ring_anew_on_the_next() -> None:
    bench = Bench()
    bench.take(request("INVITE"), flow=1)
    (_, (_, ended)) = bench.layer.flow_down(1, 1)
    assert isinstance(ended, Terminated)
    bench.take(request("INVITE", branch="z9hG4bKnewflow"), flow=3)
    assert bench.layer.counters.merged == 0


def test_failure_of_a_request_shows_it() -> None:
    bench = Bench()
    message = request("INVITE")
    key = bench.take(message)
    assert bench.layer.flow_down(1, 1)[0] == (bench.owner, TransportFailed(key=key, request=message))
