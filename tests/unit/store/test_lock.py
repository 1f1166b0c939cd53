"""One daemon per state directory, whatever became of the last one."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phoned.errors import UnavailableError
from phoned.store.lock import EXIT_STATUS, FILE, AlreadyRunning, StateLock, owner_alive


def test_the_second_one_hears_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    with StateLock(tmp_path), pytest.raises(AlreadyRunning) as refusal:
        StateLock(tmp_path).acquire()
    detail = refusal.value.detail
    assert f"process {os.getpid()}" in detail
    assert str(tmp_path) in detail
    assert "Fix: " in detail
    assert "state_dir" in detail
    assert isinstance(refusal.value, UnavailableError)
    assert EXIT_STATUS == os.EX_TEMPFAIL


def test_a_refused_one_leaves_the_owner_its_lock_and_its_number(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        for _ in range(2):
            with pytest.raises(AlreadyRunning):
                StateLock(tmp_path).acquire()
        assert (tmp_path / FILE).read_text() == f"{os.getpid()}\n"


def test_it_can_be_had_again_after_a_release_which_may_be_repeated(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.acquire()
    lock.release()
    lock.release()
    with StateLock(tmp_path):
        assert (tmp_path / FILE).exists()


def test_other_directories_are_other_locks(tmp_path: Path) -> None:
    with StateLock(tmp_path / "a"), StateLock(tmp_path / "b"):
        assert (tmp_path / "a" / FILE).exists()


def test_directory_and_file_are_for_us_alone(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "no number\n", "\N{SUPERSCRIPT TWO}", "1" * 500])
def test_a_damaged_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with StateLock(tmp_path):
        assert (tmp_path / FILE).read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "no number\n", "\N{SUPERSCRIPT TWO}"])
def test_an_owner_that_cannot_be_named_still_has_it(tmp_path: Path, content: str) -> None:
    with StateLock(tmp_path):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(AlreadyRunning, match="another phoned has"):
            StateLock(tmp_path).acquire()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / FILE).symlink_to(victim)
    with pytest.raises(OSError, match=str(tmp_path)) as refusal:
        StateLock(tmp_path).acquire()
    assert refusal.value.errno == errno.ELOOP
    assert victim.read_text() == "keep"


def test_a_fifo_in_its_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with StateLock(tmp_path):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="can be locked") as refusal:
        StateLock(tmp_path).acquire()
    assert refusal.value.filename == str(tmp_path / FILE)


def test_a_full_disk_costs_the_number_and_not_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with StateLock(tmp_path), pytest.raises(AlreadyRunning):
        StateLock(tmp_path).acquire()


def test_a_killed_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    holder = "from pathlib import Path; from phoned.store.lock import StateLock; import sys\n"
    holder += f"StateLock(Path({str(tmp_path)!r})).acquire(); print('locked', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyRunning, match=f"process {process.pid}"):
            StateLock(tmp_path).acquire()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with StateLock(tmp_path):
        pass


def test_a_process_that_we_start_does_not_inherit_it(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.acquire()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        lock.release()
        with StateLock(tmp_path):
            pass
        child.kill()


def test_whether_the_owner_lives_is_asked_without_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not owner_alive(tmp_path)
    with StateLock(tmp_path):
        assert owner_alive(tmp_path)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / FILE).write_bytes(gone.stdout)
    assert not owner_alive(tmp_path)
    (tmp_path / FILE).write_text("nonsense")
    assert not owner_alive(tmp_path)

    def denied(number: int, what: int) -> None:
        raise PermissionError

    (tmp_path / FILE).write_text("1")
    monkeypatch.setattr(os, "kill", denied)
    assert owner_alive(tmp_path)  # another user's
