"""`phonectl top`: accounts and calls, live. A page on a terminal, blocks of text in a pipe, NDJSON with ``--json``."""

from __future__ import annotations

import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.ctl import output
from api.ctl.arguments import Json
from api.ctl.board import Board
from api.ctl.client import ERROR, Client, Failure
from api.ctl.follow import follow
from api.ctl.screen import Screen
from api.ctl.session import command, session

BACKLOG = 1000
KEY_S = 0.1
QUIT = ("q", "Q", "\x1b", "\x03", "\x04")

Fact = dict[str, Any] | Failure | bool
"""An event, the end of the stream, or whether the daemon is there."""


class Feed:
    """The stream of events, read by a thread that ends with the process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._facts: queue.Queue[Fact] = queue.Queue(BACKLOG)
        threading.Thread(target=self._read, name="events", daemon=True).start()

    def _read(self) -> None:
        try:
            for item in follow(
                self._client, None, lost=lambda: self._facts.put(False), back=lambda: self._facts.put(True)
            ):
                self._facts.put(item)
        except Failure as failure:
            self._facts.put(failure)
        except (ValueError, KeyError, TypeError):
            self._facts.put(Failure(ERROR, "these are no events of phoned", "check --url"))
        except RuntimeError:
            pass  # the client was closed under us: the command is over

    def into(self, board: Board, timeout_s: float) -> bool:
        """Let the board hear what has come, waiting at most this long for the first. Whether something had. Raises the
        `Failure` that ended the stream."""
        heard = False
        try:
            fact = self._facts.get(timeout=timeout_s) if timeout_s > 0 else self._facts.get_nowait()
            while True:
                heard = True
                _tell(board, fact)
                fact = self._facts.get_nowait()
        except queue.Empty:
            return heard


def _tell(board: Board, fact: Fact) -> None:
    match fact:
        case Failure():
            raise fact
        case bool():
            board.connected = fact
        case _:
            board.take(fact, time.monotonic())


@command("top")
def top(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two pictures.")] = 1.0,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Accounts and calls, live. Ends with q or Ctrl-C."""
    on = session(context, as_json)
    board, feed = Board(), Feed(on.client)
    while not board.known:
        feed.into(board, timeout_s=interval)
    if on.as_json or not sys.stdout.isatty():
        _print(board, feed, interval, count, as_json=on.as_json)
    else:
        _show(board, feed, interval, count)


def _print(board: Board, feed: Feed, interval_s: float, count: int | None, *, as_json: bool) -> None:
    """A picture each interval, for whoever reads the pipe."""
    while True:
        now = time.monotonic()
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = "" if as_json else "\n".join((at, *board.lines(now), ""))
        output.emit({"time": at, **board.snapshot(now)}, as_json=as_json, text=text)
        if count is not None:
            count -= 1
            if count == 0:
                return
        until = now + interval_s
        while (left := until - time.monotonic()) > 0:
            feed.into(board, left)


def _show(board: Board, feed: Feed, interval_s: float, count: int | None) -> None:
    """A page that is drawn anew at each event, and each interval for the times."""
    with Screen() as screen:
        while True:
            screen.draw(board.lines(time.monotonic()))
            if count is not None:
                count -= 1
                if count == 0:
                    return
            until = time.monotonic() + interval_s
            while time.monotonic() < until:
                if screen.key(KEY_S) in QUIT:
                    return
                if feed.into(board, 0.0):
                    break
