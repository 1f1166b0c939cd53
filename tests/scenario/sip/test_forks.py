"""One INVITE, several phones (RFC 3261 13.2.2.4): early dialogs, the first 2xx, late ones."""

from __future__ import annotations

from phoned.sip.account import AccountParameters
from phoned.sip.events import Answered, AnswerReceived, EndCause, Ended, Progress
from phoned.sip.message import Response, parse, response_to, serialise
from tests.support.sip_network import ForkingProxy, Phone, SipNetwork


def _forked(network: SipNetwork, count: int = 3) -> tuple[Phone, list[Phone]]:
    alice = network.phone("alice")
    callees = [
        network.phone(
            f"bob{index}",
            parameters=AccountParameters(
                aor="sip:bob@example.com", contact_user="bob", allow_unregistered_incoming=True
            ),
        )
        for index in range(count)
    ]
    ForkingProxy(network, alice, callees)
    return alice, callees


def test_first_to_answer_wins_and_the_others_are_cancelled() -> None:
    network = SipNetwork()
    alice, callees = _forked(network)
    alice.call()
    network.run()
    for callee in callees:
        callee.ring()
    network.run()
    assert len({event.fork for event in alice.all(Progress)}) == 3
    callees[1].answer()
    network.run()
    assert alice.one(Answered).remote_tag == callees[1].one(Answered).local_tag
    for loser in (callees[0], callees[2]):
        assert loser.one(Ended).cause is EndCause.CANCELED
    alice.hangup()
    network.run()
    callees[1].one(Ended)
    network.drain()


def test_early_media_of_each_fork_is_told_apart() -> None:
    network = SipNetwork()
    alice, callees = _forked(network, 2)
    alice.call()
    network.run()
    for callee in callees:
        callee.ring(status=183, early_media=True)
    network.run()
    early = alice.all(AnswerReceived)
    assert all(event.early for event in early)
    assert {event.description for event in early} == {b"answer 1 of bob0", b"answer 1 of bob1"}
    assert len({event.fork for event in early}) == 2
    callees[0].answer()
    network.run()
    final = alice.all(AnswerReceived)[-1]
    assert (final.early, final.description) == (False, b"answer 1 of bob0")
    assert final.fork == alice.one(Answered).remote_tag
    alice.hangup()
    network.drain()


def test_two_forks_that_answer_at_once_leave_one_call() -> None:
    network = SipNetwork()
    alice, callees = _forked(network, 2)
    alice.call()
    network.run()
    for callee in callees:
        callee.answer()
    network.run()
    winner = alice.one(Answered).remote_tag
    assert len(alice.requests("ACK")) == 2
    assert len(alice.requests("BYE")) == 1
    loser = next(callee for callee in callees if callee.one(Answered).local_tag != winner)
    assert loser.one(Ended).cause is EndCause.BYE
    alice.hangup()
    network.run()
    for callee in callees:
        callee.one(Ended)
    network.drain()


def test_late_200_after_the_call_ended_gets_ack_and_bye() -> None:
    network = SipNetwork()
    alice, (bob, late) = _forked(network, 2)
    alice.call()
    network.run()
    network.drop = lambda sender, message: (
        sender == late.name and isinstance(message, Response) and message.status == 200
    )
    bob.answer()
    late.answer()
    network.run(0.5)
    alice.hangup()
    alice.one(Ended)
    network.drop = None
    network.run(5)
    assert late.one(Ended).cause is EndCause.BYE
    network.drain()


def test_all_refuse_and_the_best_refusal_is_reported() -> None:
    network = SipNetwork()
    alice, callees = _forked(network)
    alice.call()
    network.run()
    for callee, status in zip(callees, (603, 486, 500), strict=True):
        callee.reject(status)
    network.run()
    assert alice.one(Ended).status == 486
    network.drain()


def test_cancel_reaches_every_fork() -> None:
    network = SipNetwork()
    alice, callees = _forked(network)
    alice.call()
    network.run()
    alice.hangup()
    network.run()
    for callee in callees:
        callee.one(Ended)
    assert alice.one(Ended).cause is EndCause.CANCELED
    network.drain()


def test_more_early_dialogs_than_anybody_needs_are_not_kept() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    alice.call()
    network.run(0)
    invite = alice.requests("INVITE")[0]
    for index in range(40):
        response = response_to(parse(serialise(invite)), 180, to_tag=f"fork{index}")  # type: ignore[arg-type]  # a request
        alice.take(alice.ua.receive(alice.flows[0], serialise(response), network.now))
    forks = {event.fork for event in alice.all(Progress)}
    assert len(forks - {None}) == 16
    assert len(alice.all(Progress)) == 40
    alice.hangup()
    network.drain()
