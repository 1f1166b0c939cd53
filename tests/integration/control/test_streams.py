"""A bot on a call whose daemon is killed, twice: dialled again under its id; then refused, and `on_close` acts."""

from __future__ import annotations

import numpy as np

from phoned.audio.tones import sine
from tests.support.child import until
from tests.support.exchange import Exchange, Phone
from tests.support.media import frequency
from tests.support.stream_bots import Conversation, bot_beside

SAID_HZ = 1000


async def speak(talk: Conversation) -> None:
    await talk.started()
    await talk.say(sine((SAID_HZ,), 8000, 1000))
    await talk.mark("said")


def said_and_heard(talk: Conversation) -> None:
    """What the bot says is played, and comes back from the echo."""
    until(lambda: talk.of("mark"), "what it said was played")
    heard = len(talk.sound)
    assert abs(frequency(np.frombuffer(bytes(talk.sound[heard - 6400 : heard]), np.int16), 8000) - SAID_HZ) < 10


def test_a_bot_comes_over_a_crash_once_and_its_call_ends_when_it_cannot(exchange: Exchange) -> None:
    with bot_beside(speak) as bot, Phone(exchange, network={"allow_private": ["127.0.0.0/8"]}) as phone:
        phone.start()
        call = phone.calling("echo")
        stream = phone.verb(call, "streams", status=201, url=bot.url)["id"]
        until(lambda: bot.talks, "the bot is dialled")
        said_and_heard(bot.talks[0])

        phone.die()
        until(lambda: bot.talks[0].close_code is not None, "the bot has lost it")
        began = phone.again()
        phone.wait_ready()
        assert phone.call(call)["streams"] == [stream]
        phone.back(call, began)
        until(lambda: len(bot.talks) == 2, "the bot is dialled again")
        said_and_heard(bot.talks[1])
        assert bot.talks[1].sid == bot.talks[0].sid
        [view] = phone.get("/v1/streams")["data"]
        assert (view["id"], view["call"], view["state"], view["detail"]) == (stream, call, "started", None)
        assert phone.call(call)["streams"] == [stream]
        told = [seen.type for seen in phone.events.seen if seen.type.startswith("stream.")]
        assert told.count("stream.started") == 2, "once in each life"
        assert not {"stream.reconnecting", "stream.stopped", "stream.failed"} & set(told)

        phone.die()
        bot.refuse.append(403)
        phone.again()
        failed = phone.events.wait_for("stream.failed", timeout_s=20.0)
        assert (failed.data["stream"]["id"], "HTTP 403" in failed.data["detail"]) == (stream, True)
        end = phone.events.wait_for("call.ended", timeout_s=10.0).data["call"]["end"]
        assert (end["cause"], end["by"]) == ("completed", "local")
        assert (len(bot.talks), bot.refused) == (2, 1)
