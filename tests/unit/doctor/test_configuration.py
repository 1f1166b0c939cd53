"""The configuration and its secrets, as the doctor tells of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from phoned.config.load import LoadedConfig, load_config
from phoned.config.report import ConfigError
from phoned.doctor import configuration
from phoned.doctor.chain import Chain
from phoned.model import CheckView


async def told(load: object) -> list[CheckView]:
    chain = Chain("configuration", "secrets")
    await configuration.check(chain, load)  # type: ignore[arg-type]  # a test's shorthand
    chain.stop("the end")
    return chain.checks


async def test_none_at_all(tmp_path: Path) -> None:
    first, second = await told(lambda: load_config(environ={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}))
    assert first.ok is False
    assert "phoned init" in (first.fix or "")
    assert second.detail == "not run: configuration failed"


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    def load() -> LoadedConfig:
        raise PermissionError(13, "Permission denied", "phoned.toml")

    first, _ = await told(load)
    assert "Permission denied" in first.detail
    assert "readable" in (first.fix or "")


async def test_a_disk_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def load() -> LoadedConfig:
        release.wait(10)
        raise ConfigError(())

    monkeypatch.setattr(configuration, "DEADLINE_S", 0.01)
    first, _ = await told(load)
    release.set()
    assert "hangs" in (first.fix or "")


@pytest.mark.parametrize(
    ("content", "mode", "fix"),
    [("", 0o600, "umask 077"), ("x", 0o604, "chmod 600"), (None, 0, "umask 077")],
)
async def test_a_secret_that_cannot_be_used_has_its_own_fix(
    tmp_path: Path, content: str | None, mode: int, fix: str
) -> None:
    config = tmp_path / "phoned.toml"
    config.write_text(
        '[[accounts]]\nid = "a"\naor = "sip:a@b"\noutbound_proxy = "wss://b/"\npassword_file = "a.secret"\n'
    )
    if content is not None:
        (tmp_path / "a.secret").write_text(content)
        (tmp_path / "a.secret").chmod(mode)
    first, second = await told(lambda: load_config(config, environ={"HOME": str(tmp_path)}))
    assert first.ok
    assert second.ok is False
    assert fix in (second.fix or "")
    assert str(tmp_path / "a.secret") in (second.fix or "")


async def test_what_is_unwise_is_a_note(tmp_path: Path) -> None:
    config = tmp_path / "phoned.toml"
    config.write_text("[api]\nport = 1\n")
    first, second = await told(lambda: load_config(config, environ={"HOME": str(tmp_path)}))
    assert "no [[accounts]]" in first.detail
    assert second.ok
