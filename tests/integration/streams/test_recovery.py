"""A bot on a call that is repaired, and a far end whose bot is away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.sandbox.measure import write_wav
from phoned.service import Context
from phoned.services.streams.config import Timing
from phoned.services.streams.service import StreamsService
from tests.integration.streams.test_bots import World, world
from tests.support.blackhole import swallow
from tests.support.media import frequency, level_dbov, until
from tests.support.stream_bots import COUNTING_HZ, Bot, Conversation, count, undisturbed

MUSIC_HZ = 600


class PatientStreams(StreamsService):
    """Dials often, and does not give up soon."""

    @classmethod
    def create(cls, context: Context) -> PatientStreams:
        return cls(context, Timing(backoff_s=(0.05, 0.1)))


async def heard(talk: Conversation, hertz: float) -> None:
    """The bot hears that, from now on."""
    at = len(talk.sound)
    await talk.until(lambda: len(talk.sound) >= at + 16_000)
    assert frequency(np.frombuffer(bytes(talk.sound[-6400:]), np.int16), 8000) == pytest.approx(hertz, abs=10)


async def back(here: World, plane: str, tier: int) -> None:
    told = await here.watch.until("call.reconnected")
    assert (told.data["plane"], told.data["tier"]) == (plane, tier)


async def test_a_bot_notices_nothing_of_a_lost_websocket_and_of_both_repairs_of_the_media(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot(count) as bot:
        made = await here.stream(bot)
        talk = await bot.talk()
        await heard(talk, COUNTING_HZ)

        here.phones.exchange.order({"fault": "close"})
        await back(here, "signalling", 0)
        counted = talk.counted
        await talk.until(lambda: talk.counted > counted + 3)

        swallow()
        await back(here, "media", 1)
        await heard(talk, COUNTING_HZ)
        assert here.phone.stats(here.call).dtls_generation == 1

        call = here.daemon.calls.find(here.call)
        assert call is not None
        call.offer_again(ice_restart=False, rebuild=True)
        await until(lambda: here.phone.stats(here.call).dtls_generation == 2, 10)
        await heard(talk, COUNTING_HZ)

        assert undisturbed(bot).counted > 20
        assert here.view().streams == (made.id,)
        assert here.phone.stream_view(made.id).state == "started"
        types = [type_ for type_ in here.watch.types() if type_.startswith("stream.") and type_ != "stream.mark"]
        assert types == ["stream.connecting", "stream.started"]


async def test_the_far_end_hears_music_while_the_bot_is_away(tmp_path: Path) -> None:
    music = tmp_path / "music.wav"
    write_wav(music, sine((MUSIC_HZ,), 16_000, 1000), 16_000)
    audio = f'[audio]\nhold_music = "{music}"'
    async with world(tmp_path, extra=audio, plugins={"streams": PatientStreams}) as here, Bot(refuse=[503] * 99) as bot:
        ear = here.phone.audio_port(here.call, 16_000)  # the line says back what it hears

        async def echo() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
            ear.take()
            return np.frombuffer(b"".join([(await anext(ear)).heard for _ in range(20)]), np.int16)

        made = await here.stream(bot, while_away="music")
        await until(lambda: here.phone.stats(here.call).sent_dbov > -30, 10)
        await echo()
        assert frequency(await echo(), 16_000) == pytest.approx(MUSIC_HZ, abs=5)
        bot.refuse.clear()
        await here.state(made.id, "started")
        await until(lambda: here.phone.stats(here.call).sent_dbov < -60, 10)
        await echo()
        assert level_dbov(await echo()) < -60
