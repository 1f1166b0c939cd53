from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoned.errors import InvalidValue
from phoned.store.logins import (
    CODE_LIFE,
    MOST_CODES,
    SESSION_LIFE,
    Session,
    console_link,
    end_session,
    exchange_login,
    issue_login,
)
from phoned.store.tokenfile import FILE, Entries, read
from phoned.store.tokens import SCOPES, Scope, TokenStore, issue_token

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def entries(state: Path) -> Entries:
    return read(state / FILE)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_code_becomes_a_session_of_its_scope(tmp_path: Path, scope: Scope) -> None:
    session = exchange_login(tmp_path, issue_login(tmp_path, scope))
    assert session is not None
    assert session.scope == scope
    found = TokenStore(tmp_path).find(session.token)
    assert found is not None
    assert (found.id, found.scope, found.expires_at is None) == (session.id, scope, False)


def test_a_session_is_held_until_it_is_over_or_ended(tmp_path: Path) -> None:
    lasting = TokenStore(tmp_path).find(issue_token(tmp_path, "read"))
    assert lasting is not None
    session = exchange_login(tmp_path, issue_login(tmp_path, "call", now=NOW), now=NOW)
    assert session is not None
    assert TokenStore(tmp_path, clock=lambda: NOW).holds(session.id)
    late = TokenStore(tmp_path, clock=lambda: NOW + SESSION_LIFE)
    assert not late.holds(session.id)
    assert late.holds(lasting.id)
    assert end_session(tmp_path, session.id)
    assert not TokenStore(tmp_path, clock=lambda: NOW).holds(session.id)


def test_a_code_is_good_once(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call")
    assert exchange_login(tmp_path, code) is not None
    assert exchange_login(tmp_path, code) is None
    assert not TokenStore(tmp_path).knows_login(code)


def test_of_many_who_use_a_code_at_once_one_gets_in(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call")
    got: list[Session | None] = []
    threads = [threading.Thread(target=lambda: got.append(exchange_login(tmp_path, code))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([session for session in got if session is not None]) == 1
    assert len(entries(tmp_path).tokens) == 1


def test_a_code_is_over_after_five_minutes(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call", now=NOW)
    assert exchange_login(tmp_path, code, now=NOW + CODE_LIFE) is None
    assert entries(tmp_path).logins == []
    code = issue_login(tmp_path, "call", now=NOW)
    assert exchange_login(tmp_path, code, now=NOW + CODE_LIFE - timedelta(seconds=1)) is not None


def test_a_code_is_no_token_and_a_token_no_code(tmp_path: Path) -> None:
    code, token = issue_login(tmp_path, "admin"), issue_token(tmp_path, "admin")
    store = TokenStore(tmp_path)
    assert store.find(code) is None
    assert store.knows_login(code)
    assert not store.knows_login(token)
    assert exchange_login(tmp_path, token) is None
    assert store.find(token) is not None


def test_the_file_holds_neither_code_nor_session_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call")
    text = (tmp_path / FILE).read_text()
    session = exchange_login(tmp_path, issue_login(tmp_path, "call"))
    assert session is not None
    text += (tmp_path / FILE).read_text()
    assert code.removeprefix("phoned_login_") not in text
    assert session.token.removeprefix("phoned_") not in text
    assert session.token not in repr(session)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call", now=NOW)
    session = exchange_login(tmp_path, code, now=NOW)
    assert session is not None
    moment = NOW
    store = TokenStore(tmp_path, clock=lambda: moment)
    assert store.find(session.token) is not None
    moment = NOW + SESSION_LIFE
    assert store.find(session.token) is None


def test_a_session_is_ended_and_a_lasting_token_is_not(tmp_path: Path) -> None:
    session = exchange_login(tmp_path, issue_login(tmp_path, "call"))
    token = issue_token(tmp_path, "call")
    store = TokenStore(tmp_path)
    lasting = store.find(token)
    assert session is not None
    assert lasting is not None
    assert end_session(tmp_path, session.id)
    assert not end_session(tmp_path, session.id)
    assert not end_session(tmp_path, lasting.id)
    assert store.find(session.token) is None
    assert store.find(token) is not None


def test_what_is_over_is_forgotten_and_open_codes_are_few(tmp_path: Path) -> None:
    session = exchange_login(tmp_path, issue_login(tmp_path, "call", now=NOW), now=NOW)
    token = issue_token(tmp_path, "read")
    assert session is not None
    later = NOW + SESSION_LIFE + CODE_LIFE
    codes = [issue_login(tmp_path, "call", now=later) for _ in range(MOST_CODES + 1)]
    kept = entries(tmp_path)
    assert len(kept.logins) == MOST_CODES
    assert len(kept.tokens) == 1
    assert TokenStore(tmp_path).find(token) is not None
    assert exchange_login(tmp_path, codes[0], now=later) is None
    assert exchange_login(tmp_path, codes[-1], now=later) is not None


@pytest.mark.parametrize("moment", ["soon", "2026-11-21T12:00:00", 3, []])
def test_an_end_that_cannot_be_read_has_passed(tmp_path: Path, moment: object) -> None:
    session = exchange_login(tmp_path, issue_login(tmp_path, "call"))
    assert session is not None
    document = json.loads((tmp_path / FILE).read_text())
    document["tokens"][0]["expires_at"] = moment
    (tmp_path / FILE).write_text(json.dumps(document))
    assert TokenStore(tmp_path).find(session.token) is None
    issue_login(tmp_path, "call")
    assert entries(tmp_path).tokens == []


def test_a_code_of_a_scope_that_there_is_not_opens_nothing(tmp_path: Path) -> None:
    code = issue_login(tmp_path, "call")
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace('"call"', '"god"'))
    assert exchange_login(tmp_path, code) is None
    with pytest.raises(InvalidValue, match="one of read"):
        issue_login(tmp_path, "god")  # type: ignore[arg-type]  # what the check is for


def test_the_link_is_one_that_browsers_understand() -> None:
    assert console_link("127.0.0.1", 8760, "c") == "http://127.0.0.1:8760/console/#login=c"
    assert console_link("::1", 8760, "c") == "http://[::1]:8760/console/#login=c"
