from __future__ import annotations

import pytest

from phoned import twilio
from phoned.config.types import Secret
from phoned.ids import new_id
from phoned.twilio import TwilioAccount

FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}


def account(token: bytes = b"12345") -> TwilioAccount:
    return TwilioAccount(sid="AC" + "0" * 32, token=Secret(token))


def test_a_signature_is_the_one_of_twilios_own_example() -> None:
    signed = account().signature("https://mycompany.com/myapp.php?foo=1&bar=2", FORM.items())
    assert signed == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_the_order_of_a_form_and_a_pair_that_stands_twice_do_not_matter() -> None:
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    shuffled = [*reversed(FORM.items()), ("Digits", "1234")]
    assert account().signature(url, shuffled) == account().signature(url, FORM.items())
    assert account().signature(url) != account().signature(url, FORM.items())
    assert account(b"other").signature(url) != account().signature(url)


def test_only_its_own_credentials_are_accepted() -> None:
    own = account()
    assert own.accepts(own.sid.encode(), b"12345")
    assert not own.accepts(own.sid.encode(), b"12346")
    assert not own.accepts(b"AC", b"12345")
    assert not own.accepts(b"", b"")
    assert not own.accepts("ü".encode(), "ü".encode())
    assert "12345" not in repr(own)


def test_a_sid_and_a_call_name_each_other() -> None:
    call = new_id("call")
    assert twilio.call_of_sid(twilio.call_sid(call)) == call
    assert twilio.stream_sid("str_" + "1" * 32) == "MZ" + "1" * 32


@pytest.mark.parametrize("sid", ["", "CA", "CA" + "g" * 32, "CA" + "A" * 32, "CA" + "1" * 33, "call_" + "1" * 32])
def test_what_is_no_sid_of_ours_names_no_call(sid: str) -> None:
    assert twilio.call_of_sid(sid) is None


def test_a_made_up_account_is_always_the_same() -> None:
    assert twilio.made_up_account_sid("front") == twilio.made_up_account_sid("front")
    assert twilio.made_up_account_sid("front") != twilio.made_up_account_sid("back")
    assert len(twilio.made_up_account_sid("front")) == 34
