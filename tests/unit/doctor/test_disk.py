"""The state directory, looked at without leaving a trace."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from phoned.doctor import disk
from phoned.doctor.chain import Chain
from phoned.doctor.surroundings import free_bytes
from phoned.model import CheckView


async def looked(
    state: Path, recordings: Path | None = None, free: Callable[[Path], int] = lambda directory: 3 * 2**30
) -> CheckView:
    chain = Chain("disk")
    await disk.check(chain, state, recordings or state / "recordings", free)
    [check] = chain.checks
    return check


async def test_one_that_is_there_and_one_that_will_be_made(tmp_path: Path) -> None:
    there = await looked(tmp_path)
    assert (there.ok, there.detail) == (True, f"{tmp_path} can be written, 3.0 GiB free")
    later = await looked(tmp_path / "a" / "b", free=free_bytes)
    assert (later.ok, "will be made" in later.detail) == (True, True)
    assert os.listdir(tmp_path) == []


async def test_the_recordings_count_too(tmp_path: Path) -> None:
    check = await looked(
        tmp_path / "state", tmp_path / "rec", lambda directory: 2**20 if directory.name == "rec" else 2**30
    )
    assert check.ok is True  # both are one disk until they exist
    (tmp_path / "rec").mkdir()
    check = await looked(
        tmp_path / "state", tmp_path / "rec", lambda directory: 2**20 if directory.name == "rec" else 2**30
    )
    assert (check.ok, check.detail) == (False, f"{tmp_path / 'rec'}: 1 MiB free, which is less than 32 MiB")


async def test_files_of_another_owner_than_the_directory(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    database = tmp_path / "phoned.sqlite3"
    database.touch()
    os.chown(database, 54321, 54321)
    check = await looked(tmp_path)
    assert check.ok is False
    assert "belongs to 54321, its directory to root" in check.detail
    assert check.fix == f"chown -R root: {tmp_path}"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
async def test_an_error_of_the_disk_is_told(tmp_path: Path, number: int) -> None:
    def fail(directory: Path) -> int:
        raise OSError(number, os.strerror(number), str(directory))

    check = await looked(tmp_path, free=fail)
    assert check.ok is False
    assert os.strerror(number) in check.detail


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "mount it writable"),
        (errno.EACCES, "chown -R"),
        (errno.EIO, "[phone] state_dir"),
    ],
)
async def test_a_directory_that_takes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    def refuse(**options: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    check = await looked(tmp_path)
    assert check.ok is False
    assert fix in (check.fix or "")


async def test_a_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    check = await looked(tmp_path / "later")
    assert check.ok is False
    assert "may not write" in check.detail


async def test_a_disk_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(directory: Path) -> int:
        release.wait(10)
        return 0

    monkeypatch.setattr(disk, "DEADLINE_S", 0.01)
    check = await looked(tmp_path, free=hang)
    release.set()
    assert check.ok is False
    assert "no answer within 0.01 s" in check.detail


def test_who_may_not_write_hears_whose_it_is(tmp_path: Path) -> None:
    sick = disk._denied(tmp_path / "x", tmp_path)
    owner = disk._name(os.geteuid())
    assert sick.detail == f"{tmp_path / 'x'}: {owner} may not write in {tmp_path}, which belongs to {owner}"
    assert "chown -R" in sick.fix


def test_an_unknown_user_is_a_number() -> None:
    assert disk._name(54321) == "54321"
