"""Transfers: REFER and its NOTIFYs in both roles (RFC 3515, 3892, 4488)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phoned.errors import Gone, InvalidValue, NotRegistered, WrongState
from phoned.sip.accessors import cseq
from phoned.sip.account import AccountParameters
from phoned.sip.events import (
    Answered,
    EndCause,
    Ended,
    ReferAccepted,
    ReferProgress,
    Referred,
)
from phoned.sip.message import Message, Request, Response, response_to, serialise
from phoned.sip.transaction_layer import TransactionLimits
from phoned.sip.user_agent import UserAgent
from tests.scenario.sip.test_accounts import _online as online
from tests.support.sip_calls import established, ringing
from tests.support.sip_network import Phone, SeededRandom, SipNetwork
from tests.support.sip_server import Challenger, accept_all

NEWS = """NOTIFY sip:alice@example.com SIP/2.0
Via: SIP/2.0/WS far.invalid;branch=z9hG4bKnews
Max-Forwards: 70
From: <sip:bob@example.com>;tag={remote}
To: <sip:alice@example.com>;tag={local}
Call-ID: {call_id}
CSeq: 7 NOTIFY
Event: refer;id={number}
Subscription-State: terminated;reason=noresource
Content-Type: message/sipfrag
Content-Length: 14

