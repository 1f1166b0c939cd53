"""Requests beside calls, and requests that nobody should send."""

from __future__ import annotations

import pytest

from phoned.errors import AtCapacity, Gone, InvalidValue, NotFound, NotRegistered, WrongState
from phoned.sip.account import AccountParameters, FlowParameters, Limits
from phoned.sip.events import (
    DescriptionWanted,
    EndCause,
    Ended,
    IncomingCall,
    InfoReceived,
    MessageReceived,
    RequestAnswered,
)
from phoned.sip.message import Request, Response, parse, serialise
from tests.support.sip_calls import established, ringing
from tests.support.sip_network import Phone, SipNetwork

GZIPPED = "Content-Type: application/sdp\nContent-Encoding: gzip\n"
TEMPLATE = """{method} {uri} SIP/2.0
Via: SIP/2.0/WS stranger.invalid;branch=z9hG4bK{branch}
Max-Forwards: {max_forwards}
From: <sip:stranger@example.net>;tag=1
To: <sip:bob@example.com>{tag}
Call-ID: {branch}@stranger
CSeq: 1 {method}
Contact: <sip:stranger@stranger.invalid>
{extra}Content-Length: {length}

{body}"""


def send(
    network: SipNetwork,
    phone: Phone,
    method: str,
    *,
    uri: str = "sip:bob@example.com",
    tag: str = "",
    extra: str = "",
    body: str = "",
    branch: str = "",
    max_forwards: int = 70,
    flow: int = -1,
) -> Response:
    """A stranger's request; returns the last response."""
    text = TEMPLATE.format(
        method=method,
        uri=uri,
        tag=tag,
        extra=extra,
        body=body,
        length=len(body),
        branch=branch or f"x{network.random.randrange(10**9)}",
        max_forwards=max_forwards,
    )
    data = text.replace("\n", "\r\n").encode()
    phone.take(phone.ua.receive(phone.flows[flow], data, network.now))
    response = phone.sent[-1]
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    ("method", "options", "status", "header"),
    [
        ("OPTIONS", {}, 200, "Allow"),
        ("OPTIONS", {"uri": "sip:example.com"}, 200, "Supported"),
        ("OPTIONS", {"max_forwards": 0}, 200, "Accept"),
        ("NEWMETHOD", {}, 501, "Allow"),
        ("invite", {}, 501, "Allow"),
        ("REGISTER", {}, 405, "Allow"),
        ("SUBSCRIBE", {}, 405, "Allow"),
        ("PUBLISH", {}, 405, "Allow"),
        ("INVITE", {"extra": "Require: nothingSupportsThis, 100rel\n"}, 420, "Unsupported"),
        ("INVITE", {"extra": "Content-Type: text/plain\n", "body": "hello"}, 415, "Accept"),
        ("INVITE", {"extra": GZIPPED, "body": "x"}, 415, "Accept-Encoding"),
        ("INVITE", {"extra": "Accept: text/plain\n"}, 406, "Accept"),
        ("INVITE", {"uri": "nobodyKnowsThisScheme:totallyopaquecontent"}, 416, "To"),
        ("INVITE", {"uri": "sip:nobody@example.com"}, 404, "To"),
        ("MESSAGE", {"uri": "sip:nobody@example.com"}, 404, "To"),
        ("BYE", {}, 481, "To"),
        ("BYE", {"tag": ";tag=unknown"}, 481, "To"),
        ("INVITE", {"tag": ";tag=unknown"}, 481, "To"),
        ("NOTIFY", {"tag": ";tag=unknown"}, 481, "To"),
        ("INFO", {}, 481, "To"),
        ("UPDATE", {}, 481, "To"),
        ("PRACK", {}, 481, "To"),
        ("REFER", {"extra": "Refer-To: <sip:carol@example.com>\n"}, 403, "To"),
        ("NOTIFY", {"extra": "Event: presence\n"}, 489, "To"),
    ],
)  # fmt: skip
def test_requests_that_begin_nothing(method: str, options: dict[str, str], status: int, header: str) -> None:
    network = SipNetwork()
    _, bob = network.pair()
    response = send(network, bob, method, **options)  # type: ignore[arg-type]  # strings, and one number
    assert response.status == status
    assert header in response.headers
    assert ";tag=" in (response.headers.get("To") or "")
    assert bob.all(IncomingCall) == []
    assert send(network, bob, "OPTIONS").status == 200
    network.run(70)
    assert len(bob.ua.layer) == 0


