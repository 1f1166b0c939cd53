"""Accounts made at run time on the disk: whole or as before, secrets apart, nothing left lying about."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from phoned.errors import AtCapacity
from phoned.store import accounts as keeping
from phoned.store.accounts import FILE, SECRETS, AccountStore
from phoned.store.atomic import write_atomically

DOCUMENT = {"aor": "sip:a@x.org", "outbound_proxy": "wss://x/"}


def opened(path: Path) -> AccountStore:
    store = AccountStore(path)
    store.load()
    return store


def secrets_of(path: Path) -> list[str]:
    return sorted(file.read_text() for file in (path / SECRETS).glob("*"))


def test_what_was_put_is_there_after_a_restart_and_its_password_apart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert not store.accounts
    store.put("front", DOCUMENT, b"geheim")
    store.put("back", {**DOCUMENT, "credential": "c"}, None)
    again = opened(tmp_path)
    assert again.accounts == {"front": DOCUMENT, "back": {**DOCUMENT, "credential": "c"}}
    assert (again.password("front"), again.password("back"), again.password("none")) == (b"geheim", None, None)
    assert "front" in again
    assert "geheim" not in (tmp_path / FILE).read_text()
    for file in (tmp_path / FILE, *(tmp_path / SECRETS).iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / SECRETS).stat().st_mode) == 0o700


def test_another_password_takes_the_place_of_the_first_and_a_removal_takes_both(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put("front", DOCUMENT, b"one")
    store.put("front", {**DOCUMENT, "profile": "pipe"}, b"two")
    assert secrets_of(tmp_path) == ["two"]
    store.remove("front")
    assert secrets_of(tmp_path) == []
    assert not opened(tmp_path).accounts
    store.remove("front")


@pytest.mark.parametrize("nth", [1, 2])
def test_a_disk_that_refuses_leaves_what_was(tmp_path: Path, nth: int) -> None:
    writes = 0

    def write(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == 2 + nth:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    store = AccountStore(tmp_path, write=write)
    store.load()
    store.put("front", DOCUMENT, b"one")
    with pytest.raises(OSError, match="No space"):
        store.put("front", {**DOCUMENT, "profile": "pipe"}, b"two")
    for seen in (store, opened(tmp_path)):
        assert seen.accounts == {"front": DOCUMENT}
        assert seen.password("front") == b"one"
    assert secrets_of(tmp_path) == ["one"]


def test_a_removal_that_cannot_be_written_has_not_happened(tmp_path: Path) -> None:
    opened(tmp_path).put("front", DOCUMENT, b"one")

    def write(path: Path, content: bytes) -> None:
        raise OSError(30, "Read-only file system")

    store = AccountStore(tmp_path, write=write)
    store.load()
    with pytest.raises(OSError, match="Read-only"):
        store.remove("front")
    assert "front" in store
    assert store.password("front") == b"one"


def test_secrets_that_a_crash_has_left_go_with_the_next_start(tmp_path: Path) -> None:
    opened(tmp_path).put("front", DOCUMENT, b"one")
    (tmp_path / SECRETS / "front.0").write_text("left over")
    opened(tmp_path)
    assert secrets_of(tmp_path) == ["one"]
    (tmp_path / FILE).unlink()
    opened(tmp_path)
    assert secrets_of(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"accounts": 5}',
        '{"accounts": {"a": {"settings": 5, "secret": null}}}',
        '{"accounts": {"a": {"settings": {}, "secret": "../tokens.json"}}}',
        '{"accounts": {"a": {}}}',
    ],
)
def test_a_damaged_file_is_set_aside_and_its_secrets_are_left_alone(tmp_path: Path, content: str) -> None:
    opened(tmp_path).put("front", DOCUMENT, b"one")
    (tmp_path / FILE).write_text(content)
    store = opened(tmp_path)
    assert not store.accounts
    (aside,) = tmp_path.glob(f"{FILE}.damaged-*")
    assert aside.read_text() == content
    assert secrets_of(tmp_path) == ["one"]
    store.put("new", DOCUMENT, None)
    assert set(json.loads((tmp_path / FILE).read_text())["accounts"]) == {"new"}


def test_a_file_that_cannot_be_read_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    store = opened(tmp_path)
    with pytest.raises(OSError, match="directory"):
        store.put("front", DOCUMENT, b"one")
    with pytest.raises(OSError, match="directory"):
        store.remove("front")
    assert (tmp_path / FILE).is_dir()


def test_a_secret_whose_file_is_gone_is_none_and_one_that_cannot_go_stays(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put("front", DOCUMENT, b"one")
    (secret,) = (tmp_path / SECRETS).iterdir()
    secret.unlink()
    assert store.password("front") is None
    secret.mkdir()
    store.put("front", DOCUMENT, b"two")
    assert store.password("front") == b"two"


def test_so_many_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 1)
    store = opened(tmp_path)
    store.put("front", DOCUMENT, None)
    store.put("front", DOCUMENT, b"x")
    with pytest.raises(AtCapacity):
        store.put("back", DOCUMENT, None)
