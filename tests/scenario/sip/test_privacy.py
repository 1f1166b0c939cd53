"""Who we say we are, and who others are said to be (RFC 3323, RFC 3325)."""

from __future__ import annotations

import pytest

from phoned.sip.events import Answered, Ended, IncomingCall
from tests.scenario.sip.test_requests import send
from tests.support.sip_network import SipNetwork


@pytest.mark.parametrize("privacy", ["id", "header; user", "ID;critical"])
def test_a_caller_who_wants_privacy_is_known_to_the_server_alone(privacy: str) -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    bob.auto_answer = True
    alice.call(headers=[("Privacy", privacy)])
    network.run()
    (invite,) = alice.requests("INVITE")
    assert (invite.headers.get("From") or "").startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=')
    assert invite.headers.get("P-Preferred-Identity") == "<sip:alice@example.com>"
    assert (bob.one(IncomingCall).private, bob.one(IncomingCall).from_display_name) == (True, "Anonymous")
    alice.one(Answered)
    alice.hangup()
    network.run()
    assert "alice" not in (alice.requests("BYE")[0].headers.get("From") or "")
    bob.one(Ended)


def test_a_caller_may_choose_who_it_would_be() -> None:
    network = SipNetwork()
    alice, _ = network.pair()
    alice.call(headers=[("Privacy", "id"), ("P-Preferred-Identity", "<sip:desk@example.com>")])
    assert alice.requests("INVITE")[0].headers.all("P-Preferred-Identity") == ["<sip:desk@example.com>"]


def test_no_privacy_is_no_privacy() -> None:
    network = SipNetwork()
    alice, bob = network.pair()
    alice.call(headers=[("Privacy", "none")])
    network.run()
    assert "alice" in (alice.requests("INVITE")[0].headers.get("From") or "")
    assert not bob.one(IncomingCall).private


@pytest.mark.parametrize(
    ("line", "uri", "name"),
    [
        ('"Carol" <sip:+49301@example.net>', "sip:+49301@example.net", "Carol"),
        ("<tel:+49301>, <sip:x@y>", "tel:+49301", None),
        ("<", None, None),
    ],
)
def test_whom_the_server_vouches_for_is_told(line: str, uri: str | None, name: str | None) -> None:
    network = SipNetwork()
    _, bob = network.pair()
    send(network, bob, "INVITE", extra=f"P-Asserted-Identity: {line}\n")
    event = bob.one(IncomingCall)
    assert (event.asserted_uri, event.asserted_display_name) == (uri, name)