def test_unsupported_lists_only_what_is_not_supported() -> None:
    network = SipNetwork()
    _, bob = network.pair()
    response = send(network, bob, "INVITE", extra="Require: foo, timer\n")
    assert response.headers.get("Unsupported") == "foo"


def test_cancel_of_nothing_is_481() -> None:
    network = SipNetwork()
    _, bob = network.pair()
    assert send(network, bob, "CANCEL").status == 481


def test_bytes_that_are_no_message_are_counted_and_answered_when_they_can_be() -> None:
    network = SipNetwork()
    _, bob = network.pair()
    for data in (b"", b"\0", b"hello", b"\r\n\r\nx", b"\xff" * 70_000):
        bob.take(bob.ua.receive(bob.flows[0], data, network.now))
    assert bob.sent == []
    assert bob.ua.counters.malformed == 4
    broken = "OPTIONS sip:bob@example.com SIP/3.0\r\nVia: SIP/2.0/WS x;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n"
    broken += "To: <sip:bob@example.com>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    bob.take(bob.ua.receive(bob.flows[0], broken.encode(), network.now))
    assert bob.responses(505)
    bob.take(bob.ua.receive(999, b"x", network.now))
    assert bob.ua.counters.unknown_flow == 1
    assert bob.ua.counters.internal_errors == 0


def test_keepalives_are_answered() -> None:
    network = SipNetwork()
    _, bob = network.pair()
    assert bob.ua.receive(bob.flows[0], b"\r\n\r\n", network.now) == []
    assert bob.ua.outbox() == [(bob.flows[0], b"\r\n")]
    bob.ua.receive(bob.flows[0], b"\r\n", network.now)
    assert bob.ua.outbox() == []


def test_calls_are_taken_from_the_registered_flow_alone() -> None:
    network = SipNetwork()
    bob = network.phone("bob", parameters=AccountParameters(aor="sip:bob@example.com"))
    alice = network.phone("alice")
    network.connect(alice, bob)
    assert send(network, bob, "INVITE").status == 403
    assert send(network, bob, "MESSAGE").status == 403
    assert send(network, bob, "OPTIONS").status == 200


def test_a_flood_of_new_calls_is_refused_and_hurts_no_call_in_progress() -> None:
    network = SipNetwork()
    alice, bob = established(network, limits=Limits(new_requests_burst=5, new_requests_per_s=1))
    statuses = [send(network, bob, "OPTIONS").status for _ in range(20)]
    assert statuses.count(503) >= 15
    refusal = send(network, bob, "INVITE")
    assert (refusal.status, refusal.headers.get("Retry-After")) == (486, "5")
    assert bob.ua.counters.refused_new > 15
    alice.reinvite()
    alice.hangup()
    network.run()
    assert bob.one(Ended).cause is EndCause.BYE
    network.run(5)
    assert send(network, bob, "OPTIONS").status == 200


def test_more_calls_than_there_is_room_for() -> None:
    network = SipNetwork()
    alice, bob = established(network, limits=Limits(sessions=1))
    refusal = send(network, bob, "INVITE")
    assert (refusal.status, refusal.headers.get("Retry-After")) == (486, "5")
    assert alice.ua.live == 1
    with pytest.raises(AtCapacity):
        alice.call()


# --- INFO, MESSAGE, OPTIONS


