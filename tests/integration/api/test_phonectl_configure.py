"""`phonectl accounts`, `reload` and `dnd` against the real API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.ctl import client as ctl
from phoned.config.report import ConfigError, Origin, Problem
from phoned.errors import InvalidValues
from phoned.model import AccountChanges, ReloadView
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl

ADD = ("accounts", "add", "back", "--aor", "sip:back@example.org", "--proxy", "wss://edge/ws")


async def test_accounts_are_listed_as_ever(running: Running) -> None:
    for args in (("accounts",), ("--json", "accounts"), ("accounts", "--json")):
        done = await phonectl(running, *args)
        assert (done.code, "front" in done.out) == (ctl.OK, True), done


async def test_an_account_is_made_and_removed(running: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    more = ("--backup", "wss://two/ws", "--username", "b", "--profile", "pipe", "--password-file", str(secret))
    done = await phonectl(
        running, *ADD, *more, "--set", "recovery.keepalive_s=30", "--set", "recovery.connect=on_demand"
    )
    assert (done.code, "back" in done.out) == (ctl.OK, True), done
    assert running.phone.documents["back"] == {
        "aor": "sip:back@example.org",
        "outbound_proxy": "wss://edge/ws",
        "outbound_proxy_backup": "wss://two/ws",
        "auth_username": "b",
        "profile": "pipe",
        "password": "hush",
        "recovery": {"keepalive_s": 30, "connect": "on_demand"},
    }
    done = await phonectl(running, *ADD)
    assert "password" not in running.phone.documents["back"]
    call = await running.phone.remote_calls(account="back")
    busy = await phonectl(running, "accounts", "rm", "back")
    assert (busy.code, "no_calls" in busy.err) == (ctl.WRONG_STATE, True)
    left = await phonectl(running, "accounts", "rm", "back", "--drain")
    assert (left.code, "when its calls have ended" in left.out) == (ctl.OK, True)
    await running.phone.remote_hangs_up(call.id)
    gone = await phonectl(running, "accounts", "rm", "back", "--json")
    assert (gone.code, json.loads(gone.out)) == (ctl.OK, None)
    assert (await phonectl(running, "accounts", "rm", "back")).code == ctl.NOT_FOUND


@pytest.mark.parametrize(
    "more",
    [
        ("--set", "recovery"),
        ("--set", ".x=1"),
        ("--set", "aor.x=1"),
        ("--password-file", "/nonexistent/secret"),
    ],
)
async def test_what_makes_no_account_is_exit_2(running: Running, more: tuple[str, ...]) -> None:
    done = await phonectl(running, *ADD, *more)
    assert (done.code, bool(done.err)) == (ctl.USAGE, True), done
    assert not running.phone.documents


async def test_everything_that_is_wrong_has_a_line(running: Running) -> None:
    running.phone.refusal = InvalidValues([("/aor", "no address"), ("/profile", "unknown")])
    done = await phonectl(running, *ADD)
    assert done.code == ctl.USAGE
    assert "  /aor: no address\n  /profile: unknown" in done.err


async def test_a_reload_says_what_it_has_changed(running: Running) -> None:
    assert "nothing has changed" in (await phonectl(running, "reload")).out
    running.phone.reloaded = ReloadView(
        accounts=AccountChanges(added=("b", "c")), applied=("dial.deny",), restart_needed=("api.port",), warnings=("w",)
    )
    done = await phonectl(running, "reload")
    assert done.out.splitlines() == [
        "accounts added: b, c",
        "in force now: dial.deny",
        "after a restart: api.port",
        "note: w",
    ]


async def test_exit_78_for_a_wrong_configuration(running: Running) -> None:
    origin = Origin(source="/etc/phoned/phoned.toml", line=7)
    problems = [Problem(origin=origin, key=key, message="unknown key") for key in ("dial.alow", "api.prt")]
    running.phone.refusal = ConfigError(problems)
    done = await phonectl(running, "reload")
    assert done.code == ctl.BAD_CONFIGURATION == 78
    for problem in problems:
        assert f"  {problem}\n" in done.err


async def test_peace(running: Running) -> None:
    assert "do not disturb: on" in (await phonectl(running, "dnd")).out
    assert json.loads((await phonectl(running, "dnd", "--off", "--json")).out) == {"do_not_disturb": False}
