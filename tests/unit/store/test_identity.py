"""The registration identity survives crashes, damage and a disk that refuses."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from phoned.store.atomic import write_atomically
from phoned.store.identity import FILE, STEP, IdentityStore, RegistrationIdentity


async def opened(directory: Path) -> IdentityStore:
    store = IdentityStore(directory)
    await store.load()
    return store


def on_disk(directory: Path, account: str = "front") -> int:
    return int(json.loads((directory / FILE).read_text())["accounts"][account]["cseq"])


async def test_a_new_account_gets_an_identity_that_is_on_disk_at_once(tmp_path: Path) -> None:
    store = await opened(tmp_path / "state")
    identity = await store.open_account("front")
    assert identity.instance_id.startswith("urn:uuid:")
    assert (identity.reg_id, identity.cseq) == (1, 0)
    assert on_disk(tmp_path / "state") == STEP
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_a_clean_stop_goes_on_with_the_next_number(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    first = await store.open_account("front")
    store.used("front", call_id=first.call_id, cseq=3)
    await store.close()
    second = await (await opened(tmp_path)).open_account("front")
    assert second == RegistrationIdentity(instance_id=first.instance_id, call_id=first.call_id, cseq=3)


@pytest.mark.parametrize("registers", [0, 1, 31, 32, 33, 64, 100, 1000])
async def test_a_crash_after_any_number_of_registers_never_uses_a_number_twice(tmp_path: Path, registers: int) -> None:
    store = await opened(tmp_path)
    identity = await store.open_account("front")
    for cseq in range(1, registers + 1):
        store.used("front", call_id=identity.call_id, cseq=cseq)
        if store._writing is not None:
            await store._writing
    # no close: the process was killed
    after = await (await opened(tmp_path)).open_account("front")
    assert after.cseq >= registers
    assert (after.instance_id, after.call_id) == (identity.instance_id, identity.call_id)


async def test_writes_are_few(tmp_path: Path) -> None:
    writes = 0

    def write(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        write_atomically(path, content)

    store = IdentityStore(tmp_path, write=write)
    await store.load()
    identity = await store.open_account("front")
    for cseq in range(1, 321):
        store.used("front", call_id=identity.call_id, cseq=cseq)
        if store._writing is not None:
            await store._writing
    assert writes <= 1 + 320 // (STEP // 2)
    await store.close()


async def test_a_new_call_id_is_written_at_once(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.open_account("front")
    store.used("front", call_id="another", cseq=1)
    await store.close()
    assert (await (await opened(tmp_path)).open_account("front")).call_id == "another"


async def test_a_change_during_a_write_is_written_too(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.open_account("front")
    store.used("front", call_id="one", cseq=1)
    await asyncio.sleep(0)
    store.used("front", call_id="two", cseq=2)
    await store.close()
    assert (await (await opened(tmp_path)).open_account("front")).call_id == "two"


async def test_near_the_top_a_new_call_id_begins(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    identity = await store.open_account("front")
    store.used("front", call_id=identity.call_id, cseq=2**31 - 50_000)
    await store.close()
    after = await (await opened(tmp_path)).open_account("front")
    assert after.cseq == 0
    assert after.call_id != identity.call_id
    assert after.instance_id == identity.instance_id


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'{"accounts": 3}', b"\xff\xfe", b'{"accounts": ' + b"[" * 100_000, b"\0" * 4096],
    ids=["empty", "cut", "list", "number", "no-accounts", "not-utf8", "deep", "zeros"],
)
async def test_a_damaged_file_is_set_aside_and_the_phone_goes_on(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    store = await opened(tmp_path)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes() == content
    assert "damaged" in caplog.text
    assert (await store.open_account("front")).cseq == 0
    await store.close()
    assert (await opened(tmp_path)).set_aside is None


@pytest.mark.parametrize(
    "change",
    [
        {"instance_id": "urn:uuid:nope"},
        {"reg_id": 0},
        {"cseq": -1},
        {"cseq": 2**31},
        {"cseq": "7"},
        {"call_id": "a\r\nVia: b"},
        {"call_id": None},
    ],
)
async def test_a_bad_entry_costs_that_account_alone(tmp_path: Path, change: dict[str, object]) -> None:
    store = await opened(tmp_path)
    good = await store.open_account("good")
    await store.open_account("bad")
    await store.close()
    document = json.loads((tmp_path / FILE).read_text())
    document["accounts"]["bad"].update(change)
    (tmp_path / FILE).write_text(json.dumps(document))
    again = await opened(tmp_path)
    assert again.set_aside is not None
    assert (await again.open_account("good")).instance_id == good.instance_id
    assert (await again.open_account("bad")).cseq == 0


async def test_a_disk_that_refuses_costs_a_log_line_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def write(path: Path, content: bytes) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    store = IdentityStore(tmp_path, write=write)
    await store.load()
    identity = await store.open_account("front")
    assert "No space left" in caplog.text
    broken = False
    store.used("front", call_id=identity.call_id, cseq=STEP)
    await store.close()
    assert on_disk(tmp_path) == STEP


async def test_a_crash_of_the_writer_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def write(path: Path, content: bytes) -> None:
        raise RuntimeError("a bug")

    store = IdentityStore(tmp_path, write=write)
    await store.load()
    await store.open_account("front")
    await asyncio.sleep(0)
    assert "a bug" in caplog.text


async def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    store = await opened(tmp_path)
    assert "cannot be read" in caplog.text
    assert (await store.open_account("front")).cseq == 0


def test_a_failing_write_keeps_the_old_file_and_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x"
    write_atomically(target, b"old", mode=0o640)
    assert target.stat().st_mode & 0o777 == 0o640
    for name in ("fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(5, "EIO")))
            with pytest.raises(OSError, match="EIO"):
                write_atomically(target, b"new")
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["x"]
