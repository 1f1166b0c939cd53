"""Random schedules by seed: whatever happens to messages and flows, the core keeps its promises.

Each session ends at most once and is silent afterwards (`Phone.take` checks it); when everybody has hung up, no
session, no transaction and no timer is left; none of our own errors had to be
contained. A seed that fails becomes a test.
"""

from __future__ import annotations

import random

import pytest

from phoned.errors import PhonedError
from phoned.sip.account import AccountParameters, SessionTimerParameters
from phoned.sip.events import DescriptionWanted, Ended, IncomingCall, ModifyCause
from tests.support.sip_network import Phone, SipNetwork, Weather


def _act(random_: random.Random, network: SipNetwork, phone: Phone, peer: Phone) -> None:
    """One thing that a user, or the network, may do at any moment."""
    ended = {event.session for event in phone.all(Ended)}
    sessions = [event.session for event in phone.events if isinstance(event, IncomingCall | DescriptionWanted)]
    live = [session for session in dict.fromkeys(sessions) if session not in ended]
    session = random_.choice(live) if live else None
    now = network.now
    choice = random_.randrange(13)
    try:
        if choice == 0 or session is None:
            if len(live) < 3:
                phone.call(offerless=random_.random() < 0.3)
        elif choice == 1:
            phone.ring(session, early_media=random_.random() < 0.5, status=random_.choice([180, 183]))
        elif choice in (2, 3, 4):
            phone.answer(session)
        elif choice == 5:
            phone.take(phone.ua.reject(session, now, status=random_.choice([486, 603])))
        elif choice in (6, 7):
            phone.take(
                phone.ua.reinvite(session, now, random_.choice(list(ModifyCause)), use_update=random_.random() < 0.3)
            )
        elif choice == 8:
            phone.hangup(session)
        elif choice == 9:
            phone.take(phone.ua.info(session, "text/plain", b"x", now)[1])
        elif choice == 10:
            network.cut(phone)
            network.cut(peer)
            network.connect(phone, peer, transport="UDP", weather=network.weather)
        elif choice == 11:
            network.connect(phone, peer, transport="WS", weather=network.weather)
        else:
            wanted = [event for event in phone.all(DescriptionWanted) if event.session == session]
            phone.take(phone.ua.refuse(wanted[-1].token, 488, now) if wanted else [])
    except PhonedError:
        pass  # a verb that does not fit the moment is refused, and nothing more


LATE_PRACK = (1132, 1527, 1927)
"""Seeds that once showed a fault: a PRACK that came after the end woke the call up."""


@pytest.mark.parametrize("seed", [*range(100), *LATE_PRACK])
def test_any_schedule_ends_clean(seed: int) -> None:
    network = SipNetwork(seed)
    schedule = random.Random(seed + 10_000)
    bad = schedule.random() < 0.7
    network.weather = Weather(
        delay_s=0.05,
        jitter_s=0.3 if bad else 0.0,
        loss=0.15 if bad else 0.0,
        duplicate=0.15 if bad else 0.0,
    )
    parameters = AccountParameters(
        aor="sip:bob@example.com",
        contact_user="bob",
        allow_unregistered_incoming=True,
        reliable_provisionals=schedule.choice(["supported", "required", "never"]),
        session_timer=SessionTimerParameters(session_expires_s=schedule.choice([0, 90, 1800])),
    )
    alice, bob = network.phone("alice", parameters=parameters), network.phone("bob", parameters=parameters)
    network.connect(alice, bob, transport=schedule.choice(["WS", "UDP"]), weather=network.weather)
    for phone in (alice, bob):
        phone.auto_supply = schedule.random() < 0.8
    for _ in range(60):
        phone, peer = schedule.choice([(alice, bob), (bob, alice)])
        _act(schedule, network, phone, peer)
        network.run(schedule.choice([0.01, 0.1, 0.1, 0.5, 3, 40]))
    for phone in (alice, bob):
        phone.auto_supply = True
    # a lost BYE leaves the far end's call up, and an INVITE may still be under way: hang up until it is quiet
    for _ in range(4):
        for phone in (alice, bob):
            for session in dict.fromkeys(
                event.session for event in phone.events if isinstance(event, IncomingCall | DescriptionWanted)
            ):
                phone.hangup(session)
        network.run(40)
    network.drain()
