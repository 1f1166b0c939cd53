"""The client half, and the flows. The server half: test_transaction_layer_server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phoned.errors import AtCapacity, InternalError, InvalidValue, NotFound
from phoned.sip.accessors import via_top
from phoned.sip.account import FlowParameters
from phoned.sip.client_transaction import build_cancel
from phoned.sip.headers import Headers
from phoned.sip.io import Outbox
from phoned.sip.message import Request, Response
from phoned.sip.transaction import (
    Delivery,
    ResponseReceived,
    Terminated,
    TimedOut,
    Timer,
    TransactionKey,
    TransportFailed,
)
from phoned.sip.transaction_layer import TransactionLayer, TransactionLimits
from tests.support.sip_transactions import CountingRandom, Recorder, answer, drained, drained_with_flow, request, title


class Bench:
    """A layer with one reliable flow (1), one unreliable (2) and one more reliable (3)."""

    def __init__(self, limits: TransactionLimits | None = None, outbox: Outbox | None = None) -> None:
        self.outbox = Outbox() if outbox is None else outbox
        self.layer = TransactionLayer(outbox=self.outbox, random=CountingRandom(), limits=limits)
        self.layer.flow_up(1, FlowParameters(transport="WSS"))
        self.layer.flow_up(2, FlowParameters(transport="UDP", sent_by="10.0.0.1:5070"))
        self.layer.flow_up(3, FlowParameters(transport="WSS", sent_by="own.invalid"))
        self.owner = Recorder()

    def send(self, method: str, flow: int = 1, timeout_s: float | None = None) -> tuple[TransactionKey, Request]:
        to_send = request(method, via="")
        key = self.layer.send_request(to_send, flow, 0, self.owner, timeout_s=timeout_s)
        (sent,) = drained(self.outbox)
        assert isinstance(sent, Request)
        return key, sent

    def tick(self, now: float) -> list[object]:
        """Everything that came up until ``now``, for our owner alone."""
        events: list[object] = []
        while (at := self.layer.next_timer()) is not None and at <= now:
            for owner, event in self.layer.tick(at):
                assert owner is self.owner
                events.append(event)
        return events


def titles(outbox: Outbox) -> list[str]:
    return [title(message) for message in drained(outbox)]


# --- flows and Via


def test_request_gets_a_via_of_its_flow_with_a_fresh_branch() -> None:
    bench = Bench()
    to_send = request("OPTIONS", via="")
    key = bench.layer.send_request(to_send, 1, 0, bench.owner)
    bench.layer.send_request(to_send, 1, 0, bench.owner)
    first, second = (via_top(message) for message in drained(bench.outbox))
    assert "Via" not in to_send.headers
    assert (first.transport, first.sent_by) == ("WSS", bench.layer.sent_by(1))
    assert first.sent_by.endswith(".invalid")
    assert first.branch == key.branch
    assert first.branch is not None
    assert first.branch.startswith("z9hG4bK")
    assert len(first.branch) == 7 + 32
    assert first.branch != second.branch
    assert "rport" not in first.parameters


def test_unreliable_flow_asks_for_rport() -> None:
    bench = Bench()
    _, sent = bench.send("OPTIONS", flow=2)
    assert sent.headers.get("Via") == f"SIP/2.0/UDP 10.0.0.1:5070;branch={via_top(sent).branch};rport"
    assert bench.layer.sent_by(2) == "10.0.0.1:5070"


def test_unknown_flow_has_no_name_and_takes_no_message() -> None:
    bench = Bench()
    with pytest.raises(NotFound):
        bench.layer.sent_by(9)
    assert bench.layer.receive(9, request("INVITE"), 0) == []
    assert bench.layer.flow_down(9, 0) == []
    assert bench.layer.counters.unknown_flow == 1


def test_request_over_a_flow_that_is_not_up_fails_with_the_next_input() -> None:
    bench = Bench()
    key = bench.layer.send_request(request("BYE", via=""), 9, 7.5, bench.owner)
    assert bench.layer.next_timer() == 7.5
    (owner, failed), (_, ended) = bench.layer.tick(7.5)
    assert owner is bench.owner
    assert isinstance(failed, TransportFailed)
    assert failed.key == key
    assert ended == Terminated(key=key)
    assert bench.layer.next_timer() is None
    assert len(bench.layer) == 0


def test_nobody_hears_of_an_unowned_request_that_fails() -> None:
    bench = Bench()
    bench.layer.send_request(request("BYE", via=""), 9, 0, None)
    assert bench.layer.next_timer() is None


def test_first_of_several_postponed_events_names_the_time() -> None:
    bench = Bench()
    bench.layer.send_request(request("BYE", via=""), 9, 1, bench.owner)
    bench.layer.send_request(request("BYE", via=""), 9, 2, bench.owner)
    assert bench.layer.next_timer() == 1
    assert len(bench.layer.tick(2)) == 4


def test_full_outbox_fails_a_request_like_a_broken_flow() -> None:
    bench = Bench(outbox=Outbox(limit=0))
    key = bench.layer.send_request(request("BYE", via=""), 1, 0, bench.owner)
    failed, ended = bench.tick(0)
    assert isinstance(failed, TransportFailed)
    assert ended == Terminated(key=key)
    assert len(bench.layer) == 0


@pytest.mark.parametrize(
    "feed",
    [
        lambda layer: layer.receive(1, request("OPTIONS"), 1),
        lambda layer: layer.receive(9, request("OPTIONS"), 1),
        lambda layer: layer.tick(1),
    ],
    ids=["message", "unknown flow", "tick"],
)
def test_postponed_events_come_first_with_the_next_input(feed: Callable[[TransactionLayer], list[Delivery]]) -> None:
    bench = Bench()
    bench.layer.send_request(request("BYE", via=""), 9, 0, bench.owner)
    assert [type(event) for _, event in feed(bench.layer)][:2] == [TransportFailed, Terminated]


def test_lost_flow_leaves_the_postponed_events_of_others_alone() -> None:
    bench = Bench()
    bench.layer.send_request(request("BYE", via=""), 9, 0, bench.owner)
    assert bench.layer.flow_down(3, 1) == []
    assert [type(event) for _, event in bench.layer.tick(1)] == [TransportFailed, Terminated]


# --- responses


def test_response_reaches_the_owner_of_its_request() -> None:
    bench = Bench()
    key, sent = bench.send("OPTIONS")
    response = answer(sent, 200)
    (owner, event), ended = bench.layer.receive(1, response, 1)
    assert owner is bench.owner
    assert isinstance(event, ResponseReceived)
    assert (event.key, event.response) == (key, response)
    assert event.request.headers.get("Via") == sent.headers.get("Via")
    assert ended == (bench.owner, Terminated(key=key))
    assert len(bench.layer) == 0
    assert bench.layer.next_timer() is None


@pytest.mark.behaviour("R/b")
def test_responses_to_requests_with_one_cseq_number_each_reach_their_own() -> None:
    bench = Bench()
    sent = [bench.send("OPTIONS") for _ in range(3)]
    assert len({message.headers.get("CSeq") for _, message in sent}) == 1
    for key, message in reversed(sent):
        (_, event), _ = bench.layer.receive(1, answer(message, 200), 1)
        assert isinstance(event, ResponseReceived)
        assert event.key == key


def test_response_that_answers_nothing_of_ours_is_counted_and_dropped() -> None:
    bench = Bench()
    _, sent = bench.send("OPTIONS")
    other_method = answer(sent, 200)
    other_method.headers.set("CSeq", "1 INVITE")
    two_vias = answer(sent, 200)
    two_vias.headers.add("Via", "SIP/2.0/WSS other;branch=z9hG4bKother")
    no_branch = answer(sent, 200)
    no_branch.headers.set("Via", "SIP/2.0/WSS other")
    for flow, response in ((1, other_method), (1, two_vias), (1, no_branch), (3, answer(sent, 200))):
        assert bench.layer.receive(flow, response, 1) == []
    assert bench.layer.counters.stray_responses == 4
    assert len(bench.layer.receive(1, answer(sent, 200), 1)) == 2
    assert bench.layer.receive(1, answer(sent, 200), 1) == []
    assert bench.layer.counters.stray_responses == 5


def test_response_that_cannot_be_read_is_counted_and_dropped() -> None:
    bench = Bench()
    _, sent = bench.send("OPTIONS")
    broken = Response(200, "OK", Headers([("Via", sent.headers.get("Via") or "")]))
    assert bench.layer.receive(1, broken, 1) == []
    assert bench.layer.counters.malformed == 1


def test_each_2xx_of_an_invite_comes_up_and_its_ack_is_sent_as_it_was() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    for at in (1, 2):
        ((owner, event),) = bench.layer.receive(1, answer(sent, 200), at)
        assert owner is bench.owner
        assert isinstance(event, ResponseReceived)
    ack = bench.layer.send_ack(request("ACK", via="", to_tag="far"), 1)
    assert bench.layer.send_ack(ack, 1) is ack
    first, second = drained(bench.outbox)
    assert first == second
    assert via_top(first).branch != key.branch
    assert bench.tick(100) == [Terminated(key=key)]


def test_ack_over_a_lost_flow_is_not_sent() -> None:
    bench = Bench()
    bench.layer.send_ack(request("ACK", via="", to_tag="far"), 9)
    assert drained(bench.outbox) == []


def test_refusal_of_an_invite_is_acknowledged_on_its_flow() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE", flow=3)
    events = [event for _, event in bench.layer.receive(3, answer(sent, 486), 1)]
    assert [type(event) for event in events] == [ResponseReceived, Terminated]
    assert drained_with_flow(bench.outbox) == [(3, "ACK")]
    assert events[-1] == Terminated(key=key)


# --- deadlines


def test_unanswered_request_times_out_and_is_forgotten() -> None:
    bench = Bench()
    key, _ = bench.send("OPTIONS")
    assert bench.layer.next_timer() == 32
    assert bench.tick(31.9) == []
    assert bench.tick(32) == [TimedOut(key=key, timer=Timer.F), Terminated(key=key)]
    assert len(bench.layer) == 0


def test_deadline_of_a_request_can_be_shortened() -> None:
    bench = Bench()
    key, _ = bench.send("REGISTER", timeout_s=5)
    assert bench.tick(5) == [TimedOut(key=key, timer=Timer.F), Terminated(key=key)]


def test_unreliable_flow_retransmits_each_request_by_its_own_clock() -> None:
    bench = Bench()
    bench.send("OPTIONS", flow=2)
    bench.layer.send_request(request("BYE", via=""), 2, 0.25, bench.owner)
    bench.outbox.drain()
    assert bench.tick(1) == []
    assert titles(bench.outbox) == ["OPTIONS", "BYE"]
    assert bench.layer.next_timer() == 1.5


def test_late_tick_fires_what_is_overdue_once() -> None:
    bench = Bench()
    key, _ = bench.send("INVITE", flow=2)
    events = [event for _, event in bench.layer.tick(500)]
    assert events == [TimedOut(key=key, timer=Timer.B), Terminated(key=key)]
    assert bench.layer.next_timer() is None


# --- CANCEL


def test_cancel_waits_for_the_first_provisional_response() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    assert bench.layer.cancel(key, 1, reason="SIP;cause=200")
    assert bench.layer.cancel(key, 1)
    assert drained(bench.outbox) == []
    bench.layer.receive(1, answer(sent, 100), 2)
    (cancel,) = drained(bench.outbox)
    assert title(cancel) == "CANCEL"
    assert via_top(cancel).branch == key.branch
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    bench.layer.receive(1, answer(sent, 180), 3)
    assert drained(bench.outbox) == []


def test_cancel_goes_out_at_once_after_a_provisional_response() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    bench.layer.receive(1, answer(sent, 180), 1)
    assert bench.layer.cancel(key, 2)
    (cancel,) = drained(bench.outbox)
    assert isinstance(cancel, Request)
    assert bench.layer.receive(1, answer(cancel, 200), 2.1) == []
    events = [event for _, event in bench.layer.receive(1, answer(sent, 487), 2.2)]
    assert [type(event) for event in events] == [ResponseReceived, Terminated]
    assert titles(bench.outbox) == ["ACK"]
    assert len(bench.layer) == 0


def test_answer_that_comes_before_the_waiting_cancel_wins() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    bench.layer.cancel(key, 1)
    bench.layer.receive(1, answer(sent, 200), 2)
    assert drained(bench.outbox) == []
    assert not bench.layer.cancel(key, 3)


def test_answer_that_crosses_the_cancel_comes_up() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    bench.layer.receive(1, answer(sent, 180), 1)
    bench.layer.cancel(key, 2)
    (cancel,) = drained(bench.outbox)
    assert isinstance(cancel, Request)
    ((_, event),) = bench.layer.receive(1, answer(sent, 200), 2.1)
    assert isinstance(event, ResponseReceived)
    assert bench.layer.receive(1, answer(cancel, 481), 2.2) == []
    assert bench.tick(100) == [Terminated(key=key)]


def test_cancelled_invite_that_nobody_answers_is_given_up() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    bench.layer.receive(1, answer(sent, 180), 1)
    bench.layer.cancel(key, 10)
    assert bench.tick(100) == [TimedOut(key=key, timer=Timer.CANCEL), Terminated(key=key)]
    assert len(bench.layer) == 0


def test_cancel_of_what_cannot_be_cancelled_says_so() -> None:
    bench = Bench()
    options, _ = bench.send("OPTIONS")
    assert not bench.layer.cancel(options, 1)
    invite, sent = bench.send("INVITE")
    bench.layer.receive(1, answer(sent, 486), 1)
    assert not bench.layer.cancel(invite, 2)


def test_cancel_with_a_reason_that_would_break_the_message_is_the_callers_fault() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    with pytest.raises(InvalidValue):
        bench.layer.cancel(key, 1, reason="SIP\r\nEvil: yes")
    assert bench.layer.cancel(key, 1)
    bench.layer.receive(1, answer(sent, 180), 2)
    assert titles(bench.outbox) == ["CANCEL"]


def test_cancel_may_follow_its_invite_to_a_new_flow() -> None:
    bench = Bench()
    _, sent = bench.send("INVITE")
    bench.layer.flow_down(1, 1)
    key = bench.layer.send_request(build_cancel(sent), 3, 2, bench.owner)
    (cancel,) = drained(bench.outbox)
    assert cancel.headers.all("Via") == sent.headers.all("Via")
    assert isinstance(cancel, Request)
    ((_, event), _) = bench.layer.receive(3, answer(cancel, 200), 3)
    assert event.key == key


# --- abandon, misuse, caps


def test_abandoned_request_is_forgotten_without_a_word() -> None:
    bench = Bench()
    key, sent = bench.send("REGISTER")
    bench.layer.abandon(key)
    assert bench.layer.receive(1, answer(sent, 200), 1) == []
    assert bench.layer.counters.stray_responses == 1
    assert bench.layer.next_timer() is None
    assert bench.layer.flow_down(1, 2) == []


def test_abandoned_request_takes_its_postponed_events_along() -> None:
    bench = Bench()
    key = bench.layer.send_request(request("REGISTER", via=""), 9, 0, bench.owner)
    bench.layer.abandon(key)
    assert bench.layer.tick(1) == []
    assert bench.layer.next_timer() is None


def test_one_branch_cannot_be_used_for_two_requests() -> None:
    bench = Bench()
    _, sent = bench.send("OPTIONS")
    with pytest.raises(InternalError):
        bench.layer.send_request(sent, 1, 0, bench.owner)


def test_value_that_would_break_the_message_leaves_no_transaction_behind() -> None:
    bench = Bench()
    evil = request("MESSAGE", via="")
    evil.headers.add("Subject", "a\r\nEvil: yes")
    with pytest.raises(InvalidValue):
        bench.layer.send_request(evil, 1, 0, bench.owner)
    assert len(bench.layer) == 0


def test_requests_of_ours_are_capped() -> None:
    bench = Bench(limits=TransactionLimits(client=2))
    bench.send("OPTIONS")
    bench.send("OPTIONS")
    with pytest.raises(AtCapacity):
        bench.send("OPTIONS")


# --- flow_down


def test_lost_flow_fails_its_own_requests_in_their_order_and_no_others() -> None:
    bench = Bench()
    invite, _ = bench.send("INVITE")
    options, _ = bench.send("OPTIONS")
    other, sent = bench.send("OPTIONS", flow=3)
    events = bench.layer.flow_down(1, 1)
    assert [(type(event).__name__, event.key) for _, event in events] == [
        ("TransportFailed", invite),
        ("Terminated", invite),
        ("TransportFailed", options),
        ("Terminated", options),
    ]
    assert {id(owner) for owner, _ in events} == {id(bench.owner)}
    assert [event.key for _, event in bench.layer.receive(3, answer(sent, 200), 2)] == [other, other]
    assert bench.layer.next_timer() is None


def test_lost_flow_takes_what_was_queued_for_it() -> None:
    bench = Bench()
    bench.layer.send_request(request("OPTIONS", via=""), 1, 0, None)
    bench.layer.send_request(request("OPTIONS", via=""), 3, 0, None)
    bench.layer.flow_down(1, 0)
    assert drained_with_flow(bench.outbox) == [(3, "OPTIONS")]


def test_lost_flow_ends_an_answered_invite_without_failing_it() -> None:
    bench = Bench()
    key, sent = bench.send("INVITE")
    bench.layer.receive(1, answer(sent, 200), 1)
    assert bench.layer.flow_down(1, 2) == [(bench.owner, Terminated(key=key))]


def test_lost_flow_forgets_a_cancel_that_was_waiting() -> None:
    bench = Bench()
    key, _ = bench.send("INVITE")
    bench.layer.cancel(key, 1)
    assert [type(event) for _, event in bench.layer.flow_down(1, 2)] == [TransportFailed, Terminated]
    assert drained(bench.outbox) == []
    assert not bench.layer.cancel(key, 3)
