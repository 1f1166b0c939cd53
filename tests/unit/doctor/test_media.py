"""The audio path and what it needs."""

from __future__ import annotations

import threading

import pytest

from phoned.doctor import media
from phoned.doctor.chain import Chain
from phoned.media.selftest import is_tone


async def test_a_path_that_does_not_come_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "LOOPBACK_S", 0.001)
    chain = Chain("media")
    await media.check_loopback(chain, ("pcmu",))
    [check] = chain.checks
    assert check.ok is False
    assert "a call with ourselves did not work: the first connection" in check.detail
    assert "loopback" in (check.fix or "")


async def test_a_library_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(media, "OPUS_S", 0.01)
    chain = Chain("opus")
    await media.check_opus(chain, lambda: str(release.wait(10)), True)
    release.set()
    assert chain.checks[0].ok is False


def test_silence_and_noise_are_no_tone() -> None:
    assert not is_tone(b"", 16000)
    assert not is_tone(bytes(6400), 16000)
    assert not is_tone(bytes(range(256)) * 25, 16000)