def test_info_goes_both_ways_whatever_it_holds() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    token, events = alice.ua.info(
        alice.session, "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", network.now, info_package="dtmf"
    )
    alice.take(events)
    network.run()
    received = bob.one(InfoReceived)
    assert (received.content_type, received.body) == ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    assert received.info_package == "dtmf"
    answered = alice.one(RequestAnswered)
    assert (answered.token, answered.status, answered.method) == (token, 200, "INFO")
    bob.take(bob.ua.info(bob.session, "text/plain", b"x", network.now)[1])
    network.run()
    assert alice.one(InfoReceived).body == b"x"


def test_info_without_an_answer_is_reported_with_status_0() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    network.partition(alice)
    alice.take(alice.ua.info(alice.session, "text/plain", b"x", network.now)[1])
    network.run(40)
    assert alice.one(RequestAnswered).status == 0
    assert alice.all(Ended) == []
    assert bob.all(InfoReceived) == []


def test_info_before_the_call_is_up_is_refused() -> None:
    network = SipNetwork()
    alice, _ = ringing(network)
    with pytest.raises(WrongState):
        alice.ua.info(alice.session, "text/plain", b"x", network.now)


def test_481_to_an_info_ends_the_call() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.ua.remove_account("bob", network.now)
    bob.ua.add_account("bob", AccountParameters(aor="sip:bob@example.com"))
    bob.ua.flow_up(bob.flows[0], "bob", FlowParameters(), network.now)
    alice.take(alice.ua.info(alice.session, "text/plain", b"x", network.now)[1])
    network.run()
    assert alice.one(RequestAnswered).status == 481
    assert alice.one(Ended).cause is EndCause.DIALOG_GONE


def test_message_inside_and_outside_a_call() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    token, events = alice.ua.message("alice", "sip:bob@example.com", "text/plain", b"hello", network.now)
    alice.take(events)
    network.run()
    outside = bob.one(MessageReceived)
    assert (outside.session, outside.body, outside.from_uri) == (None, b"hello", "sip:alice@example.com")
    assert alice.one(RequestAnswered).token == token
    alice.take(alice.ua.session_message(alice.session, "text/plain", b"inside", network.now)[1])
    network.run()
    inside = bob.all(MessageReceived)[-1]
    assert (inside.session, inside.body) == (bob.session, b"inside")


def test_options_tells_what_the_far_end_can() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.take(alice.ua.options("alice", "sip:bob@example.com", network.now)[1])
    network.run()
    answered = alice.one(RequestAnswered)
    assert answered.status == 200
    assert any(name == "Allow" for name, _ in answered.headers)
    network.partition(bob)
    alice.take(alice.ua.options("alice", "sip:bob@example.com", network.now)[1])
    network.run(40)
    assert alice.all(RequestAnswered)[-1].status == 0


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("REFER", 603), ("NOTIFY", 481), ("UPDATE", 200)])
def test_other_requests_inside_a_call(method: str, status: int) -> None:
    network = SipNetwork()
    alice, bob = established(network)
    invite = alice.requests("ACK")[0]
    request = Request(method, invite.uri, invite.headers.copy())
    request.headers.set("CSeq", f"2 {method}")
    request.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKq")
    _deliver(network, bob, request)
    assert bob.responses(status)
    request.headers.set("Via", "SIP/2.0/WS x.invalid;branch=z9hG4bKr")
    _deliver(network, bob, request)
    last = bob.sent[-1]
    assert isinstance(last, Response)
    assert last.status == 500  # the same CSeq again is out of order
    bob.hangup()
    network.drain()


def _deliver(network: SipNetwork, phone: Phone, request: Request) -> None:
    phone.take(phone.ua.receive(phone.flows[0], serialise(request), network.now))


# --- our own mistakes


