from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from phoned.errors import InvalidValue
from phoned.store.tokens import FILE, SCOPES, Scope, TokenStore, grants, issue_token


def test_a_token_is_found_with_its_scope(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "call")
    found = TokenStore(tmp_path).find(token)
    assert found is not None
    assert found.scope == "call"
    assert found.id.startswith("tok_")


def test_a_token_has_256_bits_and_a_prefix(tmp_path: Path) -> None:
    first, second = issue_token(tmp_path, "read"), issue_token(tmp_path, "read")
    assert first != second
    assert first.startswith("phoned_")
    assert len(first) == len("phoned_") + 43


def test_the_file_holds_no_token_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    token = issue_token(tmp_path / "state", "admin")
    file = tmp_path / "state" / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in file.read_text()
    assert token.removeprefix("phoned_") not in file.read_text()


@pytest.mark.parametrize("wrong", ["", "phoned_", "x" * 50, "phoned_" + "A" * 43, "\udcff", "é"])
def test_other_text_is_no_token(tmp_path: Path, wrong: str) -> None:
    issue_token(tmp_path, "admin")
    assert TokenStore(tmp_path).find(wrong) is None


def test_without_a_file_nothing_is_a_token(tmp_path: Path) -> None:
    assert TokenStore(tmp_path).find("phoned_x") is None


def test_a_token_made_while_the_store_is_open_works(tmp_path: Path) -> None:
    first = issue_token(tmp_path, "read")
    store = TokenStore(tmp_path)
    assert store.find(first) is not None
    second = issue_token(tmp_path, "admin")
    assert store.find(second) is not None
    assert store.find(first) is not None


def test_removing_the_file_revokes_all(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "read")
    store = TokenStore(tmp_path)
    assert store.find(token) is not None
    (tmp_path / FILE).unlink()
    assert store.find(token) is None


@pytest.mark.parametrize("damage", ["", "nonsense", "[]", '{"tokens": 3}', '{"tokens": [3]}', "{}"])
def test_a_damaged_file_lets_nobody_in_and_is_not_overwritten(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(damage)
    (tmp_path / FILE).chmod(0o600)
    assert TokenStore(tmp_path).find("phoned_x") is None
    assert "no token is accepted" in caplog.text
    with pytest.raises(InvalidValue, match="damaged"):
        issue_token(tmp_path, "read")
    assert (tmp_path / FILE).read_text() == damage


def test_entries_that_are_not_understood_are_passed_over(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "read")
    text = (tmp_path / FILE).read_text().replace('"tokens": [', '"tokens": [{"scope": "god", "hash": "0"}, {},')
    (tmp_path / FILE).write_text(text)
    assert TokenStore(tmp_path).find(token) is not None


def test_a_file_that_others_may_write_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = issue_token(tmp_path, "admin")
    (tmp_path / FILE).chmod(0o622)
    assert TokenStore(tmp_path).find(token) is None
    assert "chmod 600" in caplog.text


def test_an_unknown_scope_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="one of read, call, media, admin"):
        issue_token(tmp_path, "root")  # type: ignore[arg-type]  # what the check is for
    assert not (tmp_path / FILE).exists()


def test_tokens_issued_at_once_are_all_kept(tmp_path: Path) -> None:
    issued: list[str] = []
    threads = [threading.Thread(target=lambda: issued.append(issue_token(tmp_path, "read"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = TokenStore(tmp_path)
    assert all(store.find(token) for token in issued)
    assert len(issued) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_token_made_by_root_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 12345, 12345)
    issue_token(state, "read")
    assert (state / FILE).stat().st_uid == 12345


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "read")
    kept = tmp_path / "kept"
    (tmp_path / FILE).rename(kept)
    (tmp_path / FILE).symlink_to(kept)
    issue_token(tmp_path, "read")  # a link is replaced, not followed
    assert not (tmp_path / FILE).is_symlink()
    assert token not in kept.read_text()
    assert TokenStore(tmp_path).find(token) is not None


LADDER: dict[Scope, set[Scope]] = {
    "read": {"read"},
    "call": {"read", "call"},
    "media": {"read", "media"},
    "admin": {"read", "call", "media", "admin"},
}


@pytest.mark.parametrize("held", SCOPES)
def test_scopes_form_a_ladder_with_media_beside_call(held: Scope) -> None:
    assert {needed for needed in SCOPES if grants(held, needed)} == LADDER[held]
