"""Session timers between two user agents (RFC 4028): refresh, expiry, 422, no flow to refresh on."""

from __future__ import annotations

import dataclasses

import pytest

from phoned.sip.account import AccountParameters, Refresher, SessionTimerParameters
from phoned.sip.events import EndCause, Ended, Modified, ModifyCause, RemoteModified
from phoned.sip.message import Message, Request, Response
from tests.support.sip_network import Phone, SipNetwork

PARAMETERS = AccountParameters(aor="sip:any@example.com", contact_user="bob", allow_unregistered_incoming=True)


def _call(
    network: SipNetwork,
    alice_timer: SessionTimerParameters | None = None,
    bob_timer: SessionTimerParameters | None = None,
) -> tuple[Phone, Phone]:
    phones = [
        network.phone(name, parameters=dataclasses.replace(PARAMETERS, session_timer=timer or SessionTimerParameters()))
        for name, timer in (("alice", alice_timer), ("bob", bob_timer))
    ]
    alice, bob = phones
    network.connect(alice, bob)
    bob.auto_answer = True
    alice.call()
    network.run()
    return alice, bob


def _timer(interval: int, refresher: Refresher = "auto", min_se: int = 90) -> SessionTimerParameters:
    return SessionTimerParameters(session_expires_s=interval, refresher=refresher, min_se_s=min_se)


@pytest.mark.parametrize(("refresher", "who"), [("auto", 0), ("local", 0), ("remote", 1)])
def test_the_agreed_side_refreshes_by_update_without_a_description(refresher: Refresher, who: int) -> None:
    network = SipNetwork()
    phones = _call(network, _timer(120, refresher))
    network.run(605)
    refreshing, other = phones[who], phones[1 - who]
    assert len(refreshing.requests("UPDATE")) == 10
    assert all(request.body == b"" for request in refreshing.requests("UPDATE"))
    assert other.requests("UPDATE") == []
    assert refreshing.all(Modified)[0].causes == (ModifyCause.REFRESH,)
    assert not other.all(RemoteModified)[0].with_description
    assert refreshing.all(Ended) == []
    refreshing.hangup()
    network.drain()


def test_a_peer_that_does_not_allow_update_is_refreshed_by_reinvite() -> None:
    network = SipNetwork()
    alice, bob = network.pair(parameters=dataclasses.replace(PARAMETERS, session_timer=_timer(120)))
    bob.auto_answer = True

    def without_update(sender: str, message: Message) -> bool:
        if "Allow" in message.headers:
            message.headers.set("Allow", "INVITE, ACK, BYE, CANCEL")
        return False

    network.alter = without_update
    alice.call()
    network.run(70)
    assert alice.requests("UPDATE") == []
    assert len(alice.requests("INVITE")) == 2
    alice.hangup()
    network.drain()


@pytest.mark.behaviour("W36")
def test_a_session_that_is_not_refreshed_is_ended_by_the_other_side_a_little_early() -> None:
    network = SipNetwork()
    alice, bob = _call(network, _timer(120, "local"))
    network.drop = lambda sender, message: isinstance(message, Request) and message.method in ("UPDATE", "INVITE")
    began = network.now
    ends: list[float] = []
    bob.on_event = lambda event: ends.append(network.now) if isinstance(event, Ended) else None
    network.run(200)
    assert bob.one(Ended).cause in (EndCause.SESSION_EXPIRED, EndCause.BYE)
    assert ends[0] - began <= 120
    alice.one(Ended)
    network.drain()


def test_a_far_end_that_vanished_is_noticed_by_the_session_timer() -> None:
    network = SipNetwork()
    alice, bob = _call(network, _timer(120, "remote"))
    network.partition(bob)
    network.run(100)
    assert alice.one(Ended).cause is EndCause.SESSION_EXPIRED
    assert "Session expired" in (alice.requests("BYE")[0].headers.get("Reason") or "")
    bob.hangup()
    network.drain()


def test_too_small_an_interval_is_refused_with_422_and_tried_again() -> None:
    network = SipNetwork()
    alice, bob = _call(network, _timer(90), _timer(600, min_se=300))
    assert len(bob.responses(422)) == 1
    assert alice.requests("INVITE")[1].headers.get("Session-Expires") == "300"
    assert alice.requests("INVITE")[1].headers.get("Min-SE") == "300"
    network.run(160)
    assert len(alice.requests("UPDATE")) == 1
    alice.hangup()
    network.drain()


@pytest.mark.behaviour("W36")
def test_without_a_flow_an_expired_session_is_not_ended() -> None:
    network = SipNetwork()
    alice, bob = _call(network, _timer(120, "remote"))
    network.cut(alice)
    network.cut(bob)
    network.run(400)
    assert alice.all(Ended) == []
    network.connect(alice, bob)
    alice.take(alice.ua.reinvite(alice.session, network.now, ModifyCause.RECOVERY))
    network.run(5)
    assert alice.all(Modified)
    alice.hangup()
    network.drain()


def test_a_far_end_that_knows_no_session_timer_gets_none_from_us() -> None:
    network = SipNetwork()
    alice, bob = network.pair(parameters=dataclasses.replace(PARAMETERS, session_timer=_timer(0)))
    bob.auto_answer = True
    alice.call()
    network.run()
    assert all("Session-Expires" not in message.headers for message in (*alice.sent, *bob.sent))
    network.run(4000)
    assert alice.all(Ended) == []
    alice.hangup()
    network.drain()


def test_a_far_end_that_cannot_refresh_makes_us_do_it() -> None:
    network = SipNetwork()
    alice, bob = network.pair(parameters=dataclasses.replace(PARAMETERS, session_timer=_timer(120)))
    bob.auto_answer = True

    def strip(sender: str, message: Message) -> bool:
        if sender == "alice":
            message.headers.remove("Supported")
            message.headers.remove("Session-Expires")
        elif isinstance(message, Response):
            message.headers.remove("Session-Expires")
        return False

    network.alter = strip
    alice.call()
    network.run(65)
    assert len(bob.requests("UPDATE")) == 1
    bob.hangup()
    network.drain()
