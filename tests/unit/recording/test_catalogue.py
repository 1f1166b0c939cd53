from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoned.ids import new_id
from phoned.recording import shelf
from phoned.recording.catalogue import Catalogue


def lay(directory: Path, count: int = 1) -> list[str]:
    """Recordings, oldest first."""
    made = [new_id("rec") for _ in range(count)]
    for recording in made:
        (directory / f"{new_id('call')}-{recording}.wav").write_bytes(b"")
    return made


async def look(catalogue: Catalogue) -> set[str]:
    await catalogue.take(await catalogue.look())
    return {view.id for view in catalogue}


async def test_it_holds_what_the_directory_held_at_the_last_look(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    assert await look(catalogue) == set()
    first, second = lay(tmp_path, 2)
    assert catalogue.find(first) is None
    assert await look(catalogue) == {first, second}
    view = catalogue.find(first)
    assert view is not None
    os.unlink(tmp_path / view.file)
    (third,) = lay(tmp_path)
    assert await look(catalogue) == {second, third}


async def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(tmp_path)
    (recording,) = lay(tmp_path)
    await look(catalogue)
    monkeypatch.setattr(shelf, "describe", None)
    assert await look(catalogue) == {recording}


async def test_the_newest_are_kept(tmp_path: Path) -> None:
    made = lay(tmp_path, 5)
    assert await look(Catalogue(tmp_path, keep=3)) == set(made[2:])


async def test_what_is_deleted_between_a_look_and_its_taking_over_does_not_come_back(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    first, second = lay(tmp_path, 2)
    await look(catalogue)
    found = await catalogue.look()
    catalogue.forget(first)
    await catalogue.take(found)
    assert {view.id for view in catalogue} == {second}


async def test_what_is_deleted_while_new_files_are_read_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(tmp_path)
    first, second = lay(tmp_path, 2)
    real = shelf.describe

    def meanwhile(directory: Path, file: str) -> object:
        catalogue.forget(first)
        return real(directory, file)

    monkeypatch.setattr(shelf, "describe", meanwhile)
    assert await look(catalogue) == {second}
