"""What seldom happens: broken answers, breakage in the middle, no room."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue
from phoned.sip.account import AccountParameters
from phoned.sip.events import (
    Answered,
    AnswerReceived,
    DescriptionExpired,
    DescriptionWanted,
    EndCause,
    Ended,
    Modified,
    ModifyCause,
    ModifyRefused,
    Party,
    Progress,
)
from phoned.sip.message import Request, Response, response_to, serialise
from phoned.sip.transaction_layer import TransactionLimits
from phoned.sip.user_agent import UserAgent
from tests.support.sip_calls import established, ringing
from tests.support.sip_network import Phone, SeededRandom, SipNetwork
from tests.support.sip_server import Server

PARAMETERS = AccountParameters(aor="sip:alice@example.com", user_agent="phoned")
SDP = [("Content-Type", "application/sdp")]
CONTACT = [("Contact", "<sip:far@far.example.com>")]


def reply(
    request: Request,
    status: int,
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    tag: str | None = "far",
) -> Response:
    response = response_to(request, status, to_tag=tag)
    for name, value in [*CONTACT, *(headers or []), *(SDP if body else [])]:
        response.headers.add(name, value)
    response.body = body
    return response


def calling(network: SipNetwork, *, offerless: bool = False) -> tuple[Phone, Server, Request]:
    """Alice has called; the server says nothing by itself."""
    alice = network.phone("alice", parameters=PARAMETERS)
    server = Server(network, alice, lambda request: None)
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    alice.call(offerless=offerless)
    network.run()
    return alice, server, server.requests("INVITE")[0]


def connected(network: SipNetwork) -> tuple[Phone, Server]:
    alice, server, invite = calling(network)
    server.say(reply(invite, 200, body=b"answer"))
    network.run()
    alice.one(Answered)
    return alice, server


def from_far(
    server: Server, method: str, number: int, headers: list[tuple[str, str]] | None = None, body: bytes = b""
) -> Request:
    """A request of the far end inside the dialog of the first INVITE."""
    invite = server.requests("INVITE")[0]
    request = Request(method, "sip:alice@x.invalid", body=body)
    for name, value in (
        ("Via", f"SIP/2.0/WS far.invalid;branch=z9hG4bKfar{method}{number}"),
        ("From", f"{invite.headers.get('To')};tag=far"),
        ("To", invite.headers.get("From") or ""),
        ("Call-ID", invite.headers.get("Call-ID") or ""),
        ("CSeq", f"{number} {method}"),
        *CONTACT,
        *(headers or []),
        *(SDP if body else []),
    ):
        request.headers.add(name, value)
    return request


# --- answers that are not what they should be


@pytest.mark.parametrize("offerless", [True, False])
def test_200_without_a_description_ends_the_call(offerless: bool) -> None:
    network = SipNetwork()
    alice, server, invite = calling(network, offerless=offerless)
    server.say(reply(invite, 200))
    network.run()
    assert alice.one(Ended).cause is EndCause.DESCRIPTION_FAILED
    assert len(server.requests("ACK")) == len(server.requests("BYE")) == 1
    assert server.requests("BYE")[0].headers.get("User-Agent") == "phoned"


def test_headers_of_a_200_that_cannot_be_read_do_no_harm() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    broken = [("Session-Expires", "soon"), ("Allow", '"'), ("Content-Type", ";")]
    server.say(reply(invite, 183, [("Require", '"'), ("RSeq", "1")]))
    server.say(reply(invite, 200, broken[:2], b"answer"))
    network.run()
    alice.one(Answered)
    assert alice.ua.counters.internal_errors == 0


def test_provisional_response_without_a_tag_is_progress_without_a_fork() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 181, tag=None))
    network.run()
    assert alice.one(Progress).fork is None


def test_early_offers_of_forks_that_lose_are_withdrawn() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network, offerless=True)
    alice.auto_supply = False
    reliable = [("Require", "100rel"), ("RSeq", "5")]
    server.say(reply(invite, 183, reliable, b"offer one", tag="one"))
    server.say(reply(invite, 183, reliable, b"offer two", tag="two"))
    network.run()
    assert len(alice.all(DescriptionWanted)) == 2
    server.say(reply(invite, 200, body=b"offer two again", tag="two"))
    network.run()
    assert len(alice.all(DescriptionExpired)) == 2
    last = alice.all(DescriptionWanted)[-1]
    assert last.remote == b"offer two again"
    alice.supply(last)
    network.run()
    alice.one(Answered)
    assert server.requests("ACK")[0].body != b""


def test_early_answer_that_becomes_reliable_counts_for_good() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 183, body=b"early"))
    server.say(reply(invite, 183, [("Require", "100rel"), ("RSeq", "1")], b"early"))
    server.say(reply(invite, 200, body=b"other"))
    network.run()
    assert alice.all(AnswerReceived)[-1].description == b"early"


def test_an_offer_in_an_unreliable_response_is_ignored() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network, offerless=True)
    server.say(reply(invite, 183, body=b"unreliable offer"))
    network.run()
    assert alice.all(DescriptionWanted) == []


def test_refusal_by_one_fork_after_another_answered_changes_nothing() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 200, body=b"answer"))
    server.say(reply(invite, 486))
    network.run()
    assert alice.all(Ended) == []


def test_a_flood_of_late_200s_is_bounded() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    for index in range(50):
        server.say(reply(invite, 200, body=b"answer", tag=f"t{index}"))
    network.run()
    assert len(server.requests("BYE")) < 40
    alice.one(Answered)


def test_bye_of_an_early_dialog_leaves_the_call_to_the_others() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 180))
    network.run()
    server.say(from_far(server, "BYE", 1))
    server.say(from_far(server, "INVITE", 2, body=b"x"))
    network.run()
    assert alice.all(Ended) == []
    assert len(alice.responses(200)) == len(alice.responses(481)) == 1


def test_reinvite_into_an_early_dialog_gets_491() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 180))
    network.run()
    server.say(from_far(server, "INVITE", 2, body=b"x"))
    server.say(from_far(server, "UPDATE", 3, body=b"x"))
    network.run()
    assert len(alice.responses(491)) == 2


def test_callers_bye_before_the_answer_is_a_cancel() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    invite = alice.requests("INVITE")[0]
    bye = Request("BYE", invite.uri, invite.headers.copy())
    bye.headers.set("To", bob.responses(180)[0].headers.get("To") or "")
    bye.headers.set("CSeq", "2 BYE")
    bye.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKbye")
    bye.headers.remove("Content-Type")
    bob.take(bob.ua.receive(bob.flows[0], serialise(bye), network.now))
    assert (bob.one(Ended).cause, bob.one(Ended).by) == (EndCause.CANCELED, Party.REMOTE)
    assert len(bob.responses(487)) == 1
    network.run()
    alice.one(Ended)
    network.drain()


# --- established


@pytest.mark.behaviour("R/d")
def test_reinvite_answered_without_a_description_is_a_refusal() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    server.answer = lambda request: reply(request, 200)
    alice.reinvite()
    network.run()
    assert alice.one(ModifyRefused).status == 200
    alice.one(DescriptionExpired)


def test_reliable_provisional_response_to_a_reinvite_is_acknowledged() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    server.answer = lambda request: (
        reply(request, 183, [("Require", "100rel"), ("RSeq", "9")])
        if request.method == "INVITE"
        else reply(request, 200)
    )
    alice.reinvite()
    network.run()
    assert (server.requests("PRACK")[0].headers.get("RAck") or "").startswith("9 ")
    server.say(reply(server.requests("INVITE")[-1], 200, body=b"answer"))
    network.run()
    alice.one(Modified)


def test_422_to_a_refresh_is_asked_again_with_more() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    asked: list[str] = []

    def answer(request: Request) -> Response | None:
        asked.append(request.headers.get("Session-Expires") or "")
        if len(asked) == 1:
            return reply(request, 422, [("Min-SE", "4000")])
        return reply(request, 200, body=b"answer")

    server.answer = answer
    alice.reinvite()
    network.run()
    assert asked == ["1800", "4000"]
    alice.one(Modified)


def test_endless_glare_becomes_a_refusal() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    server.answer = lambda request: reply(request, 491)
    alice.reinvite()
    network.run(60)
    assert alice.one(ModifyRefused).status == 491
    assert len(server.requests("INVITE")) == 12


def test_their_requests_that_do_not_fit_the_moment() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    alice.auto_supply = False
    server.say(from_far(server, "UPDATE", 1, body=b"offer"))
    network.run()
    server.say(from_far(server, "UPDATE", 2, body=b"offer"))
    server.say(from_far(server, "INVITE", 3, body=b"offer"))
    server.say(from_far(server, "UPDATE", 4, [("Session-Expires", "10"), ("Supported", "timer")]))
    network.run()
    assert len(alice.responses(500)) == 3
    alice.auto_supply = True
    alice.supply(alice.all(DescriptionWanted)[-1])
    server.say(from_far(server, "UPDATE", 5, [("Session-Expires", "10"), ("Supported", "timer")]))
    server.say(from_far(server, "INVITE", 6, [("Session-Expires", "10"), ("Supported", "timer")], b"offer"))
    server.say(from_far(server, "INVITE", 7, [("Min-SE", "soon")], b"offer"))
    network.run()
    assert len(alice.responses(422)) == 2
    assert len(alice.responses(400)) == 1
    server.answer = lambda request: None
    alice.reinvite(use_update=True)
    server.say(from_far(server, "UPDATE", 8, body=b"offer"))
    network.run()
    assert len(alice.responses(491)) == 1


def test_requests_that_come_after_our_bye_are_answered() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    alice.hangup()
    for number, (method, body) in enumerate((("UPDATE", b""), ("UPDATE", b"x"), ("INVITE", b"x"), ("BYE", b""))):
        server.say(from_far(server, method, number + 1, body=body))
    network.run(0.1)
    assert len(alice.responses(481)) == 3
    assert len(alice.responses(200)) == 1


def test_their_reinvite_is_forgotten_when_the_flow_breaks() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.auto_supply = False
    alice.reinvite()
    network.run(0.1)
    network.cut(bob)
    bob.one(DescriptionExpired)
    assert bob.all(Ended) == []
    network.cut(alice)
    bob.auto_supply = True
    network.connect(alice, bob)
    network.run(5)
    alice.one(Modified)
    alice.hangup()
    network.drain()


def test_an_empty_description_is_none() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    bob.auto_supply = False
    bob.answer()
    bob.take(bob.ua.supply(bob.one(DescriptionWanted).token, b"", network.now))
    network.run()
    assert alice.one(Ended).status == 500


def test_media_that_will_not_answer_their_reinvite() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    alice.reinvite()
    bob.auto_supply = False
    network.run(11)
    assert alice.one(ModifyRefused).status == 500
    assert bob.all(Ended) == []


# --- no room


def _crowded(network: SipNetwork) -> Phone:
    alice = network.phone("alice", parameters=PARAMETERS)
    alice.ua = UserAgent(random=SeededRandom(1), transaction_limits=TransactionLimits(client=1))
    alice.ua.add_account("alice", PARAMETERS)
    return alice


def test_a_call_for_which_there_is_no_room_fails() -> None:
    network = SipNetwork()
    alice = _crowded(network)
    server = Server(network, alice, lambda request: None)
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    alice.call()
    second = alice.call()
    network.run()
    assert (alice.one(Ended).session, alice.one(Ended).cause) == (second, EndCause.UNREACHABLE)
    third = alice.call(offerless=True)
    alice.hangup(third)
    assert alice.all(Ended)[-1].cause is EndCause.CANCELED
    network.run(40)
    assert server.requests("CANCEL") == []


def test_a_reinvite_for_which_there_is_no_room_is_tried_again() -> None:
    network = SipNetwork()
    alice = _crowded(network)
    server = Server(network, alice, lambda request: None)
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    alice.call()
    network.run()
    server.say(reply(server.requests("INVITE")[0], 200, body=b"answer"))
    network.run()
    alice.reinvite(ModifyCause.HOLD)  # the INVITE's transaction lives on for 64*T1
    assert len(server.requests("INVITE")) == 1
    server.answer = lambda request: reply(request, 200, body=b"answer")
    network.run(50)
    alice.one(Modified)


def test_a_bye_for_which_there_is_no_room_waits() -> None:
    network = SipNetwork()
    alice = _crowded(network)
    server = Server(network, alice, lambda request: None)
    alice.take(alice.ua.move_account("alice", server.flow, network.now))
    alice.call()
    network.run()
    server.say(reply(server.requests("INVITE")[0], 200, body=b"answer"))
    network.run()
    alice.take(alice.ua.hangup(alice.session, network.now, reason="SIP;cause=200"))
    network.run(40)
    assert server.requests("BYE")[0].headers.get("Reason") == "SIP;cause=200"


# --- mistakes of our user


def test_line_ends_in_words_for_the_wire_are_refused() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    now = network.now
    with pytest.raises(InvalidValue):
        alice.ua.hangup(alice.session, now, reason="a\r\nb")
    with pytest.raises(InvalidValue):
        bob.ua.reject(bob.session, now, reason="a\nb")
    bob.answer()
    network.run()
    with pytest.raises(InvalidValue):
        alice.ua.info(alice.session, "text/plain\r\nX: y", b"", now)
    alice.hangup()
    network.drain()


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"dialog": None}, {"methods": None}, {"session_interval_s": "x"}, {"dialog": {}}]
)
def test_damaged_snapshots_are_refused(change: dict[str, object]) -> None:
    network = SipNetwork()
    alice, _ = established(network)
    snapshot = dict(alice.ua.snapshot(alice.session))
    with pytest.raises(InvalidValue):
        alice.ua.restore("alice", {**snapshot, **change}, network.now)
    with pytest.raises(InvalidValue):
        alice.ua.restore("alice", snapshot, network.now)  # it is here already


def test_restored_session_without_a_flow_waits_for_one() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    snapshot = alice.ua.snapshot(alice.session)
    reborn = network.phone("alice")
    session = reborn.ua.restore("alice", snapshot, network.now)
    reborn.take(reborn.ua.reinvite(session, network.now, ModifyCause.RECOVERY))
    assert reborn.sent == []
    network.connect(reborn, bob)
    network.run()
    reborn.one(Modified)
    assert reborn.ua.left()
