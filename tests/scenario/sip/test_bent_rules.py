"""Peers that bend the rules, and proxies that follow them: routes, GRUUs, early dialogs, odd branches."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue
from phoned.sip.account import AccountParameters
from phoned.sip.events import (
    Answered,
    Confirmed,
    Ended,
    IncomingCall,
    RequestAnswered,
)
from phoned.sip.message import Request, Response, response_to, serialise
from tests.scenario.sip.test_corners import calling, connected, reply
from tests.support.sip_calls import ringing
from tests.support.sip_network import SipNetwork
from tests.support.sip_server import Server


def test_ack_with_the_branch_of_its_invite_counts() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    branch = alice.requests("INVITE")[0].headers.get("Via") or ""

    def same_branch(sender: str, message: object) -> bool:
        if isinstance(message, Request) and message.method == "ACK":
            message.headers.set("Via", branch)
        return False

    network.alter = same_branch
    bob.answer()
    network.run(40)
    bob.one(Confirmed)
    assert bob.all(Ended) == []
    assert len(bob.responses(200)) == 1


def test_refusal_and_timeout_after_the_call_was_answered_by_a_fork_change_nothing() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 200, body=b"answer"))
    network.run()
    network.cut(alice, server.flow)
    assert alice.all(Ended) == []


def test_update_with_an_offer_while_an_offerless_call_rings_gets_491() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(offerless=True)
    network.run()
    bob.ring()
    network.run()
    invite = alice.requests("INVITE")[0]
    update = Request("UPDATE", invite.uri, invite.headers.copy(), b"offer")
    update.headers.set("To", bob.responses(180)[0].headers.get("To") or "")
    update.headers.set("CSeq", "7 UPDATE")
    update.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKupdate")
    update.headers.set("Content-Type", "application/sdp")
    bob.take(bob.ua.receive(bob.flows[0], serialise(update), network.now))
    assert len(bob.responses(491)) == 1


def test_calling_in_another_name() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.take(alice.ua.invite("alice", "sip:bob@example.com", network.now, caller="sip:carol@example.com")[1])
    network.run()
    assert bob.one(IncomingCall).from_uri == "sip:carol@example.com"
    with pytest.raises(InvalidValue):
        alice.ua.invite("alice", "sip:bob@example.com", network.now, caller="sip:x>;tag=1")


def test_gruus_are_our_addresses() -> None:
    network = SipNetwork()
    alice = network.phone("alice", parameters=AccountParameters(aor="sip:alice@example.com", contact_user="c1"))

    def registrar(request: Request) -> Response:
        response = response_to(request, 200)
        contact = request.headers.get("Contact") or ""
        response.headers.add(
            "Contact", f'{contact};pub-gruu="sip:pub@example.com;gr=1";temp-gruu="sip:temp@example.com;gr"'
        )
        return response

    server = Server(network, alice, registrar)
    alice.take(alice.ua.register("alice", server.flow, network.now))
    network.run()
    for user, owned in (("pub", True), ("temp", True), ("c1", True), ("alice", True), ("eve", False)):
        request = Request("OPTIONS", f"sip:{user}@example.com")
        for name, value in (
            ("Via", f"SIP/2.0/WS p.invalid;branch=z9hG4bK{user}"),
            ("From", "<sip:carol@example.com>;tag=c"),
            ("To", "<sip:alice@example.com>"),
            ("Call-ID", user),
            ("CSeq", "1 OPTIONS"),
        ):
            request.headers.add(name, value)
        server.say(request)
        network.run()
        assert alice.sent[-1].status == (200 if owned else 404)  # type: ignore[union-attr]  # a response


def test_a_call_that_came_through_record_routing_proxies_goes_back_through_them() -> None:
    network = SipNetwork()
    _, bob = network.pair()
    routes = "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"
    invite = Request("INVITE", "sip:bob@example.com")
    for name, value in (
        ("Via", "SIP/2.0/WS p.invalid;branch=z9hG4bKrr"),
        ("Record-Route", routes),
        ("From", "<sip:carol@example.com>;tag=c"),
        ("To", "<sip:bob@example.com>"),
        ("Call-ID", "rr"),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:carol@c.invalid>"),
    ):
        invite.headers.add(name, value)
    bob.take(bob.ua.receive(bob.flows[0], serialise(invite), network.now))
    bob.ring()
    bob.answer()
    assert [response.headers.values("Record-Route") for response in bob.sent if isinstance(response, Response)][1:] == [
        ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
    ] * 2
    network.run(40)  # no ACK: BYE
    assert bob.requests("BYE")[0].headers.all("Route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
    assert bob.requests("BYE")[0].uri == "sip:carol@c.invalid"


def test_provisional_responses_to_an_info_mean_nothing() -> None:
    network = SipNetwork()
    alice, server = connected(network)
    server.answer = lambda request: reply(request, 183)
    alice.take(alice.ua.info(alice.session, "text/plain", b"x", network.now)[1])
    network.run()
    assert alice.all(RequestAnswered) == []
    server.say(reply(server.requests("INFO")[0], 200))
    network.run()
    assert alice.one(RequestAnswered).status == 200


def test_early_dialogs_of_a_challenged_call_are_forgotten() -> None:
    network = SipNetwork()
    alice, server, invite = calling(network)
    server.say(reply(invite, 180))
    server.say(reply(invite, 422, [("Min-SE", "4000")]))
    network.run()
    assert server.requests("INVITE")[1].headers.get("Session-Expires") == "4000"
    server.say(reply(server.requests("INVITE")[1], 200, body=b"answer", tag="other"))
    network.run()
    assert alice.one(Answered).remote_tag == "other"
