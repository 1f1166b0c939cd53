from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoned.config.types import Secret
from phoned.errors import InternalError
from phoned.store import outbox as outbox_module
from phoned.store.database import Database
from phoned.store.outbox import SqliteOutbox
from phoned.webhook import Attempted, DeliveryState, Parcel, StoredWebhook, Waiting

NOW = datetime(2026, 11, 21, 10, 0, 0, 123_000, tzinfo=UTC)
HOOK = StoredWebhook(
    id="wh_1",
    source="api",
    url="https://example.org/",
    events=("call.*", "system.*"),
    enabled=True,
    secret=Secret(b"whsec_x"),
    created_at=NOW,
    cursor=7,
)


def parcel(number: int) -> Parcel:
    return Parcel(
        id=f"evt_{number}", type="call.ended", seq=number, lane="call_1", body=f"body {number}", created_at=NOW
    )


def attempted(place: int, state: DeliveryState, **facts: object) -> Attempted:
    made = Attempted(place=place, state=state, attempts=1, step=1, at=NOW, next_at=None, status=None, error=None)
    return replace(made, **facts)  # type: ignore[arg-type]  # its fields


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(tmp_path / "phoned.sqlite3")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def outbox(database: Database) -> SqliteOutbox:
    made = SqliteOutbox(database)
    await made.open()
    await made.add(HOOK)
    return made


async def test_a_webhook_comes_back_as_it_was_kept(outbox: SqliteOutbox) -> None:
    assert await outbox.load() == [HOOK]
    failing = replace(HOOK, enabled=False, last_status=500, failing_since=NOW, disabled_reason="failing", secret=None)
    await outbox.update(replace(failing, cursor=99))
    assert await outbox.load() == [failing]  # the cursor moves with parcels alone


async def test_parcels_and_cursor_are_kept_together(outbox: SqliteOutbox) -> None:
    places = await outbox.put("wh_1", [parcel(8), parcel(9)], 9)
    assert places == sorted(places)
    assert (await outbox.load())[0].cursor == 9
    waiting = await outbox.waiting("wh_1")
    assert waiting[0] == Waiting(
        place=places[0], id="evt_8", type="call.ended", seq=8, lane="call_1", attempts=0, step=0, next_at=NOW
    )
    assert [one.id for one in waiting] == ["evt_8", "evt_9"]
    assert await outbox.body(places[1]) == "body 9"
    assert await outbox.body(4711) is None


async def test_what_was_put_before_is_not_put_twice(outbox: SqliteOutbox) -> None:
    (place,) = await outbox.put("wh_1", [parcel(8)], 8)
    again = await outbox.put("wh_1", [parcel(8), parcel(9)], None)
    assert again[0] == 0
    assert again[1] > place
    assert (await outbox.load())[0].cursor == 8


async def test_nothing_is_put_for_a_webhook_that_is_gone(outbox: SqliteOutbox) -> None:
    await outbox.put("wh_1", [parcel(8)], 8)
    await outbox.remove("wh_1")
    assert await outbox.load() == []
    assert await outbox.waiting("wh_1") == []
    assert await outbox.delivery("wh_1", "evt_8") is None
    with pytest.raises(InternalError):
        await outbox.put("wh_1", [parcel(9)], 9)


async def test_how_an_attempt_ended_is_kept_with_what_it_means_for_the_webhook(outbox: SqliteOutbox) -> None:
    (place,) = await outbox.put("wh_1", [parcel(8)], 8)
    later = NOW + timedelta(seconds=5)
    failing = replace(HOOK, last_status=500, failing_since=NOW, cursor=8)
    await outbox.note(failing, attempted(place, "pending", next_at=later, status=500, error="HTTP 500"))
    assert await outbox.load() == [failing]
    (waiting,) = await outbox.waiting("wh_1")
    assert (waiting.attempts, waiting.step, waiting.next_at) == (1, 1, later)
    await outbox.note(replace(failing, failing_since=None), attempted(place, "delivered", attempts=2, status=204))
    assert await outbox.waiting("wh_1") == []
    view = await outbox.delivery("wh_1", "evt_8")
    assert view is not None
    assert (view.state, view.attempts, view.last_status, view.last_error) == ("delivered", 2, 204, None)
    assert (view.finished_at, view.next_attempt_at, view.created_at) == (NOW, None, NOW)


async def test_what_is_finished_begins_again_when_asked(outbox: SqliteOutbox) -> None:
    (place,) = await outbox.put("wh_1", [parcel(8)], 8)
    await outbox.note(HOOK, attempted(place, "failed", attempts=10, step=10))
    again = await outbox.again("wh_1", "evt_8", NOW)
    assert again is not None
    assert (again.place, again.attempts, again.step) == (place, 10, 0)
    assert await outbox.waiting("wh_1") == [again]
    assert await outbox.again("wh_1", "evt_9", NOW) is None


async def test_deliveries_are_read_in_pages_newest_first(outbox: SqliteOutbox) -> None:
    places = await outbox.put("wh_1", [parcel(number) for number in range(1, 6)], 5)
    await outbox.note(HOOK, attempted(places[1], "delivered"))
    first = await outbox.deliveries("wh_1", state=None, before=None, limit=2)
    assert [one.id for one in first.deliveries] == ["evt_5", "evt_4"]
    second = await outbox.deliveries("wh_1", state=None, before=first.before, limit=3)
    assert [one.id for one in second.deliveries] == ["evt_3", "evt_2", "evt_1"]
    assert second.before is None
    pending = await outbox.deliveries("wh_1", state="pending", before=None, limit=10)
    assert [one.id for one in pending.deliveries] == ["evt_5", "evt_4", "evt_3", "evt_1"]


async def test_of_what_is_finished_the_newest_stay(outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "KEPT", 2)
    places = await outbox.put("wh_1", [parcel(number) for number in range(1, 7)], 6)
    for place in places[:4]:
        await outbox.note(HOOK, attempted(place, "delivered"))
    await outbox.note(HOOK, attempted(places[4], "failed"))
    page = await outbox.deliveries("wh_1", state=None, before=None, limit=10)
    assert [(one.id, one.state) for one in page.deliveries] == [
        ("evt_6", "pending"),
        ("evt_5", "failed"),
        ("evt_4", "delivered"),
        ("evt_3", "delivered"),
    ]
