"""The check of the music on hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoned.audio.tones import sine
from phoned.doctor import music
from phoned.doctor.chain import Chain
from phoned.model import CheckView
from tests.integration.media.test_audio import write_wav


async def check(file: Path) -> CheckView:
    chain = Chain("hold_music")
    await music.check(chain, file)
    (found,) = chain.checks
    return found


async def test_a_file_that_can_be_played(tmp_path: Path) -> None:
    write_wav(tmp_path / "real.wav", 500, 0.2)
    (tmp_path / "link.wav").symlink_to("real.wav")
    assert (await check(tmp_path / "link.wav")).ok


async def test_one_that_cannot_has_a_fix(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(sine((440,), 8_000, 100))
    for name, said in (("gone.wav", "No such file"), ("noise.wav", ""), (".", "")):
        found = await check(tmp_path / name)
        assert (found.ok, "[audio] hold_music" in (found.fix or "")) == (False, True)
        assert said in found.detail


async def test_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    monkeypatch.setattr(music, "DEADLINE_S", 0.0)
    found = await check(tmp_path / "pipe.wav")
    assert (found.ok, "disk hangs" in (found.fix or "")) == (False, True)
