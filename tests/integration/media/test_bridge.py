"""Bridged calls with real media: other codecs, other rates, restarts of a transport, recordings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from phoned.media.bridge import Bridge
from phoned.media.engine import MediaEngine
from phoned.media.options import EngineOptions, SessionOptions
from phoned.model import PlayRequest, RecordRequest
from tests.integration.media.test_audio import read_wav
from tests.support.media import LOOPBACK, Call, Party, level_dbov

KINDS = (("pcmu", 8_000), ("opus", 16_000), ("G722", 48_000))
TONES = (500, 900, 1_300)


@asynccontextmanager
async def calls(recordings: Path | None = None) -> AsyncIterator[list[Call]]:
    """Three calls of one engine, of a codec and a rate of its own each. Far end ``b`` plays its tone."""
    engine = MediaEngine(EngineOptions(recordings_dir=recordings))
    await engine.start()
    try:
        made = []
        for (codec, rate), tone in zip(KINDS, TONES, strict=True):
            ours = SessionOptions(codecs=(codec,), graph_rate=rate, ice=LOOPBACK)
            theirs = SessionOptions(codecs=(codec,), ice=LOOPBACK)
            call = Call(Party(engine, f"{codec}_a", ours), Party(engine, f"{codec}_b", theirs))
            await call.exchange()
            await call.b.session.play(PlayRequest(tone=str(tone), loop=True))
            made.append(call)
        yield made
    finally:
        await engine.stop()


def pitches(samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int = 16_000) -> set[int]:
    """Which of the tones are in it, as loud as they were played (within 3 dB)."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / len(samples)
    return {tone for tone in TONES if spectrum[round(tone * len(samples) / rate) - 3 :][:6].max() > 1_400}


async def heard(call: Call, others: set[int]) -> None:
    """The far end of this call hears these, all the time of a second look."""
    await call.b.listen(0.3)
    assert pitches(await call.b.listen(0.4)) == others


async def test_three_codecs_and_rates_and_what_becomes_of_one_is_nothing_to_the_others(tmp_path: Path) -> None:
    async with calls(tmp_path) as (one, two, three):
        bridge = Bridge()
        seats = [bridge.join(call.a.session.graph) for call in (one, two, three)]
        recording = await one.a.session.record(RecordRequest())
        await heard(one, {900, 1_300})
        await heard(two, {500, 1_300})
        await heard(three, {500, 900})

        for rebuild in (False, True):
            await two.exchange(ice_restart=not rebuild, rebuild=rebuild)
            await heard(one, {900, 1_300})
            assert pitches(await two.b.listen(0.4)) == {500, 1_300}

        two.a.session.hold(True)
        await heard(one, {1_300})
        assert level_dbov(await two.b.listen(0.2)) < -60
        two.a.session.hold(False)
        await heard(one, {900, 1_300})

        finished = await one.a.session.stop_recording(recording.id)
        rate, samples = read_wav(tmp_path / finished.file)
        near, far = (np.ascontiguousarray(samples[rate // 2 : rate, side]) for side in (0, 1))
        assert rate == 8_000
        assert pitches(near, rate) == {900, 1_300}
        assert pitches(far, rate) == {500}

        bridge.leave(seats[1])
        await two.a.session.close()
        await heard(one, {1_300})
        await heard(three, {500})


@pytest.mark.parametrize("mix", [True, False])
async def test_an_announcement_is_heard_beside_the_others(mix: bool) -> None:
    async with calls() as (one, two, three):
        bridge = Bridge()
        for call in (one, two):
            bridge.join(call.a.session.graph)
        await one.a.session.play(PlayRequest(tone="1300", mix=mix, loop=True))
        await heard(one, {900, 1_300})
        assert pitches(await two.b.listen(0.4)) == {500}
        assert level_dbov(await three.b.listen(0.2)) < -60
