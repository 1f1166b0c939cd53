"""The command line, as a process would run it: exit codes, stdout for data, stderr for notes, no secret anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phoned import cli
from phoned.cli.check_config import hidden, leaves
from phoned.cli.init import account_id, render, sound_found, units_state_dir
from phoned.config.load import load_config
from phoned.errors import WrongState
from phoned.store.lock import StateLock
from phoned.store.logins import exchange_login

ACCOUNT = """\
[phone]
state_dir = "state"
[[accounts]]
id = "front"
aor = "sip:alice@example.org"
password_file = "alice.secret"
outbound_proxy = "wss://edge1.example.org/ws"
profile = "pipe"
"""


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    status: int
    out: str
    err: str


Phoned = Callable[..., Ended]


@pytest.fixture
def phoned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Phoned:
    """Run `phoned` with arguments, through its entry point."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["phoned", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "phoned.toml"
    file.write_text(ACCOUNT)
    secret = tmp_path / "alice.secret"
    secret.write_text("canary-password\n")
    secret.chmod(0o600)
    return file


def test_version_and_help(phoned: Phoned) -> None:
    assert re.fullmatch(r"phoned \d+\.\d+\.\d+\S*\n", phoned("--version").out)
    shown = phoned("--help")
    assert shown.status == 0
    for command in ("run", "check-config", "doctor", "init", "token", "demo", "sandbox"):
        assert command in shown.out
    assert "emergency" in shown.out
    assert phoned("no-such-command").status == 2
    assert phoned("run", "--no-such-option").status == 2


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_configuration_that_a_command_has_no_use_for_is_looked_at_all_the_same(
    phoned: Phoned, config: Path, command: str
) -> None:
    config.write_text(config.read_text().replace("aor", "aro"))
    refused = phoned(command, "--config", str(config))
    assert (refused.status, refused.out) == (78, "")
    assert "aor" in refused.err
    assert "without effect" in phoned(command, "--help").out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['phoned', '--help']\n"
        "from phoned.cli import main\n"
        "try:\n main()\n"
        "except SystemExit:\n pass\n"
        "heavy = {'aiortc', 'fastapi', 'numpy', 'av', 'uvicorn', 'pydantic', 'websockets', 'cryptography'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stderr.strip() == "[]"


# ---------------------------------------------------------------- check-config


def test_check_config_shows_values_with_their_origin_and_no_secret(phoned: Phoned, config: Path) -> None:
    ended = phoned("check-config", "--config", str(config))
    assert ended.status == 0
    assert re.search(r'accounts\[0\]\.id = "front" +# .*phoned\.toml:4', ended.out)
    assert re.search(r"accounts\[0\]\.recovery\.max_attempts = 30 +# profile pipe", ended.out)
    assert re.search(r"dial\.max_concurrent = 50 +# default", ended.out)
    assert re.search(r"api\.port = 8760 +# default", ended.out)
    assert "canary-password" not in ended.out + ended.err


def test_check_config_as_json(phoned: Phoned, config: Path) -> None:
    document = json.loads(phoned("check-config", "--json", "--config", str(config)).out)
    assert document["ok"]
    assert document["files"] == [str(config)]
    assert {"key": "accounts[0].aor", "value": "sip:alice@example.org", "origin": f"{config}:5"} in document["values"]


def test_a_bad_configuration_ends_with_78_and_every_error(phoned: Phoned, config: Path) -> None:
    config.write_text(ACCOUNT + "outbond_proxy = 1\n[api]\nprot = 1\n")
    for command in ("check-config", "run", "token"):
        ended = phoned(command, "--config", str(config))
        assert ended.status == 78
        assert f"{config}:9: accounts[0].outbond_proxy: unknown key: did you mean 'outbound_proxy'?" in ended.err
        assert ended.out == ""
    assert "api.prot" in phoned("check-config", "--config", str(config)).err
    ended = phoned("check-config", "--json", "--config", str(config))
    assert ended.status == 78
    assert [error["line"] for error in json.loads(ended.out)["errors"]] == [9, 11]


