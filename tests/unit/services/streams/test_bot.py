"""What a bot shall be told: its order and its bounds."""

from __future__ import annotations

import asyncio

import pytest

from phoned.errors import AtCapacity
from phoned.services.streams.bot import MAX_NAMES, MAX_NEWS, Bot
from phoned.services.streams.protocol import Message
from phoned.services.streams.twilio import TwilioProtocol


class Socket:
    """Counts how often it was left."""

    def __init__(self) -> None:
        self.aborted = 0

    async def send(self, message: Message) -> None:
        raise AssertionError("a bot is told by its link")

    async def receive(self) -> Message:
        raise AssertionError("a bot is read by its link")

    async def close(self, code: int) -> None:
        raise AssertionError("a bot is left by its link")

    def abort(self) -> None:
        self.aborted += 1


class Said(TwilioProtocol):
    """Says little."""

    def played(self, mark: str) -> list[Message]:
        return [mark]

    def cleared(self) -> list[Message]:
        return ["cleared"]


def told(bot: Bot, most: int = 100) -> list[object]:
    return [(news.name, news.played) if news.name else news.messages[0] for news in bot.news(most)]


async def test_marks_are_told_in_their_order_once_they_are_reached_and_keys_at_once() -> None:
    bot, loop = Bot(Socket(), Said()), asyncio.get_running_loop()
    first, second, third = loop.create_future(), loop.create_future(), loop.create_future()
    bot.mark("first", lambda: first)
    bot.mark("second", lambda: second)
    bot.cleared()
    bot.mark("third", lambda: third)
    bot.tell(lambda: ["key"])
    second.set_result(False)
    assert told(bot) == ["key"]
    first.set_result(True)
    third.set_result(True)
    assert told(bot) == [("first", True), ("second", False), "cleared", ("third", True)]
    assert told(bot) == []


async def test_no_more_is_told_at_once_than_is_asked_for() -> None:
    bot, reached = Bot(Socket(), Said()), asyncio.get_running_loop().create_future()
    reached.set_result(True)
    for _ in range(5):
        bot.tell(lambda: ["key"])
        bot.mark("mark", lambda: reached)
    assert told(bot, 3) == ["key"] * 3 + [("mark", True)] * 3
    assert told(bot, 3) == ["key"] * 2 + [("mark", True)] * 2


@pytest.mark.parametrize(("name", "size"), [("n" * 4096, 4096), ("\N{SNOWMAN}" * 1024, 4096)])
async def test_names_are_bounded_until_they_are_told(name: str, size: int) -> None:
    bot, loop = Bot(Socket(), Said()), asyncio.get_running_loop()
    reached = loop.create_future()
    for _ in range(MAX_NAMES // size):
        bot.mark(name, lambda: reached)
    with pytest.raises(AtCapacity):
        bot.mark("n", loop.create_future)
    reached.set_result(True)
    assert len(told(bot, MAX_NEWS)) == MAX_NAMES // size
    bot.mark(name, loop.create_future)


async def test_a_mark_that_the_port_refuses_takes_no_room() -> None:
    def refuse() -> asyncio.Future[bool]:
        raise AtCapacity("too many")

    bot = Bot(Socket(), Said())
    for _ in range(MAX_NAMES // 4096 + 1):
        with pytest.raises(AtCapacity, match="too many"):
            bot.mark("n" * 4096, refuse)
    assert told(bot) == []


async def test_a_bot_that_lets_too_much_wait_is_left_and_takes_no_more_room() -> None:
    socket, reached = Socket(), asyncio.get_running_loop().create_future()
    bot = Bot(socket, Said())
    for _ in range(MAX_NEWS - 1):
        bot.mark("m", lambda: reached)
    bot.tell(lambda: ["key"])
    assert socket.aborted < 1
    bot.tell(lambda: ["key"])
    bot.mark("m", lambda: reached)
    bot.cleared()
    assert socket.aborted > 1
    reached.set_result(True)
    assert len(told(bot, MAX_NEWS)) == MAX_NEWS
