"""The audit log: every order a line, no line unnoticed when it is changed, never more than its bound."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from phoned.store import audit
from phoned.store.audit import FILE, AuditLog, append, check, entry_of


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def entry(number: int) -> Any:
    return entry_of(noon, who="tok_1", what="POST /v1/calls", outcome="ok", target=f"call_{number}", request=None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line.text) for line in check(path)]


async def test_orders_reach_the_disk_in_order(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, clock=noon)
    for number in range(3):
        log.note(who="uid:0", what="DELETE /v1/accounts/{account}", outcome="ok", target=f"a{number}", status=204)
    await log.close()
    await log.close()
    found = lines(tmp_path)
    assert [each["target"] for each in found] == ["a0", "a1", "a2"]
    assert found[0] == {
        "time": "2026-11-20T12:00:00.000Z",
        "who": "uid:0",
        "what": "DELETE /v1/accounts/{account}",
        "outcome": "ok",
        "target": "a0",
        "status": 204,
        "prev": found[0]["prev"],
    }
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


async def test_a_disk_that_refuses_costs_a_line_in_the_log_and_no_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PENDING", 2)
    log = AuditLog(tmp_path / "none", clock=noon)
    for _ in range(5):
        log.note(who="x", what="y", outcome="ok")
    await log.close()
    assert "3 entries were not written" in caplog.text  # two, and one that says that three were lost
    (tmp_path / "none").mkdir()
    log.note(who="x", what="z", outcome="ok")
    await log.close()
    assert [each["what"] for each in lines(tmp_path / "none")] == ["z"]


def test_a_line_that_was_changed_or_taken_out_is_seen(tmp_path: Path) -> None:
    append(tmp_path / FILE, [entry(1), entry(2)])
    append(tmp_path / FILE, [entry(3), entry(4)])
    assert [line.whole for line in check(tmp_path)] == [True] * 4
    file = tmp_path / FILE
    text = file.read_text()
    file.write_text(text.replace("call_2", "call_9"))
    assert [line.whole for line in check(tmp_path)] == [True, True, False, True]
    rows = text.splitlines(keepends=True)
    file.write_text("".join((rows[0], *rows[2:])))
    assert [line.whole for line in check(tmp_path)] == [True, False, True]


def test_a_torn_line_is_closed_and_goes_on(tmp_path: Path) -> None:
    append(tmp_path / FILE, [entry(1)])
    with (tmp_path / FILE).open("a") as file:
        file.write('{"who": "to')
    append(tmp_path / FILE, [entry(2)])
    assert [line.whole for line in check(tmp_path)] == [True, False, True]


def test_the_file_is_bounded_and_the_chain_goes_on_over_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 500)
    for number in range(40):
        append(tmp_path / FILE, [entry(number)])
    parts = sorted(path.name for path in tmp_path.iterdir())
    assert parts == [FILE, f"{FILE}.1", f"{FILE}.2", f"{FILE}.3"]
    assert all(path.stat().st_size < 800 for path in tmp_path.iterdir())
    found = list(check(tmp_path))
    assert all(line.whole for line in found)
    assert json.loads(found[-1].text)["target"] == "call_39"
    assert len(found) < 40


async def test_many_writers_keep_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 4000)
    await asyncio.gather(*(asyncio.to_thread(append, tmp_path / FILE, [entry(number)]) for number in range(60)))
    found = list(check(tmp_path))
    assert all(line.whole for line in found)
    assert len({json.loads(line.text)["target"] for line in found}) == 60


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        append(tmp_path / FILE, [entry(1)])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_writes_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    append(tmp_path / FILE, [entry(1)])
    assert (tmp_path / FILE).stat().st_uid == 65534
