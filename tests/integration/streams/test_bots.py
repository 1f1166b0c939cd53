"""Bots on real calls of the embedded exchange: heard, speaking, interrupted, lost, hostile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.daemon import Daemon
from phoned.errors import Denied
from phoned.model import CallRequest, CallState, CallView, EndCause, MediaState, StreamRequest, StreamView
from phoned.service import Context, ServicePlugin
from phoned.services.streams import service
from phoned.services.streams.config import Timing
from tests.support.media import frequency, level_dbov, until
from tests.support.phones import Phones, Watch
from tests.support.stream_bots import Bot, Conversation

QUICK = Timing(backoff_s=(0.05, 0.1, 0.2), budget_s=1.0, send_s=0.5, dial_s=1.0)


class QuickStreams(service.StreamsService):
    """Less patient."""

    @classmethod
    def create(cls, context: Context) -> QuickStreams:
        return cls(context, QUICK)


PLUGINS: dict[str, ServicePlugin] = {"streams": QuickStreams}


@dataclass
class World:
    """A phone with a call."""

    phones: Phones
    daemon: Daemon
    watch: Watch
    call: str

    @property
    def phone(self) -> Any:
        return self.daemon.phone

    async def stream(self, bot: Bot, **more: Any) -> StreamView:
        view: StreamView = await self.phone.stream(self.call, StreamRequest(url=bot.url, trusted=True, **more))
        return view

    def view(self) -> CallView:
        view: CallView = self.phone.call(self.call)
        return view

    async def state(self, stream: str, *states: str) -> StreamView:
        await until(lambda: self.phone.stream_view(stream).state in states, 10)
        view: StreamView = self.phone.stream_view(stream)
        return view


@asynccontextmanager
async def world(
    tmp_path: Path, line: str = "echo", *, extra: str = "", plugins: dict[str, ServicePlugin] = PLUGINS
) -> AsyncIterator[World]:
    async with Phones(tmp_path) as phones:
        daemon, watch = await phones.online(plugins=plugins, extra=extra)
        call = await daemon.phone.place_call(CallRequest(account="alice", to=line), wait="answered")
        await until(lambda: daemon.phone.call(call.id).media.state is MediaState.FLOWING)
        yield World(phones, daemon, watch, call.id)


async def test_a_bot_hears_the_call_speaks_in_it_and_is_told_of_its_end(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot() as bot:
        made = await here.stream(bot, parameters={"language": "en"}, headers={"X-Bot": "7"})
        assert (made.state, made.protocol, made.sample_rate, made.url) == ("connecting", "twilio", 8000, bot.url)
        talk = await bot.talk()
        assert [text["event"] for text in talk.texts[:2]] == ["connected", "start"]
        start = talk.texts[1]["start"]
        assert start["callSid"] == "CA" + here.call.removeprefix("call_")
        assert start["customParameters"] == {"language": "en"}
        assert talk.headers["x-bot"] == "7"
        await talk.say(sine((1000,), 8000, 1500))
        await talk.mark("said")
        await talk.until(lambda: bool(talk.of("mark")))
        heard = np.frombuffer(bytes(talk.sound[-8000:]), np.int16)  # the line says back what it hears
        assert frequency(heard, 8000) == pytest.approx(1000, abs=10)
        await here.watch.until("stream.mark", lambda data: data["name"] == "said" and data["played"])
        now = await here.state(made.id, "started")
        assert now.played_ms == 1500
        assert now.queued_ms == 0
        assert now.sent_ms >= 1500
        assert here.view().streams == (made.id,)
        numbers = [int(text["sequenceNumber"]) for text in talk.texts if "sequenceNumber" in text]
        assert numbers == list(range(1, len(numbers) + 1))
        await here.phone.hangup(here.call)
        await talk.until(lambda: talk.close_code is not None)
        assert talk.texts[-1]["event"] == "stop"
        assert talk.close_code == 1000
        stopped = await here.watch.until("stream.stopped")
        assert stopped.data["stream"].state == "stopped"


async def rings_marks(tmp_path: Path, count: int) -> None:
    async with world(tmp_path, "silence") as here, Bot() as bot:
        made = await here.stream(bot)
        talk = await bot.talk()
        for number in range(count):
            await talk.say(sine((500,), 8000, 10 if count < 500 else 20))
            await talk.mark(f"m{number}")
        await talk.until(lambda: len(talk.of("mark")) == count, count * 0.03 + 10)
        assert [text["mark"]["name"] for text in talk.of("mark")] == [f"m{number}" for number in range(count)]
        assert here.phone.stream_view(made.id).queued_ms == 0
        assert here.view().state is CallState.ACTIVE


async def test_a_hundred_marks_come_back_in_their_order(tmp_path: Path) -> None:
    await rings_marks(tmp_path, 100)


@pytest.mark.long
async def test_a_thousand_marks_come_back_in_their_order(tmp_path: Path) -> None:
    await rings_marks(tmp_path, 1000)


async def interrupted(tmp_path: Path, rounds: int) -> list[int]:
    """A bot that is interrupted again and again: how many old frames were said after each time."""
    left = []
    async with world(tmp_path, "silence") as here, Bot() as bot:
        await here.stream(bot)
        ear = here.phone.audio_port(here.call, 8000, both=True)
        talk = await bot.talk()
        for number in range(1, rounds + 1):
            await talk.say(sine((500,), 8000, 5000))
            for name in "abc":
                await talk.mark(f"{number}{name}")
            await until(lambda: any(frame.said and any(frame.said) for frame in ear.take()))
            first = f"{number}a"
            cleared = here.watch.until("stream.mark", lambda data, first=first: data["name"] == first)  # type: ignore[misc]
            told = asyncio.get_running_loop().create_task(cleared)
            await talk.clear()
            assert (await told).data["played"] is False
            ear.take()
            frames = [await anext(ear) for _ in range(10)]
            left.append(sum(bool(frame.said and any(frame.said)) for frame in frames))
            await talk.until(lambda due=3 * number: talk.counted == due)  # type: ignore[misc]
        expected = [f"{number}{name}" for number in range(1, rounds + 1) for name in "abc"]
        assert [text["mark"]["name"] for text in talk.of("mark")] == expected
        await talk.say(sine((500,), 8000, 100))
        await talk.mark("on")
        await talk.until(lambda: talk.of("mark")[-1]["mark"]["name"] == "on")
    return left


async def test_an_interruption_leaves_at_most_one_old_frame_and_reports_the_marks(tmp_path: Path) -> None:
    assert max(await interrupted(tmp_path, 2)) <= 1


@pytest.mark.long
async def test_each_of_two_hundred_interruptions_leaves_at_most_one_old_frame(tmp_path: Path) -> None:
    assert max(await interrupted(tmp_path, 200)) <= 1


async def test_linear_sound_goes_both_ways_at_its_rate(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot() as bot:
        await here.stream(bot, protocol="l16", sample_rate=24000)
        talk = await bot.talk()
        assert talk.texts[0]["content-type"] == "audio/l16;rate=24000"
        await talk.send(sine((3000,), 24000, 1200))
        await talk.send({"action": "notify", "payload": {"id": 7}})
        await talk.until(lambda: bool(talk.of("websocket:notify")))
        assert talk.of("websocket:notify")[0]["payload"] == {"id": 7}
        assert frequency(np.frombuffer(bytes(talk.sound[-24000:]), np.int16), 24000) == pytest.approx(3000, abs=20)
        assert len(talk.sound) == talk.frames * 960


@pytest.mark.parametrize("on_close", ["hangup", "keep", "reconnect"])
async def test_a_bot_that_leaves_politely(tmp_path: Path, on_close: Any) -> None:
    async def leave(talk: Conversation) -> None:
        await talk.started()
        await talk.socket.close(1000)

    async def stay(talk: Conversation) -> None:
        await talk.started()

    async with world(tmp_path) as here, Bot(leave, stay) as bot:
        made = await here.stream(bot, on_close=on_close)
        await bot.talk()
        if on_close == "reconnect":
            again = await bot.talk(2)
            assert again.sid == bot.talks[0].sid
            await here.state(made.id, "started")
            assert here.view().state is CallState.ACTIVE
            return
        await here.state(made.id, "stopped")
        if on_close == "keep":
            assert here.view().state is CallState.ACTIVE
        else:
            end = (await here.watch.until("call.ended")).data["call"].end
            assert (end.cause, end.by) == (EndCause.COMPLETED, "local")


@pytest.mark.parametrize("on_close", ["hangup", "keep", "reconnect"])
async def test_a_bot_that_is_killed_is_dialled_again_and_given_up_in_time(tmp_path: Path, on_close: Any) -> None:
    async with world(tmp_path) as here:
        bot = Bot()
        await bot.open()
        made = await here.stream(bot, on_close=on_close)
        talk = await bot.talk()
        await talk.say(sine((500,), 8000, 30_000))
        await until(lambda: here.phone.stream_view(made.id).queued_ms > 20_000)
        await bot.close()
        lost = await here.watch.until("stream.reconnecting")
        assert lost.data["n"] == 1
        assert lost.data["stream"].queued_ms == 0  # silence, while it is away
        back = Bot()
        back.port = bot.port
        await back.open()
        await back.talk()
        await here.state(made.id, "started")
        await back.close()
        failed = await here.watch.until("stream.failed")
        assert failed.data["stream"].state == "failed"
        if on_close == "keep":
            assert here.view().state is CallState.ACTIVE
        else:
            await until(lambda: here.view().state is CallState.ENDED)


async def test_a_bot_that_does_not_want_the_call_ends_it_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot(refuse=[503, 403]) as bot:
        made = await here.stream(bot)
        failed = await here.watch.until("stream.failed")
        assert "HTTP 403" in failed.data["detail"]
        assert bot.refused == 2
        await until(lambda: here.view().state is CallState.ENDED)
        assert here.phone.stream_view(made.id).state == "failed"


async def test_a_bot_that_never_reads_is_left_and_the_call_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, "tone") as here, Bot(deaf=True) as bot:
        ear = here.phone.audio_port(here.call, 16000)
        await here.stream(bot, on_close="keep", protocol="l16", sample_rate=24000)
        await bot.talk()
        ear.take()
        heard = b"".join([(await anext(ear)).heard for _ in range(25)])
        assert level_dbov(np.frombuffer(heard, np.int16)) > -20
        await here.phone.hangup(here.call)
        await here.watch.until("stream.stopped")


FLOODS: dict[str, Callable[[Conversation], list[str | bytes]]] = {
    "binary to a bot of texts": lambda talk: [b"\x00" * 60_000],
    "garbage": lambda talk: ["{", "[]", "null", '{"event":7}', '{"event":"media"}', "\u0000" * 1000, "[" * 5000],
    "another stream": lambda talk: ['{"event":"clear","streamSid":"MZ00"}'],
    "marks": lambda talk: [f'{{"event":"mark","streamSid":"{talk.sid}","mark":{{"name":"x"}}}}'],
    "sound": lambda talk: [
        f'{{"event":"media","streamSid":"{talk.sid}","media":{{"payload":"{"/w" * 2_000_00}AA=="}}}}',
    ],
    "one message that is too large": lambda talk: ["x" * (5 * 1024 * 1024)],
}


@pytest.mark.parametrize("what", FLOODS)
async def test_what_a_bot_sends_never_hurts_the_call(tmp_path: Path, what: str) -> None:
    async def flood(talk: Conversation) -> None:
        await talk.started()
        messages = FLOODS[what](talk)
        try:
            async with asyncio.timeout(0.6):
                while True:
                    for message in messages:
                        await talk.send(message)
        except Exception:
            pass  # it is cut off, or time is up

    async with world(tmp_path, "tone") as here, Bot(flood) as bot:
        ear = here.phone.audio_port(here.call, 16000)
        made = await here.stream(bot, on_close="keep")
        await bot.talk()
        ear.take()
        heard = b"".join([(await anext(ear)).heard for _ in range(40)])
        assert frequency(np.frombuffer(heard, np.int16), 16000) == pytest.approx(440, abs=5)
        assert ear.missed_ms == 0
        assert here.view().state is CallState.ACTIVE
        assert here.phone.stream_view(made.id).queued_ms <= 9 * 60_000
        assert sum(type_ == "stream.mark" for type_ in here.watch.types()) < 3000


async def test_a_stream_survives_what_the_call_goes_through(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot() as bot:
        made = await here.stream(bot)
        talk = await bot.talk()
        await here.phone.reinvite(here.call, ice_restart=True)
        await here.phone.hold(here.call)
        frames = talk.frames
        await talk.until(lambda: talk.frames > frames + 10)  # comfort silence: its clock never stops
        await here.phone.unhold(here.call)
        await talk.say(sine((1000,), 8000, 1000))
        await talk.mark("end")
        await talk.until(lambda: bool(talk.of("mark")))
        heard = np.frombuffer(bytes(talk.sound[-8000:]), np.int16)
        assert frequency(heard, 8000) == pytest.approx(1000, abs=10)
        assert len(bot.talks) == 1
        assert here.phone.stream_view(made.id).state == "started"


async def test_stopping_takes_the_bot_off_and_leaves_the_call(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Bot() as bot:
        made = await here.stream(bot, tracks="both")
        talk = await bot.talk()
        await talk.until(lambda: any(text["media"]["track"] == "outbound" for text in talk.of("media")))
        await here.phone.stop_stream(made.id)
        await talk.until(lambda: talk.close_code is not None)
        assert (talk.texts[-1]["event"], talk.close_code) == ("stop", 1000)
        assert here.view().state is CallState.ACTIVE
        await here.phone.stop_stream(made.id)
        assert here.phone.stream_view(made.id).state == "stopped"


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "ws://169.254.169.254/latest", "wss://[::1]:8443/", "wss://localhost/"]
)
async def test_a_url_of_the_api_reaches_nothing_of_this_machine(tmp_path: Path, url: str) -> None:
    async with world(tmp_path) as here:
        with pytest.raises(Denied):
            await here.phone.stream(here.call, StreamRequest(url=url))
        assert here.view().streams == ()


async def test_a_rule_gives_a_call_to_a_bot_and_a_new_daemon_dials_it_again(tmp_path: Path) -> None:
    async with Phones(tmp_path) as phones, Bot() as bot:
        rule = f'[[incoming]]\naction = "stream"\nurl = "{bot.url}"\nparameters = {{ line = "door" }}'
        bob, watch = await phones.online("bob", plugins=PLUGINS, extra=rule)
        alice, _ = await phones.online("alice")
        call = await alice.phone.place_call(CallRequest(account="alice", to="bob"), wait="answered")
        talk = await bot.talk()
        start = talk.texts[1]["start"]
        assert start["customParameters"] == {"line": "door"}
        ours = (await watch.until("stream.started")).data["stream"]
        await bob.stop(hand_over=True)
        await talk.until(lambda: talk.close_code is not None)
        assert talk.close_code == 1012
        assert talk.texts[-1]["event"] != "stop"
        bob, watch = await phones.online("bob", plugins=PLUGINS, extra=rule)
        again = await bot.talk(2, 20)
        assert again.sid == talk.sid
        assert (await watch.until("stream.started")).data["stream"].id == ours.id
        await alice.phone.hangup(call.id)
        await again.until(lambda: again.close_code is not None)
        assert again.close_code == 1000