SIP/2.0 200 OK"""
CAROL = "sip:carol@example.com"


def open_to_refer(name: str = "bob") -> AccountParameters:
    return AccountParameters(
        aor=f"sip:{name}@example.com", contact_user=name, allow_unregistered_incoming=True, allow_refer=True
    )


def a_call(network: SipNetwork) -> tuple[Phone, Phone]:
    """Alice called, Bob answered; Bob may be referred."""
    alice, bob = network.phone("alice"), network.phone("bob", parameters=open_to_refer())
    network.connect(alice, bob)
    alice.call()
    network.run()
    bob.answer()
    network.run()
    return alice, bob


def refer(alice: Phone, target: str = CAROL) -> str:
    token, events = alice.ua.refer(alice.one(Answered).session, alice.network.now, target=target)
    alice.take(events)
    return token


def tell(bob: Phone, status: int, reason: str = "") -> None:
    bob.take(bob.ua.notify_refer(bob.session, status, reason, bob.network.now))


def accept(bob: Phone) -> None:
    bob.take(bob.ua.accept_refer(bob.session, bob.network.now))


def outcome(alice: Phone) -> ReferProgress:
    (final,) = [event for event in alice.all(ReferProgress) if event.final]
    return final


def test_a_transfer_is_accepted_told_of_and_concluded_once() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    token = refer(alice, f"{CAROL};method=INVITE?Subject=x".partition("?")[0])
    network.run()
    asked = bob.one(Referred)
    assert (asked.target, asked.replaces, asked.referred_by) == (CAROL, None, "sip:alice@example.com")
    assert alice.all(ReferAccepted) == []
    accept(bob)
    network.run()
    assert alice.one(ReferAccepted).token == token
    tell(bob, 180, "Ringing")
    tell(bob, 200, "OK")
    network.run()
    assert [(event.status, event.final) for event in alice.all(ReferProgress)] == [
        (100, False),
        (180, False),
        (200, True),
    ]
    notify = bob.requests("NOTIFY")[-1]
    assert notify.headers.get("Subscription-State") == "terminated;reason=noresource"
    with pytest.raises(Gone):
        tell(bob, 200, "OK")
    alice.hangup()
    network.drain()
    assert bob.one(Ended).cause is EndCause.BYE


def test_a_transfer_is_refused_unless_the_account_allows_it() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    refer(alice)
    network.run()
    assert (outcome(alice).status, bob.all(Referred)) == (603, [])
    refer(alice)  # the next may be tried


@pytest.mark.parametrize("status", [480, 603])
def test_our_user_may_refuse_a_transfer(status: int) -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    bob.take(bob.ua.refuse_refer(bob.session, network.now, status=status))
    network.run()
    assert outcome(alice).status == status
    with pytest.raises(Gone):
        accept(bob)


def test_a_transfer_that_nobody_decides_on_is_refused_in_time() -> None:
    network = SipNetwork()
    alice, _ = a_call(network)
    refer(alice)
    network.run(11)
    assert outcome(alice).status == 603


def test_one_transfer_at_a_time_in_each_direction() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    with pytest.raises(WrongState):
        refer(alice)
    network.run()
    accept(bob)
    network.run()
    tell(bob, 404, "Not Found")
    network.drop = lambda sender, message: sender == "alice"  # bob's last word is not acknowledged yet
    network.run(0.1)
    assert (outcome(alice).status, outcome(alice).reason) == (404, "Not Found")
    network.drop = None
    refer(alice)
    network.run()
    assert [event.status for event in alice.all(ReferProgress) if event.final] == [404, 491]


@pytest.mark.parametrize(
    ("refer_to", "status"),
    [
        ("", 400),
        ("Refer-To: <sip:carol@example.com?Replaces=nonsense>\n", 400),
        ("Refer-To: <sip:carol@example.com?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=b>\n", 400),
        ("Refer-To: <sip:carol@example.com>\nRefer-To: <sip:dave@example.com>\n", 400),
        ("Refer-To: <sip:carol@example.com;method=BYE>\n", 416),
        ("Refer-To: <http://example.com/>\n", 416),
    ],
)
def test_a_refer_that_makes_no_sense_is_refused_and_loses_nothing(refer_to: str, status: int) -> None:
    network = SipNetwork()
    alice, bob = a_call(network)

    def rewrite(sender: str, message: Message) -> bool:
        if isinstance(message, Request) and message.method == "REFER":
            message.headers.remove("Refer-To")
            for line in refer_to.splitlines():
                name, _, value = line.partition(": ")
                message.headers.add(name, value)
        return False

    network.alter = rewrite
    refer(alice)
    network.run()
    assert (outcome(alice).status, bob.all(Referred)) == (status, [])
    assert alice.all(Ended) == []


def test_the_caller_who_is_not_up_yet_cannot_transfer_nor_be_transferred() -> None:
    network = SipNetwork()
    alice, _ = ringing(network)
    with pytest.raises(WrongState):
        alice.ua.refer(alice.session, network.now, target=CAROL)


@pytest.mark.parametrize("target", ["http://example.com/", "sip:", "sip:a@example.com?X-A=b"])
def test_what_cannot_be_called_is_said_at_once(target: str) -> None:
    network = SipNetwork()
    alice, _ = a_call(network)
    with pytest.raises(InvalidValue):
        refer(alice, target)
    refer(alice)


def test_a_callee_may_transfer_as_well() -> None:
    network = SipNetwork()
    alice, bob = network.phone("alice", parameters=open_to_refer("alice")), network.phone("bob")
    network.connect(alice, bob)
    alice.call()
    network.run()
    bob.answer()
    network.run()
    token, events = bob.ua.refer(bob.one(Answered).session, network.now, target=CAROL)
    bob.take(events)
    network.run()
    alice.take(alice.ua.accept_refer(alice.session, network.now))
    network.run()
    assert bob.one(ReferAccepted).token == token


def test_a_challenged_refer_is_said_again_and_its_news_are_known() -> None:
    network = SipNetwork()
    registrar = Challenger(accept_all, status=401)
    alice, server = online(network, lambda r: registrar(r) if r.method == "REGISTER" else accept_all(r))
    alice.call()
    network.run()
    server.answer = Challenger(lambda request: response_to(request, 202))
    refer(alice)
    network.run()
    first, second = server.requests("REFER")
    assert cseq(second).number == cseq(first).number + 1
    alice.one(ReferAccepted)
    news = alice.ua.snapshot(alice.session)["dialog"]
    text = NEWS.format(
        local=news["local_tag"], remote=news["remote_tag"], call_id=news["call_id"], number=cseq(second).number
    )
    alice.take(alice.ua.receive(alice.flows[-1], text.replace("\n", "\r\n").encode(), network.now))
    assert outcome(alice).status == 200


def altering(
    chosen: Callable[[str, Message], bool], change: Callable[[Message], object]
) -> Callable[[str, Message], bool]:
    """For `SipNetwork.alter`: ``change`` what is ``chosen``."""

    def alter(sender: str, message: Message) -> bool:
        if chosen(sender, message):
            change(message)
        return False

    return alter


def a_notify(sender: str, message: Message) -> bool:
    return isinstance(message, Request) and message.method == "NOTIFY"


def _notify(change: Callable[[Message], object]) -> tuple[Phone, int]:
    """The answer to a NOTIFY that was changed on its way."""
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    network.alter = altering(a_notify, change)
    accept(bob)
    network.run()
    answers = [message for message in alice.sent if isinstance(message, Response)]
    return alice, [answer.status for answer in answers if cseq(answer).method == "NOTIFY"][-1]


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Event", "refer;id=9999", 481),
        ("Event", "refer;id=x", 400),
        ("Event", "presence", 489),
        ("Event", None, 489),
        ("Event", "refer", 200),
    ],
)
def test_news_of_something_else_are_refused(name: str, value: str | None, status: int) -> None:
    def change(message: Message) -> None:
        message.headers.remove(name)
        if value is not None:
            message.headers.add(name, value)

    alice, said = _notify(change)
    assert said == status
    assert len(alice.all(ReferProgress)) == int(status == 200)


@pytest.mark.parametrize("body", [b"", b"hello", b"SIP/2.0 99 x\r\n", b"SIP/2.0 700 x\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_news_that_cannot_be_read_are_refused(body: bytes) -> None:
    alice, said = _notify(lambda message: setattr(message, "body", body))
    assert said == 400
    assert alice.all(ReferProgress) == []


def test_a_subscription_that_is_terminated_without_an_outcome_is_the_end_of_it() -> None:
    alice, _ = _notify(lambda message: message.headers.set("Subscription-State", "terminated;reason=giveup"))
    assert (outcome(alice).status, outcome(alice).reason) == (100, "Trying")


def test_a_far_end_that_will_not_tell_is_done_with_its_answer() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    network.alter = altering(
        lambda sender, message: isinstance(message, Response) and message.status == 202,
        lambda message: message.headers.add("Refer-Sub", "false"),
    )
    accept(bob)
    network.run()
    assert (alice.one(ReferAccepted).session, outcome(alice).status) == (alice.session, 202)
    assert bob.all(Ended) == [], "the NOTIFY that came all the same was refused, the call is up"


def test_a_server_that_says_trying_first_has_not_decided() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    trying = response_to(alice.requests("REFER")[-1], 100)
    alice.take(alice.ua.receive(alice.flows[-1], serialise(trying), network.now))
    network.run()
    assert (alice.all(ReferAccepted), alice.all(ReferProgress)) == ([], [])
    accept(bob)
    network.run()
    assert alice.one(ReferAccepted).session == alice.session


def test_a_far_end_that_has_no_such_call_ends_it() -> None:
    network = SipNetwork()
    alice, _ = a_call(network)
    network.alter = altering(
        lambda sender, message: isinstance(message, Response) and message.headers.get("CSeq") == "2 REFER",
        lambda message: setattr(message, "status", 481),
    )
    network.drop = lambda sender, message: isinstance(message, Response) and message.status == 202
    refer(alice)
    network.run(11)
    assert outcome(alice).status == 481
    assert alice.one(Ended).cause is EndCause.DIALOG_GONE


@pytest.mark.parametrize("refers", [True, False])
def test_words_about_a_transfer_that_outlive_the_call_change_nothing(refers: bool) -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    if not refers:
        refer(alice)
        network.run()
        accept(bob)
        network.run()
    network.partition(alice, bob)
    if refers:
        refer(alice)
    else:
        tell(bob, 180, "Ringing")
    (alice if refers else bob).hangup()
    network.run(70)
    (alice if refers else bob).one(Ended)
    assert [event.status for event in alice.all(ReferProgress)] == ([] if refers else [100])


@pytest.mark.parametrize("status", [99, 700])
def test_news_have_a_status_that_there_is(status: int) -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    accept(bob)
    with pytest.raises(InvalidValue):
        tell(bob, status)


def test_silence_is_an_outcome() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    network.partition(bob)
    refer(alice)
    network.run(40)
    assert outcome(alice).status == 0


def test_an_outcome_that_never_comes_is_not_waited_for_for_ever() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    accept(bob)
    network.run(300)
    assert outcome(alice).status == 0
    assert alice.all(Ended) == []


def test_a_refer_whose_flow_breaks_is_not_said_twice_and_its_news_come_over_the_next() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    network.drop = lambda sender, message: sender == "bob"
    refer(alice)
    network.run(0.2)
    accept(bob)
    network.cut(alice)
    network.drop = None
    network.cut(bob)
    network.connect(alice, bob)
    network.run()
    assert [event.status for event in alice.all(ReferProgress)] == [100]
    tell(bob, 200, "OK")
    network.run()
    assert outcome(alice).status == 200
    assert len(alice.requests("REFER")) == 1


def test_a_refer_that_went_down_with_its_flow_is_given_up() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    network.cut(alice, tell=False)
    refer(alice)
    network.cut(alice)
    network.connect(alice, bob)
    network.run(31)
    assert alice.all(ReferProgress) == []
    network.run(2)
    assert outcome(alice).status == 0


def test_a_refer_without_a_flow_is_refused_at_once() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    network.cut(alice)
    with pytest.raises(NotRegistered):
        refer(alice)
    network.connect(alice, bob)
    refer(alice)


def test_a_refer_without_room_is_given_up_at_once() -> None:
    network = SipNetwork()
    alice, bob = network.phone("alice"), network.phone("bob")
    alice.ua = UserAgent(random=SeededRandom(3), transaction_limits=TransactionLimits(client=1))
    alice.ua.add_account("alice", AccountParameters(aor="sip:alice@example.com"))
    network.connect(alice, bob)
    alice.call()
    network.run()
    bob.answer()
    network.run()
    refer(alice)  # its INVITE stays for a while
    network.run(0.1)
    assert outcome(alice).status == 0


def test_the_last_word_is_said_again_when_its_flow_broke() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    accept(bob)
    network.run()
    network.cut(bob, tell=False)
    tell(bob, 486, "Busy Here")
    network.cut(bob)
    network.connect(alice, bob)
    network.run()
    assert (outcome(alice).status, outcome(alice).reason) == (486, "Busy Here")


def test_a_word_that_nobody_acknowledges_is_forgotten() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    accept(bob)
    network.run()
    network.partition(alice)
    tell(bob, 180, "Ringing")
    network.run(33)
    tell(bob, 200, "OK")
    network.run(33)
    with pytest.raises(Gone):
        tell(bob, 200, "OK")
    assert bob.all(Ended) == []


def test_a_call_that_ends_in_between_ends_its_transfer() -> None:
    network = SipNetwork()
    alice, bob = a_call(network)
    refer(alice)
    network.run()
    bob.hangup()
    network.run()
    assert alice.one(Ended).cause is EndCause.BYE
    assert outcome(alice).status == 487
    network.drain()