def test_verbs_about_nothing_are_refused() -> None:
    network = SipNetwork()
    alice, bob = ringing(network)
    now = network.now
    with pytest.raises(NotFound):
        alice.ua.answer("nothing", now)
    with pytest.raises(NotFound):
        alice.ua.register("nobody", 1, now)
    with pytest.raises(NotFound):
        alice.ua.move_account("alice", 99, now)
    with pytest.raises(WrongState):
        alice.ua.answer(alice.session, now)
    with pytest.raises(WrongState):
        bob.ua.snapshot(bob.session)
    with pytest.raises(InvalidValue):
        bob.ua.ring(bob.session, now, status=200)
    with pytest.raises(InvalidValue):
        bob.ua.reject(bob.session, now, status=200)
    with pytest.raises(InvalidValue):
        alice.ua.add_account("alice", AccountParameters(aor="sip:alice@example.com"))
    with pytest.raises(InvalidValue):
        alice.ua.flow_up(alice.flows[0], "alice", FlowParameters(), now)
    assert alice.ua.supply("stale", b"x", now) == []
    assert alice.ua.refuse("stale", 488, now) == []
    assert alice.ua.hangup("nothing", now) == []
    assert alice.ua.flow_down(99, now) == []
    bob.hangup()
    with pytest.raises(Gone):
        bob.answer()


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("nonsense", []),
        ("http://example.com", []),
        ("sip:bob@example.com", [("Via", "x")]),
        ("sip:bob@example.com", [("f", "x")]),
        ("sip:bob@example.com", [("X-Evil", "a\r\nVia: b")]),
        ("sip:bob@example.com", [("X-Evil\r\nA", "b")]),
    ],
)
def test_calls_that_cannot_be_placed_are_refused_before_anything_is_sent(
    target: str, headers: list[tuple[str, str]]
) -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    with pytest.raises(InvalidValue):
        alice.ua.invite("alice", target, network.now, headers=headers)
    assert len(alice.ua) == 0
    assert alice.sent == []


def test_own_headers_reach_the_far_end() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(headers=[("X-Order", "42")])
    network.run()
    assert ("X-Order", "42") in bob.one(IncomingCall).headers


@pytest.mark.parametrize("aor", ["", "nonsense", "tel:123", "http://example.com"])
def test_an_account_needs_an_address(aor: str) -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    with pytest.raises(InvalidValue):
        alice.ua.add_account("other", AccountParameters(aor=aor))


def test_without_a_flow_nothing_can_be_begun() -> None:
    network = SipNetwork()
    alice = network.phone("alice")
    with pytest.raises(NotRegistered):
        alice.call()
    with pytest.raises(NotRegistered):
        alice.ua.message("alice", "sip:bob@example.com", "text/plain", b"", 0.0)
    with pytest.raises(NotRegistered):
        alice.ua.unregister("alice", 0.0)


def test_removing_an_account_ends_its_calls_without_a_word() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    sent = len(alice.sent)
    alice.take(alice.ua.remove_account("alice", network.now))
    assert alice.one(Ended).cause is EndCause.FLOW_LOST
    assert len(alice.sent) == sent
    assert len(alice.ua) == len(alice.ua.layer) == 0
    assert alice.ua.next_timer() is None
    bob.hangup()
    network.run(1)


def test_secrets_are_not_shown() -> None:
    assert "geheim" not in repr(AccountParameters(aor="sip:a@b", secret="geheim"))


def test_two_accounts_do_not_reach_into_each_others_calls() -> None:
    network = SipNetwork()
    alice, bob = established(network)
    bob.ua.add_account("other", AccountParameters(aor="sip:other@example.com", allow_unregistered_incoming=True))
    bob.ua.flow_up(77, "other", FlowParameters(), network.now)
    bye = alice.ua
    bye.hangup(alice.session, network.now)
    ((_, data),) = bye.outbox()
    bob.take(bob.ua.receive(77, data, network.now))
    assert bob.responses(481)
    assert bob.all(Ended) == []
    assert isinstance(parse(data), Request)
    assert bob.all(DescriptionWanted)
