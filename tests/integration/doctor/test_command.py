"""`phoned doctor` and `phoned init` as processes, in a pipe and on a terminal, at an exchange in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child import free_ports
from tests.support.terminal import Terminal

PHONED = [sys.executable, "-m", "phoned.cli"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = subprocess.Popen([*PHONED, "sandbox", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.communicate("", timeout=20)


@pytest.fixture
def config(tmp_path: Path, url: str) -> Path:
    return write(tmp_path, url)


def write(home: Path, url: str, password: str = "alice-secret") -> Path:
    secret = home / "alice.secret"
    secret.touch(mode=0o600)
    secret.write_text(password)
    config = home / "phoned.toml"
    config.write_text(
        f'[phone]\nstate_dir = "state"\n[[accounts]]\nid = "front"\naor = "sip:alice@sandbox.test"\n'
        f'password_file = "alice.secret"\noutbound_proxy = "{url}"\n'
    )
    return config


def phoned(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PHONED, *arguments], capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


def test_all_is_well_for_people_and_for_programs(config: Path) -> None:
    people = phoned("doctor", "--config", str(config))
    assert (people.returncode, people.stderr) == (0, "")
    assert people.stdout.endswith("\nnothing is broken\n")
    assert "\x1b" not in people.stdout
    assert any(line.startswith("ok    register       front") for line in people.stdout.splitlines())
    programs = phoned("doctor", "--json", "--config", str(config))
    assert programs.returncode == 0
    view = json.loads(programs.stdout)
    assert view["ok"] is True
    assert set(view["checks"][0]) == {"name", "ok", "detail", "fix", "account", "proxy"}


def test_the_broken_thing_stands_at_the_end_with_its_fix(tmp_path: Path, url: str) -> None:
    ended = phoned("doctor", "--config", str(write(tmp_path, url, "wrong-one")))
    assert ended.returncode == 1
    last = ended.stdout.splitlines()[-3:]
    assert last[0] == "1 thing is broken:"
    assert last[1].startswith("  register front: ")
    assert last[2].startswith("    fix: wrong password or user name")
    assert "wrong-one" not in ended.stdout + ended.stderr


def test_78_for_a_bad_configuration_and_for_bad_secrets(config: Path) -> None:
    (config.parent / "alice.secret").chmod(0o644)
    ended = phoned("doctor", "--config", str(config), "--json")
    assert ended.returncode == 78
    assert [check["name"] for check in json.loads(ended.stdout)["checks"] if check["ok"] is False] == ["secrets"]
    config.write_text("nonsense =")
    assert phoned("doctor", "--config", str(config)).returncode == 78
    config.unlink()
    ended = phoned("doctor", "--config", str(config))
    assert ended.returncode == 78
    assert "No such file" in ended.stdout


def test_several_broken_things_are_counted(tmp_path: Path) -> None:
    [port] = free_ports(1)
    config = write(tmp_path, f"ws://127.0.0.1:{port}/")
    with config.open("a") as file:
        file.write('outbound_proxy_backup = "ws://127.0.0.1:9/"\n')
    ended = phoned("doctor", "--config", str(config))
    assert ended.returncode == 1
    assert "2 things are broken:" in ended.stdout
    assert "tcp front backup: " in ended.stdout


def test_on_a_terminal_it_says_what_it_waits_for_and_is_coloured(config: Path) -> None:
    with Terminal([*PHONED, "doctor", "--config", str(config)]) as terminal:
        assert terminal.wait() == 0
    assert "\r\x1b[K  ...   front, primary proxy" in terminal.shown
    assert "\x1b[32mok  \x1b[0m  register" in terminal.shown
    with Terminal([*PHONED, "doctor", "--config", str(config)], environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
    assert "\x1b[32m" not in terminal.shown


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    config = write(tmp_path, "ws://127.0.0.1:9/")
    with Terminal([*PHONED, "doctor", "--config", str(config)]) as terminal:
        terminal.until("...   ")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.shown


# ---------------------------------------------------------------- init


def test_init_asks_four_things_and_tries_them_out(tmp_path: Path, url: str) -> None:
    config = tmp_path / "new" / "phoned.toml"
    with Terminal([*PHONED, "init", "--config", str(config)], environment={"HOME": str(tmp_path)}) as terminal:
        terminal.until("Server (wss://...): ")
        terminal.type("https://nonsense\n")
        assert "write it like" in terminal.until("Server (wss://...): ")
        terminal.type(f"{url}\n")
        terminal.until("alice@example.org): ")
        terminal.type("alice@sandbox.test\n")
        terminal.until("Password")
        terminal.until_hidden()
        terminal.type("alice-secret\n")
        terminal.until("sound device? [y/N]: ")
        terminal.type("n\n")
        assert terminal.wait() == 0
    assert "alice-secret" not in terminal.shown
    assert "nothing is broken" in terminal.shown
    secret = config.parent / "alice.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text() == "alice-secret\n"
    assert sorted(os.listdir(config.parent)) == ["alice.secret", "phoned.toml"]


@pytest.mark.parametrize("question", ["Server", "alice@example.org): ", "Password", "[y/N]"])
def test_ctrl_c_at_any_question_leaves_nothing(tmp_path: Path, question: str) -> None:
    config = tmp_path / "new" / "phoned.toml"
    answers = {
        "Server": "ws://127.0.0.1:9/\n",
        "alice@example.org): ": "alice\n",
        "Password": "x-secret\n",
        "[y/N]": "\n",
    }
    with Terminal([*PHONED, "init", "--no-doctor", "--config", str(config)]) as terminal:
        for asked, answer in answers.items():
            terminal.until(asked)
            if asked == "Password":
                terminal.until_hidden()
            if asked == question:
                break
            terminal.type(answer)
        assert terminal.interrupt() != 0
    assert os.listdir(tmp_path) == []


def test_init_without_questions_tells_what_is_broken_and_has_written(tmp_path: Path, url: str) -> None:
    (tmp_path / "p").touch(mode=0o600)
    (tmp_path / "p").write_text("wrong-one")
    config = tmp_path / "phoned.toml"
    arguments = ("init", "--no-input", "--headless", "--url", url, "--user", "alice@sandbox.test")
    ended = phoned(*arguments, "--password-file", str(tmp_path / "p"), "--config", str(config))
    assert (ended.returncode, ended.stdout) == (0, f"{config}\n")
    assert "1 thing is broken:\n  register alice" in ended.stderr
    assert f"try again: phoned doctor --config {config}" in ended.stderr
    assert "wrong-one" not in ended.stderr
