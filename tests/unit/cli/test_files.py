"""Several files as one: all or none, and nothing old is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from phoned.cli.files import NewFile, write_all


def new(path: Path, content: str, mode: int = 0o600, group: int | None = None) -> NewFile:
    return NewFile(path=path, content=content.encode(), mode=mode, group=group)


def test_the_old_ones_are_kept_under_names_that_were_free(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert write_all([new(file, "1")]) == []
    assert write_all([new(file, "2")]) == [tmp_path / "a.bak"]
    assert write_all([new(file, "3", 0o640)]) == [tmp_path / "a.bak2"]
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["3", "1", "2"]
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_when_one_fails_all_is_as_it_was(tmp_path: Path, error: BaseException, there: bool, late: bool) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    if there:
        one.write_text("old one")
        other.write_text("old other")

    def write(file: NewFile) -> None:
        if file.path == one or late:
            file.path.unlink(missing_ok=True)
            file.path.write_bytes(file.content)
        if file.path == other:
            raise error

    with pytest.raises(type(error)):
        write_all([new(one, "new"), new(other, "new")], write)
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == ({"one": "old one", "other": "old other"} if there else {})


def test_an_interrupt_waits_until_it_is_done(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:

        def write(file: NewFile) -> None:
            signal.raise_signal(signal.SIGINT)
            assert seen == []
            file.path.write_bytes(file.content)

        write_all([new(tmp_path / "a", "1")], write)
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_group_may_read_where_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_all([new(file, "1", 0o640, os.getegid())])
    assert (file.stat().st_mode & 0o777, file.stat().st_gid) == (0o640, os.getegid())


def test_too_many_old_copies_are_refused_and_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phoned.cli.files.MOST_COPIES", 2)
    file = tmp_path / "a"
    write_all([new(file, "1")])
    write_all([new(file, "2")])
    with pytest.raises(FileExistsError, match="remove some"):
        write_all([new(file, "3")])
    assert file.read_text() == "2"
