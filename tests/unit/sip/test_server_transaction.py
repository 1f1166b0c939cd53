from __future__ import annotations

import pytest

from phoned.sip.io import Outbox, TimerValues
from phoned.sip.message import Response, response_to
from phoned.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from phoned.sip.transaction import (
    AckReceived,
    State,
    Terminated,
    TimedOut,
    Timer,
    TransactionEvent,
    TransactionKey,
    TransportFailed,
    Wire,
)
from tests.support.sip_transactions import drained, request, run, title

KEY = TransactionKey(side="server", flow=1, branch="z9hG4bKfar1", sent_by="proxy.example", method="INVITE")
INVITE = request("INVITE", headers=(("Timestamp", "54"),))
ACK = request("ACK", to_tag="us")
OPTIONS = request("OPTIONS")


def invite(outbox: Outbox, *, reliable: bool) -> InviteServerTransaction:
    transaction = InviteServerTransaction(key=KEY, request=INVITE, wire=Wire(1, reliable, outbox), timers=TimerValues())
    assert transaction.start(0) == []
    return transaction


def options(outbox: Outbox, *, reliable: bool) -> NonInviteServerTransaction:
    transaction = NonInviteServerTransaction(
        key=KEY, request=OPTIONS, wire=Wire(1, reliable, outbox), timers=TimerValues()
    )
    assert transaction.start(0) == []
    return transaction


def ours(status: int) -> Response:
    return response_to(INVITE, status, to_tag="us")


def theirs(status: int) -> Response:
    return response_to(OPTIONS, status, to_tag="us")


def titles(outbox: Outbox) -> list[str]:
    return [title(message) for message in drained(outbox)]


# --- INVITE: Proceeding


def test_invite_is_answered_with_100_at_once() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    (trying,) = drained(outbox)
    assert title(trying) == "100 INVITE"
    assert trying.headers.get("Timestamp") == "54"
    assert trying.headers.get("To") == "<sip:us@example.org>"
    assert transaction.state is State.PROCEEDING
    assert transaction.to_tag is None


def test_forgotten_invite_is_given_up_ten_minutes_after_the_last_provisional_response() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    assert transaction.timers.next() == 600
    transaction.respond(ours(180), 500)
    outbox.drain()
    assert run(transaction, outbox, 1099) == ([], [])
    assert run(transaction, outbox, 1100) == (
        [],
        [(1100, TimedOut(key=KEY, timer=Timer.ANSWER)), (1100, Terminated(key=KEY))],
    )


def test_repeated_invite_gets_the_newest_provisional_response() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    assert transaction.receive(INVITE, 0.5) == []
    assert transaction.accepts(180)
    transaction.respond(ours(180), 0.6)
    assert transaction.receive(INVITE, 1.5) == []
    assert titles(outbox) == ["100 INVITE", "100 INVITE", "180 INVITE", "180 INVITE"]
    assert transaction.to_tag == "us"


def test_ack_without_a_final_response_is_ignored() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    assert transaction.receive(ACK, 1) == []
    assert transaction.state is State.PROCEEDING


# --- INVITE: Completed, Confirmed


def test_timer_g_repeats_a_refusal_up_to_t2_and_timer_h_gives_up() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    assert transaction.respond(ours(486), 0) == []
    assert transaction.state is State.COMPLETED
    assert titles(outbox) == ["100 INVITE", "486 INVITE"]
    sent_at, events = run(transaction, outbox, 1000)
    assert sent_at == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events == [(32, TimedOut(key=KEY, timer=Timer.H)), (32, Terminated(key=KEY))]


def test_timer_h_runs_on_a_reliable_flow_and_timer_g_does_not() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=True)
    transaction.respond(ours(486), 10)
    outbox.drain()
    sent_at, events = run(transaction, outbox, 1000)
    assert sent_at == []
    assert events == [(42, TimedOut(key=KEY, timer=Timer.H)), (42, Terminated(key=KEY))]


