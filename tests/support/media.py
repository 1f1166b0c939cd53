"""Two real media sessions on loopback, and ears that measure what they hear."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from phoned.audio.port import AudioPort
from phoned.media.engine import MediaEngine
from phoned.media.events import Flowing, MediaEvent
from phoned.media.options import EngineOptions, IceOptions, SessionOptions
from phoned.media.session import MediaSession
from phoned.media.shared import Fetch
from phoned.sandbox.measure import Samples

LOOPBACK = IceOptions(addresses=("127.0.0.1",), allow_loopback=True, consent_interval_s=0.5, linger_s=0.1)

E = TypeVar("E")


class Party:
    """One end of a call: its session, what it reported, and its port."""

    def __init__(self, engine: MediaEngine, name: str, options: SessionOptions) -> None:
        self.events: list[MediaEvent] = []
        self._arrived = asyncio.Event()
        self.session: MediaSession = engine.session(name, options, self._heard)
        self._port: AudioPort | None = None

    def _heard(self, event: MediaEvent) -> None:
        self.events.append(event)
        self._arrived.set()

    @property
    def port(self) -> AudioPort:
        """This end's port, made at first use."""
        if self._port is None:
            self._port = self.session.port()
        return self._port

    def all(self, kind: type[E]) -> list[E]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[E], count: int = 1, timeout_s: float = 5.0) -> E:
        """The ``count``-th event of a kind, when it is there."""
        async with asyncio.timeout(timeout_s):
            while len(self.all(kind)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.all(kind)[count - 1]

    async def listen(self, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        """So much sound, from now on."""
        port = self.port
        port.take()
        wanted = int(seconds * port.rate) * 2
        heard = b""
        async with asyncio.timeout(seconds * 3 + 2):
            async for frame in port:
                heard += frame.heard
                if len(heard) >= wanted:
                    break
        return np.frombuffer(heard[:wanted], np.int16)


class Call:
    """Two parties. ``a`` makes the first offer."""

    def __init__(self, a: Party, b: Party) -> None:
        self.a, self.b = a, b

    async def exchange(
        self, offerer: Party | None = None, *, ice_restart: bool = False, rebuild: bool = False, flow: bool = True
    ) -> tuple[bytes, bytes]:
        """One offer and its answer; with ``flow`` wait for sound both ways."""
        one = offerer or self.a
        other = self.b if one is self.a else self.a
        before = len(self.a.all(Flowing)), len(self.b.all(Flowing))
        offer = await one.session.offer(ice_restart=ice_restart, rebuild=rebuild)
        answer = await other.session.answer(offer)
        await one.session.accept_answer(answer)
        if flow:
            await self.a.wait(Flowing, before[0] + 1)
            await self.b.wait(Flowing, before[1] + 1)
        return offer, answer


@asynccontextmanager
async def call(
    options: SessionOptions | None = None,
    other: SessionOptions | None = None,
    *,
    connect: bool = True,
    recordings: Path | None = None,
    media: Path | None = None,
    hold_music: Path | None = None,
    fetch: Fetch | None = None,
) -> AsyncIterator[Call]:
    """A call between two sessions of one engine, connected, and closed at the end."""
    engine = MediaEngine(EngineOptions(recordings_dir=recordings, media_dir=media, hold_music=hold_music), fetch=fetch)
    await engine.start()
    mine = options or SessionOptions(codecs=("pcmu",), ice=LOOPBACK)
    theirs = other or replace(mine)
    pair = Call(Party(engine, "a", mine), Party(engine, "b", theirs))
    try:
        if connect:
            await pair.exchange()
        yield pair
    finally:
        await engine.stop()


def level_dbov(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> float:
    """RMS against a full-scale square wave."""
    power = float(np.mean(samples.astype(np.float64) ** 2))
    return 10 * math.log10(max(power, 1e-9) / 32768.0**2)


def frequency(samples: np.ndarray[tuple[int], np.dtype[np.int16]] | Samples, rate: int) -> float:
    """The strongest frequency in Hz."""
    windowed = samples * np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(windowed))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[int(spectrum.argmax())])


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for something that has no event."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


class Relay(asyncio.DatagramProtocol):
    """One half of a lossy wire: what comes in here leaves through ``other`` towards ``target``."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.other: Relay | None = None
        self.target: tuple[str, int] | None = None
        """Where this half sends to: the real address of the party that it stands in front of the other for."""
        self.drop: Callable[[bytes], bool] = lambda data: False
        self.passed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.other is not None and not self.drop(data):
            self.passed += 1
            self.other.inject(data)

    def inject(self, data: bytes) -> None:
        """Send this to the target, from an address that it trusts."""
        if self.transport is not None and self.target is not None:
            self.transport.sendto(data, self.target)


@asynccontextmanager
async def wire() -> AsyncIterator[tuple[Relay, Relay]]:
    """``(towards_a, towards_b)``: sends to a, and takes what a sends; and the same for b."""
    loop = asyncio.get_running_loop()
    halves = []
    for _ in range(2):
        _, protocol = await loop.create_datagram_endpoint(Relay, local_addr=("127.0.0.1", 0))
        halves.append(protocol)
    halves[0].other, halves[1].other = halves[1], halves[0]
    try:
        yield halves[0], halves[1]
    finally:
        for half in halves:
            assert half.transport is not None
            half.transport.close()
        await asyncio.sleep(0)


def through(description: bytes, owner: Relay, stand_in: Relay) -> bytes:
    """A description whose candidate is replaced by a relay: ``owner`` learns the real address."""
    assert stand_in.transport is not None
    port = re.search(rb"m=audio (\d+)", description)
    assert port is not None
    owner.target = ("127.0.0.1", int(port[1]))
    seen = str(stand_in.transport.get_extra_info("sockname")[1]).encode()
    return description.replace(b" " + port[1] + b" ", b" " + seen + b" ")


async def connect_through(pair: Call, halves: tuple[Relay, Relay]) -> None:
    """Offer and answer by way of the wire, until sound flows both ways."""
    towards_a, towards_b = halves
    offer = through(await pair.a.session.offer(), towards_a, towards_b)
    answer = through(await pair.b.session.answer(offer), towards_b, towards_a)
    await pair.a.session.accept_answer(answer)
    await pair.a.wait(Flowing)
    await pair.b.wait(Flowing)
