"""A whole terminal for a while, on a pseudo terminal: drawn on, read from, and given back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO, cast

import pytest

from api.ctl import top
from api.ctl.board import Board
from api.ctl.client import ERROR, Client, Failure
from api.ctl.screen import ENTER, LEAVE, Screen


@dataclass
class Pair:
    """Both ends of a terminal."""

    master: int
    slave: int
    reader: TextIO
    writer: TextIO

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From within the test: pytest puts its own stdout in place after the fixtures."""
        monkeypatch.setattr(sys, "stdin", self.reader)
        monkeypatch.setattr(sys, "stdout", self.writer)

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def shown(self) -> str:
        text = b""
        while select.select([self.master], [], [], 0.2)[0]:
            text += os.read(self.master, 65536)
        return text.decode()


@pytest.fixture
def pair() -> Iterator[Pair]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 80, 0, 0))
    with open(slave, closefd=False) as reader, open(slave, "w", closefd=False) as writer:
        yield Pair(master, slave, reader, writer)
    os.close(master)
    os.close(slave)


def test_it_draws_what_there_is_room_for_and_hears_keys(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.use(monkeypatch)
    before = pair.mode()
    with Screen() as screen:
        screen.draw(["one", "two", "three", "four"])
        assert screen.key(0.0) == ""
        os.write(pair.master, b"q")
        assert screen.key(5.0) == "q"
        assert pair.mode() != before
    assert pair.mode() == before
    shown = pair.shown()
    assert shown.startswith(ENTER)
    assert shown.endswith(LEAVE)
    assert "three\x1b[K\x1b[J" in shown
    assert "four" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_the_terminal_given_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    pair.use(monkeypatch)
    before, handler = pair.mode(), signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, Screen():
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
    assert pair.mode() == before
    assert signal.getsignal(number) == handler


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.use(monkeypatch)
    before = pair.mode()
    stopped: list[list[Any]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append([pid, number, pair.mode()]))
    with Screen():
        signal.raise_signal(signal.SIGTSTP)
        assert pair.mode() != before
    assert stopped == [[os.getpid(), signal.SIGSTOP, before]]
    assert pair.shown().count(ENTER) == 2


def test_without_a_keyboard_it_only_shows(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.use(monkeypatch)
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with Screen() as screen:
            assert screen.key(0.0) == ""
    assert pair.shown() == ENTER + LEAVE


class Daemon:
    """What the feed's client gives."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def follow(self, after: int | None) -> Iterator[Any]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


SNAPSHOT = {"type": "events.snapshot", "data": {"accounts": [], "calls": [], "last_seq": 1}}


def board_after(*items: Any) -> Board:
    board, feed = Board(), top.Feed(cast(Client, Daemon(*items)))
    while not board.known:
        feed.into(board, 5.0)
    return board


@pytest.mark.parametrize("make", [lambda: ValueError("no JSON"), lambda: Failure(ERROR, "no")])
def test_the_end_of_the_stream_ends_the_command(make: Callable[[], Exception]) -> None:
    feed = top.Feed(cast(Client, Daemon(make())))
    with pytest.raises(Failure) as failure:
        feed.into(Board(), 5.0)
    assert failure.value.code == ERROR


def test_as_many_pictures_are_drawn_as_asked_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.use(monkeypatch)
    feed = top.Feed(cast(Client, Daemon(SNAPSHOT, SNAPSHOT, RuntimeError("closed"))))
    top._show(Board(), feed, 0.1, 2)
    assert pair.shown().count("0 of 0 accounts online") == 2


def test_a_client_that_is_closed_under_the_feed_is_the_end_of_it() -> None:
    assert board_after(SNAPSHOT, RuntimeError("closed")).known
