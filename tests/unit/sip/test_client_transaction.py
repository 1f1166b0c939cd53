from __future__ import annotations

import pytest

from phoned.sip.client_transaction import (
    InviteClientTransaction,
    NonInviteClientTransaction,
    build_ack,
    build_cancel,
)
from phoned.sip.io import Outbox, TimerValues
from phoned.sip.message import Request
from phoned.sip.transaction import (
    ResponseReceived,
    State,
    Terminated,
    TimedOut,
    Timer,
    TransactionEvent,
    TransactionKey,
    TransportFailed,
    Wire,
)
from tests.support.sip_transactions import answer, drained, request, run, title

KEY = TransactionKey(side="client", flow=1, branch="z9hG4bKfar1", sent_by="", method="INVITE")
INVITE = request("INVITE", headers=(("Route", "<sip:a;lr>, <sip:b;lr>"), ("Route", "<sip:c;lr>")))
BYE = request("BYE", to_tag="x")


def invite(outbox: Outbox, *, reliable: bool, timeout_s: float | None = None) -> InviteClientTransaction:
    wire = Wire(1, reliable, outbox)
    return InviteClientTransaction(key=KEY, request=INVITE, wire=wire, timers=TimerValues(), timeout_s=timeout_s)


def bye(outbox: Outbox, *, reliable: bool, timeout_s: float | None = None) -> NonInviteClientTransaction:
    wire = Wire(1, reliable, outbox)
    return NonInviteClientTransaction(key=KEY, request=BYE, wire=wire, timers=TimerValues(), timeout_s=timeout_s)


def up(sent: Request, status: int, to_tag: str | None = "far") -> ResponseReceived:
    return ResponseReceived(key=KEY, request=sent, response=answer(sent, status, to_tag=to_tag))


def names(events: list[tuple[float, TransactionEvent]]) -> list[tuple[float, str]]:
    return [(at, type(event).__name__) for at, event in events]


# --- INVITE: Calling


def test_timer_a_repeats_the_invite_at_doubling_intervals_until_timer_b() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    assert transaction.start(0) == []
    assert [title(message) for message in drained(outbox)] == ["INVITE"]
    sent_at, events = run(transaction, outbox, 100)
    assert sent_at == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert names(events) == [(32.0, "TimedOut"), (32.0, "Terminated")]
    assert events[0][1] == TimedOut(key=KEY, timer=Timer.B)
    assert transaction.state is State.TERMINATED


def test_reliable_flow_knows_timer_b_but_not_timer_a() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.start(10)
    outbox.drain()
    sent_at, events = run(transaction, outbox, 100)
    assert sent_at == []
    assert names(events) == [(42.0, "TimedOut"), (42.0, "Terminated")]


def test_invite_deadline_can_be_shortened() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True, timeout_s=5)
    transaction.start(0)
    assert names(run(transaction, outbox, 100)[1]) == [(5.0, "TimedOut"), (5.0, "Terminated")]


# --- INVITE: Proceeding


def test_provisional_response_stops_retransmission_and_deadline() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.start(0)
    outbox.drain()
    assert transaction.receive(answer(INVITE, 100), 0.2) == [up(INVITE, 100)]
    assert transaction.receive(answer(INVITE, 180), 0.3) == [up(INVITE, 180)]
    assert transaction.state is State.PROCEEDING
    assert run(transaction, outbox, 600.2) == ([], [])


def test_far_end_that_falls_silent_after_ringing_is_given_up_after_ten_minutes() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.start(0)
    transaction.receive(answer(INVITE, 180), 1)
    transaction.receive(answer(INVITE, 180), 61)
    _, events = run(transaction, outbox, 1000)
    assert events == [(661, TimedOut(key=KEY, timer=Timer.ANSWER)), (661, Terminated(key=KEY))]


def test_cancelled_invite_without_final_answer_is_given_up_after_64_t1() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.start(0)
    assert not transaction.cancellable
    transaction.receive(answer(INVITE, 180), 1)
    assert transaction.cancellable
    transaction.cancelled(100)
    _, events = run(transaction, outbox, 1000)
    assert events == [(132, TimedOut(key=KEY, timer=Timer.CANCEL)), (132, Terminated(key=KEY))]


# --- INVITE: Accepted (RFC 6026)


@pytest.mark.parametrize("reliable", [True, False])
def test_each_2xx_comes_up_until_timer_m(reliable: bool) -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=reliable)
    transaction.start(0)
    outbox.drain()
    for at, tag in ((1, "far"), (1.5, "far"), (2, "fork")):
        assert transaction.receive(answer(INVITE, 200, to_tag=tag), at) == [up(INVITE, 200, tag)]
    assert transaction.state is State.ACCEPTED
    assert run(transaction, outbox, 1000) == ([], [(33.0, Terminated(key=KEY))])


