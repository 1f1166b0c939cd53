"""Which nominated pair is the newest: said in the check that nominates, and in no other."""

from __future__ import annotations

import pytest
from aioice import stun

from phoned.media.nomination import STEPS, Nominations


def request(*, nominates: bool) -> stun.Message:
    made = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    made.attributes["USERNAME"] = "them:us"
    if nominates:
        made.attributes["USE-CANDIDATE"] = None
    return made


@pytest.mark.parametrize("agent", [1, 7, 2**28 - 1])
def test_a_check_that_nominates_says_its_number_under_its_integrity(agent: int) -> None:
    numbered = Nominations(agent).number(request(nominates=True), chosen=False)
    numbered.add_message_integrity(b"secret")
    read = stun.parse_message(bytes(numbered))
    assert read.attributes["NOMINATION"] == agent * STEPS
    assert bytes(numbered).index(b"\xc0\x01\x00\x04") < bytes(numbered).index(b"\x00\x08\x00\x14")


def test_a_check_that_nominates_nothing_says_none() -> None:
    assert "NOMINATION" not in Nominations(3).number(request(nominates=False), chosen=True).attributes


def test_a_choice_counts_for_more_than_the_checks_and_the_next_agent_for_more_than_any_choice() -> None:
    def said(numbers: Nominations, *, chosen: bool) -> int:
        return int(numbers.number(request(nominates=True), chosen=chosen).attributes["NOMINATION"])

    numbers = Nominations(1)
    rising = [said(numbers, chosen=False)]
    for _ in range(STEPS + 3):
        numbers.choose()
        rising.append(said(numbers, chosen=True))
    assert rising[0] == said(numbers, chosen=False)
    assert rising == sorted(rising)
    assert len(set(rising)) == STEPS
    assert rising[-1] < said(Nominations(2), chosen=False)
