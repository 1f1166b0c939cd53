"""Which nominated pair is the newest: said in the check that nominates, and in no other."""

from __future__ import annotations

import pytest
from aioice import stun

from phoned.media.nomination import number


def request(*, nominates: bool) -> stun.Message:
    made = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    made.attributes["USERNAME"] = "them:us"
    if nominates:
        made.attributes["USE-CANDIDATE"] = None
    return made


@pytest.mark.parametrize("nomination", [1, 7, 2**32 - 1])
def test_a_check_that_nominates_says_its_number_under_its_integrity(nomination: int) -> None:
    numbered = number(request(nominates=True), nomination)
    numbered.add_message_integrity(b"secret")
    read = stun.parse_message(bytes(numbered))
    assert read.attributes["NOMINATION"] == nomination
    assert bytes(numbered).index(b"\xc0\x01\x00\x04") < bytes(numbered).index(b"\x00\x08\x00\x14")


def test_a_check_that_nominates_nothing_says_none() -> None:
    assert "NOMINATION" not in number(request(nominates=False), 3).attributes