def test_what_is_no_2xx_is_absorbed_after_a_2xx() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.start(0)
    transaction.receive(answer(INVITE, 200), 1)
    outbox.drain()
    assert transaction.receive(answer(INVITE, 180), 1) == []
    assert transaction.receive(answer(INVITE, 486), 1) == []
    assert drained(outbox) == []


# --- INVITE: Completed


@pytest.mark.parametrize(("status", "kind"), [(199, State.PROCEEDING), (299, State.ACCEPTED), (300, State.COMPLETED)])
def test_class_of_the_response_decides(status: int, kind: State) -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.start(0)
    for at in (1, 2):
        transaction.receive(answer(INVITE, status), at)
    assert transaction.state is kind


def test_refusal_with_300_is_acknowledged_each_time_and_299_comes_up_each_time() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.start(0)
    transaction.receive(answer(INVITE, 300), 1)
    outbox.drain()
    transaction.receive(answer(INVITE, 300), 1)
    assert [title(message) for message in drained(outbox)] == ["ACK"]
    transaction = invite(outbox, reliable=False)
    transaction.start(0)
    transaction.receive(answer(INVITE, 200), 1)
    assert transaction.receive(answer(INVITE, 299), 1) == [up(INVITE, 299)]
    assert transaction.receive(answer(INVITE, 300), 1) == []


def test_refusal_is_acknowledged_and_ends_at_once_on_a_reliable_flow() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.start(0)
    transaction.receive(answer(INVITE, 180), 1)
    outbox.drain()
    assert transaction.receive(answer(INVITE, 486), 2) == [up(INVITE, 486), Terminated(key=KEY)]
    assert [title(message) for message in drained(outbox)] == ["ACK"]
    assert transaction.timers.next() is None


def test_repeated_refusal_is_acknowledged_again_until_timer_d() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.start(0)
    outbox.drain()
    assert transaction.receive(answer(INVITE, 503), 2) == [up(INVITE, 503)]
    assert transaction.receive(answer(INVITE, 503), 2.5) == []
    assert transaction.receive(answer(INVITE, 180), 2.6) == []
    assert transaction.receive(answer(INVITE, 200), 2.7) == []
    acks = drained(outbox)
    assert [title(message) for message in acks] == ["ACK", "ACK"]
    assert acks[0] == acks[1]
    assert transaction.state is State.COMPLETED
    assert run(transaction, outbox, 1000) == ([], [(34.0, Terminated(key=KEY))])


def test_ack_of_a_refusal_has_the_branch_route_and_number_of_the_invite() -> None:
    ack = build_ack(INVITE, answer(INVITE, 486, to_tag="refused"))
    assert (ack.method, ack.uri, ack.body) == ("ACK", INVITE.uri, b"")
    assert ack.headers.all("Via") == ["SIP/2.0/WSS proxy.example;branch=z9hG4bKfar1"]
    assert ack.headers.values("Route") == ["<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>"]
    assert ack.headers.get("From") == INVITE.headers.get("From")
    assert ack.headers.get("To") == "<sip:us@example.org>;tag=refused"
    assert ack.headers.get("Call-ID") == "call-1"
    assert ack.headers.get("CSeq") == "1 ACK"
    assert "Contact" not in ack.headers


def test_cancel_is_the_invite_without_its_body_and_contact() -> None:
    cancel = build_cancel(INVITE, "SIP;cause=200")
    assert cancel.headers.all("Via") == INVITE.headers.all("Via")
    assert cancel.headers.all("Route") == INVITE.headers.all("Route")
    assert cancel.headers.get("To") == INVITE.headers.get("To")
    assert cancel.headers.get("CSeq") == "1 CANCEL"
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    assert "Contact" not in cancel.headers
    assert "Reason" not in build_cancel(INVITE).headers


def test_follow_ups_copy_the_topmost_via_alone() -> None:
    routed = request("INVITE", via="SIP/2.0/WSS a;branch=z9hG4bKa, SIP/2.0/WSS b;branch=z9hG4bKb")
    assert build_cancel(routed).headers.all("Via") == ["SIP/2.0/WSS a;branch=z9hG4bKa"]


# --- INVITE: the flow


def test_invite_that_cannot_be_sent_fails_at_once() -> None:
    transaction = invite(Outbox(limit=0), reliable=True)
    assert transaction.start(0) == [TransportFailed(key=KEY, request=INVITE), Terminated(key=KEY)]


