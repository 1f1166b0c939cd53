"""Who a caller is."""

from __future__ import annotations

import pytest

from phoned.calls.identity import is_anonymous, peer_of
from phoned.model import Peer
from phoned.sip import events as sip

ANONYMOUS = "sip:anonymous@anonymous.invalid"


def incoming(from_uri: str, asserted: str | None = None, *, private: bool = False) -> sip.IncomingCall:
    return sip.IncomingCall(
        session="s",
        account="a",
        flow=1,
        call_id="c",
        from_uri=from_uri,
        from_display_name="From",
        to_uri="sip:us@example.org",
        request_uri="sip:us@example.org",
        headers=(),
        has_offer=True,
        asserted_uri=asserted,
        asserted_display_name="Asserted",
        private=private,
    )


def test_a_caller_is_who_it_says() -> None:
    peer = peer_of(incoming("sip:bob@example.org", "sip:+49301@example.org"))
    assert peer == Peer(uri="sip:bob@example.org", number="bob", display_name="From")


def test_an_anonymous_caller_is_whom_the_server_vouches_for() -> None:
    peer = peer_of(incoming(ANONYMOUS, "sip:+49301@example.org"))
    assert peer == Peer(uri="sip:+49301@example.org", number="+49301", display_name="Asserted")


@pytest.mark.parametrize(("asserted", "private"), [("sip:+49301@example.org", True), (None, False)])
def test_a_caller_who_asked_for_privacy_stays_anonymous(asserted: str | None, private: bool) -> None:
    assert peer_of(incoming(ANONYMOUS, asserted, private=private)).uri == ANONYMOUS


@pytest.mark.parametrize(
    ("uri", "anonymous"),
    [
        (ANONYMOUS, True),
        ("sip:Anonymous@example.org", True),
        ("sip:x@ANONYMOUS.invalid", True),
        ("sip:a@b", False),
        ("", False),
    ],
)
def test_what_names_nobody_is_anonymous(uri: str, anonymous: bool) -> None:
    assert is_anonymous(uri) is anonymous


def test_what_is_no_uri_has_no_number() -> None:
    assert peer_of(incoming("nonsense")).number is None
