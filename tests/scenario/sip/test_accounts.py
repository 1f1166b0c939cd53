"""Accounts at a registrar: adoption of flows, credentials, redirection, GRUU, calls that survive a new flow."""

from __future__ import annotations

import dataclasses

import pytest

from phoned.sip.account import AccountParameters
from phoned.sip.events import (
    Answered,
    EndCause,
    Ended,
    IncomingCall,
    Modified,
    ModifyCause,
    ModifyRefused,
    Registered,
    RegistrationFailed,
    RequestAnswered,
    Unregistered,
)
from phoned.sip.message import Request, Response, response_to
from tests.support.sip_network import Phone, SipNetwork
from tests.support.sip_server import Answer, Challenger, Server, registered
from tests.support.sip_server import accept_all as accept

PARAMETERS = AccountParameters(aor="sip:alice@example.com", secret="pw", instance_id="urn:uuid:1-2-3-4-5")


def registered_then(answer: Answer) -> Answer:
    """A registrar that asks nothing, and ``answer`` for the rest."""
    return lambda request: registered(request) if request.method == "REGISTER" else answer(request)


def _online(network: SipNetwork, answer: object = accept, **changes: object) -> tuple[Phone, Server]:
    phone = network.phone("alice", parameters=dataclasses.replace(PARAMETERS, **changes))  # type: ignore[arg-type]  # fields
    server = Server(network, phone, answer)  # type: ignore[arg-type]  # a function
    phone.take(phone.ua.register("alice", server.flow, network.now))
    network.run()
    return phone, server


def test_register_adopts_the_flow_and_calls_are_taken_from_it() -> None:
    network = SipNetwork()
    alice, server = _online(network)
    assert alice.one(Registered).flow == server.flow
    alice.call()
    network.run()
    alice.one(Answered)
    invite = Request("INVITE", "sip:alice@x.invalid")
    for name, value in (
        ("Via", "SIP/2.0/WS p.invalid;branch=z9hG4bKin"),
        ("From", "<sip:carol@example.com>;tag=c"),
        ("To", "<sip:alice@example.com>"),
        ("Call-ID", "in"),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:carol@c.invalid>"),
    ):
        invite.headers.add(name, value)
    server.say(invite)
    network.run()
    assert alice.one(IncomingCall).from_uri == "sip:carol@example.com"


def test_unregister() -> None:
    network = SipNetwork()
    alice, _ = _online(network)
    alice.take(alice.ua.unregister("alice", network.now))
    network.run()
    alice.one(Unregistered)


def test_refused_registration_is_reported() -> None:
    network = SipNetwork()
    alice, _ = _online(network, lambda request: response_to(request, 403))
    assert alice.one(RegistrationFailed).status == 403


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenged_call_is_made_with_credentials_and_its_ack_carries_them(status: int) -> None:
    network = SipNetwork()
    challenger = Challenger(accept, status=status)
    alice, server = _online(network, registered_then(challenger))
    alice.call()
    network.run()
    alice.one(Answered)
    assert challenger.challenged == 1
    name = "Authorization" if status == 401 else "Proxy-Authorization"
    assert server.requests("ACK")[-1].headers.get(name) == server.requests("INVITE")[-1].headers.get(name)
    alice.hangup()
    network.run()


def test_a_wrong_password_ends_the_call_after_two_tries_at_most() -> None:
    network = SipNetwork()
    challenger = Challenger(accept, password="other")
    alice, server = _online(network, registered_then(challenger))
    alice.call()
    network.run()
    ended = alice.one(Ended)
    assert (ended.cause, ended.status) == (EndCause.REFUSED, 407)
    assert len(server.requests("INVITE")) <= 3


def test_without_a_secret_a_challenge_ends_the_call() -> None:
    network = SipNetwork()
    alice, _ = _online(network, Challenger(accept), secret=None)
    alice.take(alice.ua.move_account("alice", alice.flows[0], network.now))
    alice.call()
    network.run()
    assert alice.one(Ended).status == 407


def test_a_far_end_that_asks_for_our_password_in_another_realm_gets_nothing() -> None:
    network = SipNetwork()
    registrar = Challenger(accept, status=401)
    thief = Challenger(accept, status=401, realm="thief")
    alice, server = _online(network, lambda request: (registrar if request.method == "REGISTER" else thief)(request))
    alice.one(Registered)
    alice.call()
    network.run()
    assert alice.one(Ended).status == 401
    assert all("Authorization" not in invite.headers for invite in server.requests("INVITE"))


@pytest.mark.behaviour("W24")
@pytest.mark.parametrize(
    ("policy", "status", "realm", "answered"),
    [
        ("407", 407, "example.com", True),
        ("407", 401, "example.com", False),
        ("both", 401, "example.com", True),
        ("never", 407, "example.com", False),
        ("both", 407, "thief", False),
    ],
)
def test_challenges_inside_a_dialog(policy: str, status: int, realm: str, answered: bool) -> None:
    network = SipNetwork()
    registrar = Challenger(accept, status=401)
    alice, server = _online(
        network,
        lambda request: registrar(request) if request.method == "REGISTER" else accept(request),
        in_dialog_auth=policy,
    )
    alice.call()
    network.run()
    challenger = Challenger(accept, status=status, realm=realm)
    server.answer = challenger
    alice.reinvite()
    network.run()
    assert len(alice.all(Modified)) == int(answered)
    assert len(alice.all(ModifyRefused)) == int(not answered)
    alice.take(alice.ua.info(alice.session, "text/plain", b"x", network.now)[1])
    network.run()
    assert (alice.one(RequestAnswered).status == 200) is answered
    before = len(server.requests("BYE"))
    alice.hangup()
    network.run()
    assert len(server.requests("BYE")) == before + 1  # a challenge to a BYE is never answered
    assert all("Authorization" not in bye.headers for bye in server.requests("BYE"))