def test_ack_that_cannot_be_sent_does_not_hide_the_refusal() -> None:
    outbox = Outbox(limit=1)
    transaction = invite(outbox, reliable=False)
    transaction.start(0)
    assert transaction.receive(answer(INVITE, 486), 1) == [up(INVITE, 486), Terminated(key=KEY)]


@pytest.mark.parametrize(("status", "fails"), [(None, True), (180, True), (200, False), (486, False)])
def test_lost_flow_fails_an_invite_that_has_no_final_answer(status: int | None, fails: bool) -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.start(0)
    if status is not None:
        transaction.receive(answer(INVITE, status), 1)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=INVITE)] if fails else []
    assert transaction.fail() == [*failed, Terminated(key=KEY)]
    assert transaction.timers.next() is None


def test_step_that_the_table_forbids_is_a_bug() -> None:
    transaction = invite(Outbox(), reliable=True)
    transaction.start(0)
    transaction.fail()
    with pytest.raises(AssertionError, match="Terminated -> Terminated"):
        transaction.fail()


# --- others


def test_timer_e_doubles_to_t2_until_timer_f() -> None:
    outbox = Outbox()
    transaction = bye(outbox, reliable=False)
    assert transaction.start(0) == []
    outbox.drain()
    sent_at, events = run(transaction, outbox, 100)
    assert sent_at == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events == [(32.0, TimedOut(key=KEY, timer=Timer.F)), (32.0, Terminated(key=KEY))]


def test_timer_e_runs_at_t2_in_proceeding_and_timer_f_goes_on() -> None:
    outbox = Outbox()
    transaction = bye(outbox, reliable=False)
    transaction.start(0)
    outbox.drain()
    assert transaction.receive(answer(BYE, 100), 0.1) == [up(BYE, 100)]
    assert transaction.receive(answer(BYE, 100), 0.2) == [up(BYE, 100)]
    assert transaction.state is State.PROCEEDING
    sent_at, events = run(transaction, outbox, 100)
    assert sent_at == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert names(events) == [(32.0, "TimedOut"), (32.0, "Terminated")]


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_reliable_flow_knows_timer_f_but_not_timer_e(timeout_s: float | None) -> None:
    outbox = Outbox()
    transaction = bye(outbox, reliable=True, timeout_s=timeout_s)
    transaction.start(0)
    outbox.drain()
    at = timeout_s or 32.0
    assert run(transaction, outbox, 100)[0] == []
    assert transaction.state is State.TERMINATED
    transaction = bye(outbox, reliable=True, timeout_s=timeout_s)
    transaction.start(0)
    assert names(run(transaction, outbox, 100)[1]) == [(at, "TimedOut"), (at, "Terminated")]


def test_final_response_ends_at_once_on_a_reliable_flow() -> None:
    transaction = bye(Outbox(), reliable=True)
    transaction.start(0)
    assert transaction.receive(answer(BYE, 200), 1) == [up(BYE, 200), Terminated(key=KEY)]


def test_timer_k_absorbs_repeated_responses() -> None:
    outbox = Outbox()
    transaction = bye(outbox, reliable=False)
    transaction.start(0)
    outbox.drain()
    assert transaction.receive(answer(BYE, 481), 1) == [up(BYE, 481)]
    assert transaction.receive(answer(BYE, 481), 2) == []
    assert transaction.state is State.COMPLETED
    assert run(transaction, outbox, 100) == ([], [(6.0, Terminated(key=KEY))])


def test_request_that_cannot_be_sent_fails_at_once() -> None:
    transaction = bye(Outbox(limit=0), reliable=True)
    assert transaction.start(0) == [TransportFailed(key=KEY, request=BYE), Terminated(key=KEY)]


@pytest.mark.parametrize(("status", "fails"), [(None, True), (100, True), (200, False)])
def test_lost_flow_fails_a_request_that_has_no_final_answer(status: int | None, fails: bool) -> None:
    transaction = bye(Outbox(), reliable=False)
    transaction.start(0)
    if status is not None:
        transaction.receive(answer(BYE, status), 1)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=BYE)] if fails else []
    assert transaction.fail() == [*failed, Terminated(key=KEY)]


def test_end_of_what_has_ended_is_a_bug() -> None:
    transaction = bye(Outbox(), reliable=True)
    transaction.start(0)
    transaction.fail()
    with pytest.raises(AssertionError, match="Terminated -> Terminated"):
        transaction.fail()
