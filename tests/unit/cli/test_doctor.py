"""How `phoned doctor` shows what it finds, and what it ends with."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phoned import cli
from phoned.cli import doctor
from phoned.model import CheckView, DoctorView

TCP = CheckView(name="tcp", ok=False, detail="refused \x1b[2J", fix="start it", account="front", proxy="backup")
DISK = CheckView(name="disk", ok=True, detail="room")
SKIPPED = CheckView(name="tls", ok=None, detail="not run: tcp failed", account="front", proxy="primary")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def view(*checks: CheckView) -> DoctorView:
    return DoctorView(ok=all(check.ok is not False for check in checks), checks=checks)


def told(*checks: CheckView, notes: bool = False) -> None:
    teller = doctor._Teller(notes=notes)
    for check in checks:
        teller.begins(check.name)
        teller.found(check)
    teller.sum_up(view(*checks))


def test_in_a_pipe_it_is_plain_text_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    told(DISK, TCP, SKIPPED)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "ok    disk                         room",
        "FAIL  tcp            front backup  refused \\x1b[2J",
        "-     tls            front         not run: tcp failed",
        "",
        "1 thing is broken:",
        "  tcp front backup: refused \\x1b[2J",
        "    fix: start it",
    ]


def test_as_a_note_it_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    told(DISK, notes=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("nothing is broken\n")


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_it_is_coloured_and_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    out, err = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    told(DISK, TCP, TCP)
    assert "2 things are broken:" in out.getvalue()
    assert ("\x1b[1;31mFAIL\x1b[0m" in out.getvalue()) is colours
    assert err.getvalue().startswith("\r\x1b[K  ...   disk\r\x1b[K")


@pytest.mark.parametrize(
    ("names", "status"), [((), 0), (("tcp",), 1), (("configuration",), 78), (("tcp", "secrets"), 78)]
)
def test_the_exit_status(names: tuple[str, ...], status: int) -> None:
    checks = [CheckView(name=name, ok=False, detail="", fix="x") for name in names]
    assert doctor.status_of(view(DISK, SKIPPED, *checks)) == status


def test_the_command_itself(tmp_path: Path) -> None:
    config = tmp_path / "phoned.toml"
    config.write_text('[phone]\nstate_dir = "state"\n')
    done = CliRunner().invoke(cli.build(), ["doctor", "--config", str(config)])
    assert done.exit_code == 0
    assert "no [[accounts]]" in done.stdout
    config.write_text("nonsense =")
    done = CliRunner().invoke(cli.build(), ["doctor", "--json", "--config", str(config)])
    assert done.exit_code == 78
    assert '"ok":false' in done.stdout
