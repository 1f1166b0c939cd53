"""Who has the handset, over what people do with calls."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from phoned.audio.attention import Wish, wish_of
from phoned.model import CallState, CallView, HoldView, Peer
from tests.support.fake_phone import EPOCH

C = CallState


def call(name: str, state: CallState, direction: str = "out", at: int = 0, **more: Any) -> CallView:
    when = EPOCH + timedelta(seconds=at)
    return CallView(
        id=name,
        account="front",
        direction="in" if direction == "in" else "out",
        state=state,
        peer=Peer(uri="sip:x@y"),
        created_at=EPOCH,
        answered_at=when if state is C.ACTIVE else None,
        **more,
    )


OLD, NEW = call("old", C.ACTIVE, at=1), call("new", C.ACTIVE, at=2)
HELD = replace(NEW, hold=HoldView(local=True))
BOT = replace(NEW, streams=("str_1",))
INSIDE = replace(NEW, tags={"bot": "doorman"})


@pytest.mark.parametrize(
    ("calls", "chosen", "has"),
    [
        ([], None, None),
        ([OLD], None, "old"),
        ([OLD, NEW], None, "new"),
        ([NEW, OLD], None, "new"),
        ([OLD, NEW], "old", "old"),
        ([OLD, HELD], None, "old"),
        ([OLD, HELD], "new", "old"),
        ([HELD], None, None),
        ([OLD, BOT], None, "old"),
        ([BOT], None, None),
        ([BOT], "new", "new"),
        ([OLD, INSIDE], None, "old"),
        ([INSIDE], None, None),
        ([INSIDE], "new", "new"),
        ([replace(NEW, tags={"bot": ""})], None, "new"),
        ([replace(NEW, state=C.ENDED), OLD], "new", "old"),
        ([replace(OLD, hold=HoldView(remote=True))], None, "old"),
    ],
)
def test_the_newest_that_nobody_holds_or_the_chosen_one_has_it(
    calls: list[CallView], chosen: str | None, has: str | None
) -> None:
    assert wish_of(calls, chosen).call == has


def test_nobody_calls_and_nothing_is_open() -> None:
    assert wish_of([]) == Wish()
    assert wish_of([BOT]) == wish_of([INSIDE]) == Wish()
    assert wish_of([replace(call("a", C.EARLY_MEDIA), tags={"bot": "doorman"})]) == Wish()


def test_it_rings_when_nobody_talks_and_beeps_when_somebody_does() -> None:
    comes = call("comes", C.RINGING, "in")
    assert wish_of([comes]) == Wish(ring=True, soon=True)
    assert wish_of([comes, OLD]) == Wish(call="old", waiting=True, soon=True)
    assert wish_of([comes, HELD]) == Wish(ring=True, soon=True)


def test_a_call_being_placed_is_heard_ringing_until_there_is_early_media() -> None:
    assert wish_of([call("a", C.DIALING)]) == Wish(soon=True)
    assert wish_of([call("a", C.RINGING)]) == Wish(ringback=True, soon=True)
    assert wish_of([call("a", C.EARLY_MEDIA)]) == Wish(listen="a", soon=True)
    assert wish_of([call("a", C.RINGING), OLD]) == Wish(call="old", soon=True)
    assert wish_of([call("a", C.RINGING), HELD]) == Wish(ringback=True, soon=True)