def test_check_config_tells_what_is_unwise(phoned: Phoned, config: Path) -> None:
    config.write_text(ACCOUNT.replace("wss:", "ws:"))
    ended = phoned("check-config", "--config", str(config))
    assert ended.status == 0
    assert "not encrypted" in ended.err


def test_raw_tables_hide_what_may_be_a_secret() -> None:
    table = {"auth_token": "x", "secret_file": "f", "url": "u", "list": [{"password": "p"}, {"n": 1}], "plain": [1, 2]}
    shown = {at: hidden(at, value) for at, value in leaves(table, ("twilio",))}
    assert shown == {
        ("twilio", "auth_token"): "***",
        ("twilio", "secret_file"): "f",
        ("twilio", "url"): "u",
        ("twilio", "list", 0, "password"): "***",
        ("twilio", "list", 1, "n"): 1,
        ("twilio", "plain"): [1, 2],
    }


# ---------------------------------------------------------------- token


def test_token_prints_a_token_alone(phoned: Phoned, config: Path) -> None:
    ended = phoned("token", "--scope", "read", "--config", str(config))
    assert ended.status == 0
    assert re.fullmatch(r"phoned_[\w-]{40,}\n", ended.out)
    kept = (config.parent / "state" / "tokens.json").read_text()
    assert ended.out.strip() not in kept
    assert '"read"' in kept
    assert phoned("token", "--scope", "root", "--config", str(config)).status == 2


@pytest.mark.parametrize("link", [[], ["--console"]])
def test_token_tells_when_no_phone_has_the_state_directory_that_it_writes_to(
    phoned: Phoned, config: Path, link: list[str]
) -> None:
    state = config.parent / "state"
    ended = phoned("token", *link, "--config", str(config))
    assert ended.status == 0
    assert f"no phone runs with the state directory {state}" in ended.err
    assert "--config" in ended.err
    assert str(state) not in ended.out
    with StateLock(state):
        assert "no phone runs" not in phoned("token", *link, "--config", str(config)).err


def test_token_prints_a_link_to_the_console_that_is_good_once(phoned: Phoned, config: Path) -> None:
    ended = phoned("token", "--console", "--scope", "admin", "--config", str(config))
    assert ended.status == 0
    found = re.fullmatch(r"http://127\.0\.0\.1:8760/console/#login=(phoned_login_[\w-]{43})\n", ended.out)
    assert found is not None
    assert "once" in ended.err
    state = config.parent / "state"
    assert found[1] not in (state / "tokens.json").read_text()
    assert "phoned token --console --scope admin" in (state / "audit.log").read_text()
    assert found[1] not in (state / "audit.log").read_text()
    session = exchange_login(state, found[1])
    assert session is not None
    assert session.scope == "admin"


def test_without_a_port_there_is_no_console_to_link_to(phoned: Phoned, config: Path) -> None:
    config.write_text(config.read_text() + "[api]\nport = 0\n")
    ended = phoned("token", "--console", "--config", str(config))
    assert ended.status == 1
    assert "port = 8760" in ended.err
    assert ended.out == ""


# ---------------------------------------------------------------- run


