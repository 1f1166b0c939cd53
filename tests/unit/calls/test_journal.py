"""The journal of calls: what an entry holds, when it is written, and what a sick disk or a damaged entry may cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from phoned.calls.entry import JournalEntry, decode, encode
from phoned.calls.journal import BEAT_S, RETRY_S, CallJournal, Kept, MemoryJournal
from phoned.errors import InvalidValue, UnavailableError
from phoned.model import Peer, RecordRequest
from tests.support.calls import virtual

NOW = datetime(2026, 11, 21, 1, 2, 3, 456000, tzinfo=UTC)
ENTRY = JournalEntry(
    call="call_1",
    account="alice",
    direction="out",
    peer=Peer(uri="sip:bob@example.org", number="200", display_name='"Bob" \N{SNOWMAN}'),
    created_at=NOW,
    standing="up",
    answered_at=NOW + timedelta(seconds=2),
    sip_call_id="cid",
    tags={"case": "7"},
    headers={"X-A": "1"},
    dialog={"version": 1, "dialog": {"local_cseq": 7}},
    media="v=0\r\n",
    codec="opus",
    held=True,
    muted=True,
    recordings=("rec_1", "rec_2"),
    recording=(RecordRequest(channels="mixed", format="opus", beep=True), RecordRequest()),
    max_duration_s=90.5,
)


class SickDisk(MemoryJournal):
    """Refuses while it is ``full``."""

    full = False

    def _check(self) -> None:
        if self.full:
            raise UnavailableError("disk full")

    async def load(self) -> Kept:
        self._check()
        return await super().load()

    async def save(self, changes: Mapping[str, str | None], seen_at: datetime) -> None:
        self.saves = getattr(self, "saves", 0) + 1
        await asyncio.sleep(0.01)
        self._check()
        await super().save(changes, seen_at)

    async def set_aside(self, call: str, why: str) -> None:
        self._check()
        await super().set_aside(call, why)


def test_an_entry_survives_text() -> None:
    assert decode(encode(ENTRY)) == ENTRY
    bare = JournalEntry(call="c", account="a", direction="in", peer=Peer(uri="sip:b@x"), created_at=NOW)
    assert decode(encode(bare)) == bare


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"version": None},
        {"call": 7},
        {"account": None},
        {"peer": ["sip:b@x"]},
        {"peer": [None, None, None]},
        {"direction": "up"},
        {"standing": ["up"]},
        {"created_at": None},
        {"created_at": "2026-01-01T00:00:00"},
        {"answered_at": "yesterday"},
        {"tags": {"a": 1}},
        {"headers": []},
        {"dialog": "x"},
        {"media": 1},
        {"held": 1},
        {"recordings": "rec_1"},
        {"recordings": [1]},
        {"recording": ["loud"]},
        {"max_duration_s": "long"},
    ],
)
def test_a_damaged_entry_is_refused_as_a_whole(damage: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        decode(json.dumps({**json.loads(encode(ENTRY)), **damage}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", encode(ENTRY)[:-30], "[" * 100_000])
def test_a_half_written_entry_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        decode(text)


@virtual
async def test_many_changes_of_one_turn_are_written_once_and_as_they_are_then() -> None:
    store = SickDisk()
    journal = CallJournal(store, clock=lambda: NOW)
    current = [ENTRY]
    for number in range(100):
        current[0] = replace(ENTRY, codec=str(number))
        journal.changed("call_1", lambda: current[0])
    await journal.settled()
    assert store.saves == 1
    assert decode(store.entries["call_1"]).codec == "99"
    journal.changed("call_1", lambda: current[0])
    await journal.settled()
    assert store.seen_at == NOW
    journal.ended("call_1", told=True)
    await journal.settled()
    assert store.entries == {}
    await journal.close()


@virtual
async def test_signs_of_life_are_given_while_there_are_calls() -> None:
    store, now = SickDisk(), [NOW]
    journal = CallJournal(store, clock=lambda: now[0])
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    now[0] += timedelta(seconds=60)
    await asyncio.sleep(BEAT_S + 0.1)
    assert store.seen_at == now[0]
    journal.ended("call_1", told=True)
    await journal.settled()
    before = store.saves
    await asyncio.sleep(10 * BEAT_S)
    assert store.saves - before <= 1
    await journal.close()


@virtual
async def test_the_next_process_learns_what_was_left_and_how_long_ago() -> None:
    store = MemoryJournal()
    journal = CallJournal(store, clock=lambda: NOW)
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    for later_s, age_s in ((42.0, 42.0), (-3600.0, 0.0)):
        entries, age = await CallJournal(store, clock=lambda: NOW + timedelta(seconds=later_s)).load()  # noqa: B023
        assert (entries, age) == ([ENTRY], age_s)
    assert await CallJournal(MemoryJournal()).load() == ([], 0.0)
    await journal.close()


@virtual
async def test_entries_that_cannot_be_read_are_set_aside_and_the_others_are_not() -> None:
    store = SickDisk()
    store.entries = {"call_1": encode(ENTRY), "call_2": encode(ENTRY), "call_3": encode(ENTRY)[:100]}
    journal = CallJournal(store)
    entries, _ = await journal.load()
    assert entries == [ENTRY]
    assert sorted(store.aside) == ["call_2", "call_3"]
    await journal.close()


@virtual
async def test_a_disk_that_gives_nothing_gives_no_calls_and_no_harm() -> None:
    store = SickDisk()
    store.full = True
    journal = CallJournal(store)
    assert await journal.load() == ([], 0.0)
    await journal.set_aside("call_1", "damaged")
    await journal.close()


@virtual
async def test_a_full_disk_holds_up_nobody_and_is_made_good_later() -> None:
    store = SickDisk()
    journal = CallJournal(store)
    store.full = True
    loop = asyncio.get_running_loop()
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    assert journal.degraded
    before = loop.time()
    journal.changed("call_2", lambda: replace(ENTRY, call="call_2"))
    await journal.settled()
    assert loop.time() == before
    store.full = False
    await asyncio.sleep(RETRY_S + 0.1)
    assert sorted(store.entries) == ["call_1", "call_2"]
    assert not journal.degraded
    await journal.close()


@virtual
async def test_a_hang_up_while_the_disk_was_full_wins_over_what_could_not_be_written() -> None:
    store = SickDisk()
    journal = CallJournal(store)
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    store.full = True
    journal.changed("call_1", lambda: replace(ENTRY, muted=False))
    await journal.settled()
    journal.ended("call_1", told=True)
    store.full = False
    await asyncio.sleep(RETRY_S + 0.1)
    assert store.entries == {}
    await journal.close()


@virtual
async def test_a_call_that_cannot_be_described_costs_no_other() -> None:
    store = MemoryJournal()
    journal = CallJournal(store)

    def broken() -> JournalEntry:
        raise RuntimeError("bug")

    journal.changed("call_0", broken)
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    assert list(store.entries) == ["call_1"]
    await journal.close()


@virtual
async def test_a_bye_that_found_no_flow_is_remembered_until_there_is_one() -> None:
    store = MemoryJournal()
    journal = CallJournal(store)
    journal.changed("call_1", lambda: ENTRY)
    journal.changed("call_2", lambda: replace(ENTRY, call="call_2", standing="early"))
    await journal.settled()
    for call in ("call_1", "call_2", "call_3"):
        journal.ended(call, told=False)
    await journal.settled()
    assert {call: decode(text).standing for call, text in store.entries.items()} == {"call_1": "over"}
    again = CallJournal(store)
    assert [entry.standing for entry in (await again.load())[0]] == ["over"]
    again.registered("bob")
    await again.settled()
    assert store.entries
    again.registered("alice")
    await again.settled()
    assert store.entries == {}
    await journal.close()
    await again.close()


@virtual
async def test_after_a_hand_over_nothing_is_written_any_more() -> None:
    store, now = MemoryJournal(), [NOW]
    journal = CallJournal(store, clock=lambda: now[0])
    journal.changed("call_1", lambda: ENTRY)
    await journal.settled()
    now[0] += timedelta(seconds=1)
    await journal.freeze()
    assert store.seen_at == now[0]
    journal.ended("call_1", told=True)
    await asyncio.sleep(60)
    await journal.close()
    assert list(store.entries) == ["call_1"]
    assert store.seen_at == now[0]