def test_repeated_invite_gets_the_refusal_again() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.respond(ours(486), 0)
    assert transaction.receive(INVITE, 0.4) == []
    assert titles(outbox) == ["100 INVITE", "486 INVITE", "486 INVITE"]


def test_timer_i_absorbs_repeated_acks() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.respond(ours(486), 0)
    assert transaction.receive(ACK, 1) == []
    assert transaction.receive(ACK, 2) == []
    outbox.drain()
    assert transaction.receive(INVITE, 3) == []
    assert transaction.state is State.CONFIRMED
    assert run(transaction, outbox, 1000) == ([], [(6, Terminated(key=KEY))])


def test_ack_ends_a_refused_invite_at_once_on_a_reliable_flow() -> None:
    transaction = invite(Outbox(), reliable=True)
    transaction.respond(ours(486), 0)
    assert transaction.receive(ACK, 1) == [Terminated(key=KEY)]
    assert transaction.timers.next() is None


@pytest.mark.parametrize("status", [180, 200, 486])
def test_refused_invite_takes_no_other_response(status: int) -> None:
    transaction = invite(Outbox(), reliable=True)
    transaction.respond(ours(600), 0)
    assert not transaction.accepts(status)


# --- INVITE: Accepted (RFC 6026)


@pytest.mark.parametrize("reliable", [True, False])
def test_2xx_may_be_repeated_until_timer_l(reliable: bool) -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=reliable)
    transaction.respond(ours(200), 1)
    assert transaction.state is State.ACCEPTED
    assert transaction.accepts(200)
    assert transaction.respond(ours(200), 2) == []
    assert titles(outbox) == ["100 INVITE", "200 INVITE", "200 INVITE"]
    assert run(transaction, outbox, 1000) == ([], [(33, Terminated(key=KEY))])


def test_repeated_invite_is_absorbed_after_a_2xx() -> None:
    outbox = Outbox()
    transaction = invite(outbox, reliable=False)
    transaction.respond(ours(200), 0)
    outbox.drain()
    assert transaction.receive(INVITE, 0.5) == []
    assert drained(outbox) == []


def test_ack_with_the_branch_of_the_invite_comes_up_after_a_2xx() -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.respond(ours(200), 0)
    for at in (1, 2):
        assert transaction.receive(ACK, at) == [AckReceived(key=KEY, flow=1, request=ACK)]
    assert transaction.state is State.ACCEPTED


@pytest.mark.parametrize("status", [180, 486])
def test_accepted_invite_takes_nothing_but_2xx(status: int) -> None:
    transaction = invite(Outbox(), reliable=True)
    transaction.respond(ours(200), 0)
    assert not transaction.accepts(status)


@pytest.mark.parametrize(("status", "state"), [(199, State.PROCEEDING), (299, State.ACCEPTED), (300, State.COMPLETED)])
def test_class_of_our_response_decides(status: int, state: State) -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.respond(ours(status), 0)
    assert transaction.state is state
    assert transaction.accepts(299) is (state is not State.COMPLETED)
    assert transaction.accepts(300) is (state is State.PROCEEDING)


# --- INVITE: the flow


@pytest.mark.parametrize("status", [180, 486])
def test_response_that_cannot_be_sent_ends_the_invite(status: int) -> None:
    transaction = invite(Outbox(limit=1), reliable=False)
    events = transaction.respond(ours(status), 0)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=INVITE)] if status == 180 else []
    assert events == [*failed, Terminated(key=KEY)]


def test_2xx_that_cannot_be_sent_is_left_to_its_repetition() -> None:
    outbox = Outbox(limit=1)
    transaction = invite(outbox, reliable=True)
    assert transaction.respond(ours(200), 0) == []
    assert titles(outbox) == ["100 INVITE"]
    assert transaction.respond(ours(200), 0.5) == []
    assert titles(outbox) == ["200 INVITE"]