def test_run_ends_with_the_daemons_status_and_logs_without_secrets(
    phoned: Phoned, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging
    import types

    daemon = types.ModuleType("phoned.daemon")

    def run(loaded: object, *, hide: Callable[[str], None]) -> int:
        hide("canary-of-later")
        logging.getLogger("phoned").info("password is canary-password")
        logging.getLogger("phoned").info("and of an account made at run time canary-of-later")
        return 7

    daemon.run = run  # type: ignore[attr-defined]  # a stand-in for a module
    monkeypatch.setitem(sys.modules, "phoned.daemon", daemon)
    monkeypatch.setattr("phoned.daemon", daemon, raising=False)
    ended = phoned("run", "--config", str(config))
    assert ended.status == 7
    assert [json.loads(line)["message"] for line in ended.err.splitlines()] == [
        "password is ***",
        "and of an account made at run time ***",
    ]


# ---------------------------------------------------------------- init


def test_init_without_questions_writes_what_run_takes(phoned: Phoned, tmp_path: Path) -> None:
    secret = tmp_path / "given.secret"
    secret.write_text("hush-hush")
    secret.chmod(0o600)
    file = tmp_path / "new" / "phoned.toml"
    ended = phoned(
        "init", "--no-input", "--no-doctor", "--url", "wss://edge.example.org/ws", "--user", "alice@example.org",
        "--password-file", str(secret), "--audio", "--config", str(file),
    )  # fmt: skip
    assert (ended.status, ended.out) == (0, f"{file}\n")
    loaded = load_config(file, environ={"HOME": str(tmp_path)})
    account = loaded.config.accounts[0]
    assert (account.id, account.aor, account.outbound_proxy) == (
        "alice",
        "sip:alice@example.org",
        "wss://edge.example.org/ws",
    )
    assert loaded.config.audio.input == "default"
    password = loaded.password("alice")
    assert password is not None
    assert password.text() == "hush-hush"


@pytest.mark.parametrize(
    ("file", "state_dir"),
    [
        ("/etc/phoned/phoned.toml", "/var/lib/phoned"),
        ("/etc/phoned/office/phoned.toml", "/var/lib/phoned-office"),
        ("/etc/phoned/conf.d/phoned.toml", "/var/lib/phoned"),
        ("/etc/phoned/../phoned/phoned.toml", "/var/lib/phoned"),
        ("/etc/phoned-old/phoned.toml", None),
        ("/home/kiosk/.config/phoned/phoned.toml", None),
    ],
)
def test_init_names_the_state_directory_of_the_unit_that_reads_the_file(
    tmp_path: Path, file: str, state_dir: str | None
) -> None:
    found = units_state_dir(Path(file))
    assert found == (None if state_dir is None else Path(state_dir))
    text = render(
        url="wss://edge.example.org/ws", user="alice", secret_path=None, audio=False, beside=tmp_path, state_dir=found
    )
    written = tmp_path / "phoned.toml"
    written.write_text(text)
    for environ in ({"HOME": "/root"}, {"HOME": "/root", "STATE_DIRECTORY": state_dir or "/srv/phoned"}):
        loaded = load_config(written, environ=environ)
        if state_dir is not None:
            assert loaded.state_dir == Path(state_dir)
        else:
            assert "state_dir" not in text


def test_init_asks_and_keeps_the_password_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "phoned.toml"
    answers = "wss://edge.example.org/ws\nalice\nhush-hush\ny\n"
    result = CliRunner().invoke(cli.build(), ["init", "--no-doctor", "--config", str(file)], input=answers)
    assert result.exit_code == 0
    assert "hush-hush" not in result.output
    assert "hush-hush" not in file.read_text()
    secret = tmp_path / "alice.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    loaded = load_config(file, environ={"HOME": str(tmp_path)})
    assert loaded.config.accounts[0].aor == "sip:alice@edge.example.org"
    assert loaded.config.audio.output == "default"


def test_init_names_the_sound_devices_or_what_is_missing() -> None:
    kinds = '"backend": "alsa", "default": false, "description": "d"'
    devices = f'{{"devices": [{{"name": "USB Audio", "kinds": ["input", "output"], {kinds}}}]}}'
    for line, told in (
        (devices, ["input: USB Audio", "output: USB Audio"]),
        ('{"devices": []}', ["input: none"]),
        ('{"error": "PortAudio is missing: apt install libportaudio2"}', ["no sound yet: PortAudio is missing"]),
    ):
        note = sound_found((sys.executable, "-c", f"print('{line}')"))
        assert all(part in note for part in told), note


def test_init_reads_a_password_from_stdin(tmp_path: Path) -> None:
    arguments = [
        "init",
        "--no-input",
        "--no-doctor",
        "--url",
        "wss://e/",
        "--user",
        "sip:bob@e",
        "--password-file",
        "-",
        "--config",
    ]
    result = CliRunner().invoke(cli.build(), [*arguments, str(tmp_path / "a.toml")], input="from stdin\n")
    assert result.exit_code == 0
    assert (tmp_path / "bob.secret").read_text() == "from stdin\n"
    result = CliRunner().invoke(cli.build(), [*arguments, str(tmp_path / "b.toml")], input="")
    assert result.exit_code == 1
    assert not (tmp_path / "b.toml").exists()


def test_init_refuses_what_cannot_work_and_writes_nothing(phoned: Phoned, tmp_path: Path) -> None:
    file = tmp_path / "phoned.toml"
    base = ("init", "--no-input", "--no-doctor", "--config", str(file))
    assert phoned(*base).status == 2
    assert phoned(*base, "--url", "https://x", "--user", "a").status == 78
    ended = phoned(*base, "--url", "wss://x/", "--user", "a", "--password-file", str(tmp_path / "none"))
    assert ended.status == 1
    assert "No such file" in ended.err
    assert not file.exists()
    assert phoned(*base, "--url", "wss://x/", "--user", "a").status == 0
    ended = phoned(*base, "--url", "wss://y/", "--user", "a")
    assert ended.status == 1
    assert "--force" in ended.err
    assert "wss://x/" in file.read_text()
    assert phoned(*base, "--force", "--url", "wss://y/", "--user", "a").status == 0
    assert "wss://y/" in file.read_text()


def test_init_loses_no_file_that_was_there(tmp_path: Path) -> None:
    file, secret = tmp_path / "phoned.toml", tmp_path / "alice.secret"
    secret.write_text("of another phone")
    arguments = ["init", "--no-doctor", "--config", str(file)]
    answers = "edge.example.org/ws\nalice\nhush-hush\nn\n"
    result = CliRunner().invoke(cli.build(), arguments, input=answers)
    assert result.exit_code == 1
    assert "--force replaces it (the old one is kept)" in result.stderr
    assert not file.exists()
    file.write_text("old")
    result = CliRunner().invoke(cli.build(), [*arguments, "--force"], input=answers)
    assert result.exit_code == 0
    assert f"kept the old file as {file}.bak" in result.stderr
    assert (tmp_path / "phoned.toml.bak").read_text() == "old"
    assert (tmp_path / "alice.secret.bak").read_text() == "of another phone"
    assert secret.read_text() == "hush-hush\n"
    assert 'outbound_proxy = "wss://edge.example.org/ws"' in file.read_text()


@pytest.mark.parametrize(
    ("address", "name"), [("alice@x", "alice"), ("+49 30@x", "49-30"), ("\u00fc@x", "main"), ("a" * 99, "a" * 64)]
)
def test_accounts_are_named_after_their_user(address: str, name: str) -> None:
    assert account_id(address) == name


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (WrongState("not now \x1b[2J", state="x"), 1, "phoned: not now \\x1b[2J"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_failures_are_one_line_and_no_traceback(
    phoned: Phoned, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    def build() -> object:
        raise error

    monkeypatch.setattr(cli, "build", build)
    ended = phoned()
    assert ended.status == status
    assert said in ended.err
    assert "Traceback" not in ended.err


# ---------------------------------------------------------------- audit


def test_a_token_that_is_made_stands_in_the_audit_log_but_not_itself(phoned: Phoned, config: Path) -> None:
    token = phoned("token", "--scope", "admin", "--config", str(config)).out.strip()
    shown = phoned("audit", "--config", str(config))
    (entry,) = [json.loads(line) for line in shown.out.splitlines()]
    assert (shown.status, entry["what"], entry["outcome"]) == (0, "phoned token --scope admin", "ok")
    assert entry["who"].startswith("uid:")
    assert entry["target"].startswith("tok_")
    assert token not in shown.out


def test_an_audit_log_that_was_changed_is_told(phoned: Phoned, config: Path) -> None:
    for _ in range(3):
        phoned("token", "--config", str(config))
    assert len(phoned("audit", "--limit", "2", "--config", str(config)).out.splitlines()) == 2
    (file,) = config.parent.rglob("audit.log")
    file.write_text(file.read_text().replace("--scope call", "--scope read", 1))
    ended = phoned("audit", "--limit", "0", "--config", str(config))
    assert (ended.status, len(ended.out.splitlines())) == (1, 3)
    assert f"{file}:2: " in ended.err
