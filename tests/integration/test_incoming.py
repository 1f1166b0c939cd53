"""Rules, auto-answer and do not disturb with real calls: two daemons at the exchange in a box."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.errors import AtCapacity, Denied, Refused
from phoned.model import CallRequest, CallState, EndCause
from tests.support.phones import Phones

INTERCOM = {"Call-Info": "<sip:phoned>;answer-after=0"}


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


def to_bob(**more: object) -> CallRequest:
    return CallRequest(account="alice", to="bob", timeout_s=15, **more)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    "headers",
    [INTERCOM, {"Alert-Info": "<http://x.invalid>;info=alert-autoanswer"}, {"Answer-Mode": "Auto"}],
    ids=["call-info", "alert-info", "answer-mode"],
)
async def test_a_listed_caller_who_asks_is_answered_and_heard(phones: Phones, headers: dict[str, str]) -> None:
    alice, hers = await phones.online("alice")
    bob, _ = await phones.online("bob", extra='[auto_answer]\ncallers = ["sip:alice@*"]\n')
    call = await alice.phone.place_call(to_bob(headers=headers), wait="answered")
    await hers.until("call.updated", lambda data: data["call"].media.state == "flowing")
    assert bob.phone.calls()[0].state is CallState.ACTIVE
    await alice.phone.hangup(call.id)
    ringing = await alice.phone.place_call(to_bob(), wait="ringing")
    assert ringing.state is CallState.RINGING, "nobody asked this time"


async def test_a_stranger_who_asks_to_be_answered_rings_until_a_reload_lists_him(
    phones: Phones, tmp_path: Path
) -> None:
    alice, _ = await phones.online("alice")
    bob, his = await phones.online("bob")
    call = await alice.phone.place_call(to_bob(headers=INTERCOM), wait="ringing")
    assert call.state is CallState.RINGING
    await alice.phone.hangup(call.id)
    await his.until("call.ended")
    file = tmp_path / "bob" / "phoned.toml"
    file.write_text(file.read_text() + '\n[auto_answer]\ncallers = ["*"]\n')
    assert (await bob.phone.reload()).applied == ("auto_answer.callers",)
    call = await alice.phone.place_call(to_bob(headers=INTERCOM), wait="answered")
    assert call.state is CallState.ACTIVE


async def test_do_not_disturb_is_480_and_spares_what_is_up(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    bob, his = await phones.online("bob")
    up = await alice.phone.place_call(to_bob())
    theirs = (await his.until("call.incoming")).data["call"]
    await bob.phone.answer(theirs.id)
    await bob.phone.set_do_not_disturb(True)
    with pytest.raises(Refused) as refusal:
        await alice.phone.place_call(to_bob(), wait="answered")
    assert refusal.value.status == 480
    await bob.phone.place_call(CallRequest(account="bob", to="echo"), wait="answered")
    assert alice.phone.call(up.id).state is CallState.ACTIVE
    assert "call.incoming" not in his.types()[his.types().index("call.incoming") + 1 :]
    await bob.phone.set_do_not_disturb(False)
    again = await alice.phone.place_call(to_bob(), wait="ringing")
    assert again.state is CallState.RINGING
    await hers.until("call.ringing", lambda data: data["call"].id == again.id)


async def test_a_rule_may_let_it_ring_for_a_while_and_then_refuse(phones: Phones) -> None:
    alice, hers = await phones.online("alice")
    _, his = await phones.online("bob", extra='[[incoming]]\naction = "reject"\nafter_s = 0.3\ncode = 480\n')
    call = await alice.phone.place_call(to_bob(), wait="ringing")
    assert call.state is CallState.RINGING
    end = (await hers.until("call.ended")).data["call"].end
    assert (end.cause, end.sip_code) == (EndCause.NO_ANSWER, 480)
    end = (await his.until("call.ended")).data["call"].end
    assert (end.by, end.cause) == ("local", EndCause.NO_ANSWER)


async def test_a_call_that_was_answered_is_not_refused_late(phones: Phones) -> None:
    alice, _ = await phones.online("alice")
    bob, his = await phones.online("bob", extra='[[incoming]]\naction = "reject"\nafter_s = 0.5\n')
    call = await alice.phone.place_call(to_bob())
    theirs = (await his.until("call.incoming")).data["call"]
    await bob.phone.answer(theirs.id)
    await his.until("call.quality")  # seconds later
    assert alice.phone.call(call.id).state is CallState.ACTIVE


async def test_dial_rules_of_a_reload_count_for_the_next_call_and_spare_the_one_that_is_up(
    phones: Phones, tmp_path: Path
) -> None:
    alice, hers = await phones.online("alice")
    echo, tone = CallRequest(account="alice", to="echo"), CallRequest(account="alice", to="tone")
    up = await alice.phone.place_call(echo, wait="answered")
    file = tmp_path / "alice" / "phoned.toml"
    before = file.read_text()
    file.write_text(before + '\n[dial]\ndeny = ["tone"]\nmax_concurrent = 1\nmax_duration_s = 1\n')
    await alice.phone.reload()
    with pytest.raises(Denied):
        await alice.phone.place_call(tone)
    with pytest.raises(AtCapacity):
        await alice.phone.place_call(echo)
    assert alice.phone.status().calls_capacity == 1
    file.write_text(before.replace("[media]\n", '[media]\ncodecs = ["pcma"]\n') + "\n[dial]\nmax_duration_s = 1\n")
    view = await alice.phone.reload()
    assert set(view.applied) == {"dial.deny", "dial.max_concurrent", "media.codecs"}
    short = await alice.phone.place_call(tone, wait="answered")
    await hers.until("call.ended", lambda data: data["call"].id == short.id)
    assert alice.phone.stats(short.id).codec == "pcma"
    assert alice.phone.call(up.id).state is CallState.ACTIVE
    assert alice.phone.stats(up.id).codec == "opus"
