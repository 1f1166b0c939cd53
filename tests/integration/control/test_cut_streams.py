"""Event streams that are cut at any byte while calls go on and daemons come and go: each event once, none missing."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import unix_connect

from tests.support.cutter import Cutter
from tests.support.exchange import Exchange, Phone

LONGEST = 12_000
"""Bytes until the cut, at most: from the middle of a head to a dozen events."""
ENDS = (signal.SIGKILL, signal.SIGUSR2, signal.SIGTERM)
Json = dict[str, Any]
Connection = Callable[[Path, int], Iterator[Json]]


def server_sent(path: Path, last: int) -> Iterator[Json]:
    """As an EventSource reads: an event counts once its empty line is there; the place goes along in a header."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://phoned", timeout=30) as client:
        headers = {"Last-Event-ID": str(last)} if last else {}
        with client.stream("GET", "/v1/events", params={"after": 0}, headers=headers) as response:
            data = ""
            text = ""
            for piece in response.iter_text():
                text += piece
                *lines, text = text.split("\n")
                for line in lines:
                    if line.startswith("data: "):
                        data += line[6:]
                    elif not line and data:
                        yield json.loads(data)
                        data = ""


def web_socket(path: Path, last: int) -> Iterator[Json]:
    """A message is whole or none."""
    with unix_connect(str(path), f"ws://phoned/v1/events/ws?after={last}") as connection:
        for message in connection:
            yield json.loads(message)


class Listener(threading.Thread):
    """Connects again and again. ``seen``: numbers in the order in which they came."""

    def __init__(self, path: Path, connection: Connection) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._connection = connection
        self.seen: list[int] = []
        self.others: list[str] = []
        """Types of what has no number."""
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                for event in self._connection(self._path, self.seen[-1] if self.seen else 0):
                    if "seq" in event:
                        self.seen.append(event["seq"])
                    else:
                        self.others.append(event["type"])
                    if self.over.is_set():
                        break
            except (httpx.HTTPError, OSError, EOFError, WebSocketException, InvalidHandshake):
                self.over.wait(0.02)


class Traffic(threading.Thread):
    """Calls, one after the other; each is three events and more."""

    def __init__(self, phone: Phone) -> None:
        super().__init__(daemon=True)
        self._phone = phone
        self.over = threading.Event()
        self.placed = 0

    def run(self) -> None:
        while not self.over.is_set():
            try:
                answer = self._phone.http.post("/v1/calls", json={"account": "alice", "to": "busy", "wait": "answered"})
                self.placed += answer.status_code == 502
            except (httpx.HTTPError, RuntimeError):
                pass  # the daemon is away
            self.over.wait(0.005)


@contextmanager
def traffic(phone: Phone) -> Iterator[Traffic]:
    calls = Traffic(phone)
    calls.start()
    try:
        yield calls
    finally:
        calls.over.set()
        calls.join(20)


@pytest.fixture
def busy_phone(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange, dial={"max_per_minute": 100_000}) as made:
        made.start()
        made.wait_ready()
        yield made


def every_event_once(phone: Phone, connection: Connection, *, cuts: int, seed: int) -> None:
    dice = random.Random(seed)
    wanted: list[int | None] = [dice.randrange(1, LONGEST) for _ in range(cuts)]

    def allowance() -> int | None:
        return wanted.pop() if wanted else None

    with Cutter(phone.directory / "cut.sock", phone.socket, allowance) as cutter:
        listener = Listener(cutter.path, connection)
        listener.start()
        for number, end in enumerate(ENDS, 1):
            with traffic(phone):
                phone.until(
                    lambda share=number: cutter.cuts >= cuts * share // 4,  # type: ignore[misc]  # bound in the loop
                    f"{number} of 4 parts of the cuts",
                    600.0,
                )
            phone.leave(end)
            phone.again()
            phone.wait_ready()
        with traffic(phone):
            phone.until(lambda: not wanted, "the last cuts", 600.0)
        phone.events.wait_for("call.ended")
        phone.until(lambda: phone.get("/v1/calls?state=dialing")["data"] == [], "calls have ended")
        newest = phone.get("/v1/status")["event_seq"]
        phone.until(lambda: listener.seen and listener.seen[-1] >= newest, "the rest", 60.0)
        listener.over.set()
        assert listener.seen[:newest] == list(range(1, newest + 1)), f"seed {seed}"
        assert listener.others == []
        assert newest > cuts * 2


@pytest.mark.parametrize("connection", [server_sent, web_socket])
def test_each_event_comes_once_over_fifty_cuts_and_three_restarts(busy_phone: Phone, connection: Connection) -> None:
    every_event_once(busy_phone, connection, cuts=50, seed=random.randrange(2**32))


@pytest.mark.long
@pytest.mark.parametrize("connection", [server_sent, web_socket])
def test_each_event_comes_once_over_a_thousand_cuts_and_three_restarts(
    busy_phone: Phone, connection: Connection
) -> None:
    every_event_once(busy_phone, connection, cuts=1000, seed=random.randrange(2**32))