@pytest.mark.parametrize(("status", "fails"), [(180, True), (200, False), (486, False)])
def test_lost_flow_ends_an_invite(status: int, fails: bool) -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.respond(ours(status), 0)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=INVITE)] if fails else []
    assert transaction.fail() == [*failed, Terminated(key=KEY)]


def test_lost_flow_ends_a_confirmed_invite() -> None:
    transaction = invite(Outbox(), reliable=False)
    transaction.respond(ours(486), 0)
    transaction.receive(ACK, 1)
    assert transaction.fail() == [Terminated(key=KEY)]


# --- others


def test_repeated_request_is_absorbed_in_trying() -> None:
    outbox = Outbox()
    transaction = options(outbox, reliable=False)
    assert transaction.receive(OPTIONS, 0.5) == []
    assert transaction.to_tag is None
    assert drained(outbox) == []


def test_repeated_request_gets_the_newest_response() -> None:
    outbox = Outbox()
    transaction = options(outbox, reliable=False)
    transaction.respond(theirs(100), 0.1)
    transaction.respond(theirs(100), 0.2)
    transaction.receive(OPTIONS, 0.5)
    assert transaction.state is State.PROCEEDING
    assert transaction.accepts(200)
    assert transaction.respond(theirs(200), 1) == []
    transaction.receive(OPTIONS, 1.5)
    assert titles(outbox) == ["100 OPTIONS"] * 3 + ["200 OPTIONS"] * 2
    assert transaction.to_tag == "us"


def test_timer_j_absorbs_repeated_requests_on_an_unreliable_flow() -> None:
    outbox = Outbox()
    transaction = options(outbox, reliable=False)
    transaction.respond(theirs(200), 1)
    outbox.drain()
    assert transaction.state is State.COMPLETED
    assert not transaction.accepts(200)
    assert run(transaction, outbox, 1000) == ([], [(33, Terminated(key=KEY))])


def test_final_response_ends_at_once_on_a_reliable_flow() -> None:
    outbox = Outbox()
    transaction = options(outbox, reliable=True)
    assert transaction.respond(theirs(200), 1) == [Terminated(key=KEY)]
    assert titles(outbox) == ["200 OPTIONS"]


@pytest.mark.parametrize("provisional", [True, False])
def test_user_that_never_answers_is_given_up(provisional: bool) -> None:
    outbox = Outbox()
    transaction = options(outbox, reliable=True)
    if provisional:
        transaction.respond(theirs(100), 5)
        outbox.drain()
    assert run(transaction, outbox, 1000) == (
        [],
        [(32, TimedOut(key=KEY, timer=Timer.ANSWER)), (32, Terminated(key=KEY))],
    )


@pytest.mark.parametrize(("status", "fails"), [(100, True), (200, False)])
def test_response_that_cannot_be_sent_ends_the_transaction(status: int, fails: bool) -> None:
    transaction = options(Outbox(limit=0), reliable=False)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=OPTIONS)] if fails else []
    assert transaction.respond(theirs(status), 0) == [*failed, Terminated(key=KEY)]


@pytest.mark.parametrize(("status", "fails"), [(None, True), (100, True), (200, False)])
def test_lost_flow_ends_a_transaction(status: int | None, fails: bool) -> None:
    transaction = options(Outbox(), reliable=False)
    if status is not None:
        transaction.respond(theirs(status), 0)
    failed: list[TransactionEvent] = [TransportFailed(key=KEY, request=OPTIONS)] if fails else []
    assert transaction.fail() == [*failed, Terminated(key=KEY)]


def test_step_that_the_table_forbids_is_a_bug() -> None:
    refused = invite(Outbox(), reliable=False)
    refused.respond(ours(486), 0)
    with pytest.raises(AssertionError, match="Completed -> Completed"):
        refused.respond(ours(486), 1)
    answered = options(Outbox(), reliable=False)
    answered.respond(theirs(200), 0)
    with pytest.raises(AssertionError, match="Completed -> Completed"):
        answered.respond(theirs(200), 1)