def test_message_and_options_answer_a_challenge() -> None:
    network = SipNetwork()
    challenger = Challenger(accept)
    alice, _ = _online(network, registered_then(challenger))
    alice.take(alice.ua.message("alice", "sip:bob@example.com", "text/plain", b"x", network.now)[1])
    network.run()
    assert alice.one(RequestAnswered).status == 200


def test_a_redirection_is_a_refusal_unless_its_host_is_allowed() -> None:
    def redirect(request: Request) -> Response | None:
        if request.method == "INVITE" and "elsewhere" not in request.uri:
            response = response_to(request, 302)
            response.headers.add("Contact", "<tel:123>, <sip:b@evil.example.net>, <sip:bob@elsewhere.example.com?X=y>")
            return response
        return accept(request)

    network = SipNetwork()
    alice, server = _online(network, redirect)
    alice.call()
    network.run()
    ended = alice.one(Ended)
    assert ended.status == 302
    assert "evil" in ended.contacts[0]

    network = SipNetwork()
    alice, server = _online(network, redirect, redirect_hosts=("elsewhere.example.com",))
    alice.call()
    network.run()
    alice.one(Answered)
    assert server.requests("INVITE")[-1].uri == "sip:bob@elsewhere.example.com"

    network = SipNetwork()
    alice, server = _online(network, redirect, redirect_hosts=("other.example.com",))
    alice.call()
    network.run()
    assert alice.one(Ended).status == 302


def test_redirections_in_a_circle_end() -> None:
    def circle(request: Request) -> Response | None:
        if request.method == "INVITE":
            response = response_to(request, 302)
            response.headers.add("Contact", "<sip:bob@example.com>")
            return response
        return accept(request)

    network = SipNetwork()
    alice, server = _online(network, circle, redirect_hosts=("example.com",))
    alice.call()
    network.run()
    assert alice.one(Ended).status == 302
    assert len(server.requests("INVITE")) == 4


def test_dialogs_say_the_public_gruu_when_there_is_one() -> None:
    gruu = "sip:alice@example.com;gr=urn:uuid:1-2-3-4-5"

    def with_gruu(request: Request) -> Response | None:
        return registered(request, gruu=gruu) if request.method == "REGISTER" else accept(request)

    network = SipNetwork()
    alice, server = _online(network, with_gruu)
    assert alice.one(Registered).pub_gruu == gruu
    alice.call()
    network.run()
    assert server.requests("INVITE")[0].headers.get("Contact") == f"<{gruu}>"


def test_service_route_and_preloaded_route_are_used() -> None:
    def routed(request: Request) -> Response | None:
        response = accept(request)
        assert response is not None
        if request.method == "REGISTER":
            response.headers.add("Service-Route", "<sip:sr.example.com;lr>")
        return response

    network = SipNetwork()
    alice, server = _online(network, routed, route=("<sip:edge.example.com;lr>",))
    alice.call()
    network.run()
    assert server.requests("INVITE")[0].headers.all("Route") == ["<sip:edge.example.com;lr>", "<sip:sr.example.com;lr>"]


def test_a_reinvite_refused_before_the_register_is_answered_is_repeated_once_after_it() -> None:
    network = SipNetwork()
    alice, old = _online(network)
    alice.call()
    network.run()
    session = alice.session
    network.cut(alice, old.flow)
    new = Server(network, alice, lambda request: None if request.method == "REGISTER" else response_to(request, 403))
    alice.take(alice.ua.register("alice", new.flow, network.now))
    alice.take(alice.ua.move_account("alice", new.flow, network.now))
    alice.take(alice.ua.reinvite(session, network.now, ModifyCause.RECOVERY))
    network.run()
    assert len(new.requests("INVITE")) == 1
    assert alice.all(ModifyRefused) == []
    new.answer = accept
    new.say(registered(new.requests("REGISTER")[0]))
    network.run()
    assert len(new.requests("INVITE")) == 2
    alice.one(Modified)


def test_a_flow_that_breaks_is_no_longer_used() -> None:
    network = SipNetwork()
    alice, server = _online(network)
    network.cut(alice, server.flow)
    with pytest.raises(Exception, match="no flow"):
        alice.call()


def test_a_dead_outgoing_call_can_be_dialled_again_over_the_next_flow() -> None:
    network = SipNetwork()
    alice, server = _online(network, lambda request: registered(request) if request.method == "REGISTER" else None)
    alice.call()
    network.run()
    second = Server(network, alice, accept)
    alice.take(alice.ua.register("alice", second.flow, network.now))
    network.run()
    network.cut(alice, server.flow)
    assert alice.one(Ended).cause is EndCause.UNREACHABLE
    network.run()
    assert len(second.requests("CANCEL")) == 1
    alice.call()
    network.run()
    alice.one(Answered)


def test_the_display_name_is_said() -> None:
    network = SipNetwork()
    alice, server = _online(network, display_name="Alice A.", user_agent="phoned")
    alice.call()
    network.run()
    invite = server.requests("INVITE")[0]
    assert (invite.headers.get("From") or "").startswith('"Alice A." <sip:alice@example.com>;tag=')
    assert invite.headers.get("User-Agent") == "phoned"
