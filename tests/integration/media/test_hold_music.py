"""Music on hold in a real call."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from phoned.audio.files import FileSource
from phoned.audio.tones import sine
from phoned.model import PlayRequest
from phoned.sandbox.measure import write_wav
from tests.support.media import call, frequency, level_dbov, until

FIRST, SECOND = 600, 1_200


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A second of one tone, a second of another."""
    file = tmp_path / "music.wav"
    write_wav(file, sine((FIRST,), 16_000, 1_000) + sine((SECOND,), 16_000, 1_000), 16_000)
    return file


async def test_each_hold_begins_at_the_beginning_loops_and_outlives_new_transports(music: Path) -> None:
    async with call(hold_music=music) as pair:
        ours, theirs = pair.a.session, pair.b
        for _ in range(2):
            ours.hold(True)
            ours.hold(True)
            await theirs.listen(0.3)
            assert frequency(await theirs.listen(0.3), 16_000) == pytest.approx(FIRST, abs=5)
            ours.mute(True)
            await theirs.listen(0.7)
            assert frequency(await theirs.listen(0.3), 16_000) == pytest.approx(SECOND, abs=5)
            ours.mute(False)
            ours.hold(False)
            await theirs.listen(0.3)
            assert level_dbov(await theirs.listen(0.2)) < -60
        ours.hold(True)
        await pair.exchange(ice_restart=True, flow=False)
        await until(lambda: theirs.session.stats().ice_generation == 2)
        assert level_dbov(await theirs.listen(0.3)) > -20
        await pair.exchange(rebuild=True, flow=False)
        await until(lambda: theirs.session.stats().dtls_generation == 2)
        await theirs.listen(2.0)
        assert level_dbov(await theirs.listen(0.3)) > -20, "it began again at its end"


async def test_a_pastime_is_heard_beside_what_is_said_and_gives_way_to_a_hold_and_a_playback(music: Path) -> None:
    async with call(hold_music=music) as pair:
        ours, theirs = pair.a.session, pair.b
        ours.pastime(True)
        await theirs.listen(0.3)
        assert frequency(await theirs.listen(0.3), 16_000) == pytest.approx(FIRST, abs=5)
        announcement = await ours.play(PlayRequest(tone="300"))
        await theirs.listen(0.3)
        assert frequency(await theirs.listen(0.3), 16_000) == pytest.approx(300, abs=5)
        ours.stop_playback(announcement.id)
        ours.hold(True)
        await theirs.listen(0.3)
        assert frequency(await theirs.listen(0.2), 16_000) == pytest.approx(FIRST, abs=5), "from its beginning"
        ours.hold(False)
        ours.pastime(False)
        await theirs.listen(0.3)
        assert level_dbov(await theirs.listen(0.2)) < -60
        assert ours.graph.sources == []


async def test_a_file_that_is_not_there_is_silence_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with call(hold_music=tmp_path / "gone.wav") as pair:
        with caplog.at_level(logging.WARNING, "phoned.media.hold_music"):
            pair.a.session.hold(True)
            await until(lambda: "no music on hold" in caplog.text)
        assert level_dbov(await pair.b.listen(0.2)) < -60
        assert pair.a.session.state == "flowing"


async def test_a_file_that_breaks_off_is_silence_from_there(
    music: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with call(hold_music=music) as pair:
        pair.a.session.hold(True)
        await until(lambda: pair.a.session.graph.music is not None)
        source = pair.a.session.graph.music
        assert isinstance(source, FileSource)
        source.close()
        assert source.on_end is not None
        source.on_end()
        assert "breaks off" in caplog.text
        assert pair.a.session.graph.music is None
        pair.a.session.hold(False)


async def test_a_hold_that_is_over_before_the_file_is_open_leaves_nothing(music: Path) -> None:
    async with call(hold_music=music) as pair:
        pair.a.session.hold(True)
        pair.a.session.hold(False)
        await pair.b.listen(0.3)
        assert pair.a.session.graph.music is None
        pair.a.session.hold(True)
        await until(lambda: pair.a.session.graph.music is not None)
