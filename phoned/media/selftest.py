"""The contract with aioice, aiortc and libsrtp, tried for real: ICE, DTLS, ten packets, a tone, one swap under them.

Two sessions on loopback. Run by the test suite and by `phoned doctor`: the parts of these libraries that we lean on are
not all public, and an update that changes one must be seen before a call is lost to it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from phoned.audio.port import AudioPort
from phoned.media.engine import MediaEngine
from phoned.media.events import Flowing, MediaEvent, MediaFailed, RestartFailed
from phoned.media.options import IceOptions, SessionOptions
from phoned.media.session import MediaSession

PACKETS = 10
TONE_HZ = 1000
LEAST_TONE = 0.5
"""Of the energy of what is heard, the part that is the tone."""
LEAST_LEVEL = 1000.0
"""RMS of int16 samples; the tone is played at 6000."""


class SelfTestFailed(Exception):
    """The media stack does not do what phoned needs. The text says which step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What was measured, in milliseconds."""

    connect_ms: float
    """From the first offer to sound both ways."""
    swap_ms: float
    """The same for an ICE restart that keeps the association."""
    lost: int
    """Packets lost in the swap."""


async def self_test(
    *, address: str = "127.0.0.1", codecs: tuple[str, ...] = ("pcmu",), deadline_s: float = 10.0
) -> SelfTest:
    """Make a call with ourselves. Raises `SelfTestFailed`."""
    engine = MediaEngine()
    await engine.start()
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    events: list[tuple[str, MediaEvent]] = []

    def hear(name: str, event: MediaEvent) -> None:
        events.append((name, event))
        arrived.set()

    options = SessionOptions(codecs=codecs, ice=IceOptions(addresses=(address,), allow_loopback=True))
    one = engine.session("selftest-1", options, lambda event: hear("1", event))
    other = engine.session("selftest-2", options, lambda event: hear("2", event))

    async def flowing(generation: int) -> None:
        while True:
            for name, event in events:
                if isinstance(event, MediaFailed | RestartFailed):
                    raise SelfTestFailed(f"end {name}: {event.cause} {event.detail}")
            there = {name for name, e in events if isinstance(e, Flowing) and e.ice_generation == generation}
            if len(there) == 2:
                return
            arrived.clear()
            await arrived.wait()

    step = "the first connection"
    try:
        async with asyncio.timeout(deadline_s):
            began = loop.time()
            await _exchange(one, other, ice_restart=False)
            await flowing(1)
            connected = loop.time()
            step = f"{PACKETS} packets"
            while min(one.stats().packets_received, other.stats().packets_received) < PACKETS:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            step = "a tone"
            await _tone(one.port(), other.port())
            step = "the swap"
            restarted = loop.time()
            await _exchange(one, other, ice_restart=True)
            await flowing(2)
            swapped = loop.time()
        if {one.stats().dtls_generation, other.stats().dtls_generation} != {1}:
            raise SelfTestFailed("the swap made a new association")
        lost = one.stats().packets_lost + other.stats().packets_lost
    except TimeoutError as error:
        raise SelfTestFailed(f"{step} did not come about in {deadline_s:g} s") from error
    finally:
        await engine.stop()
    return SelfTest(
        connect_ms=round((connected - began) * 1000, 1), swap_ms=round((swapped - restarted) * 1000, 1), lost=lost
    )


async def _exchange(one: MediaSession, other: MediaSession, *, ice_restart: bool) -> None:
    offer = await one.offer(ice_restart=ice_restart)
    await one.accept_answer(await other.answer(offer))


async def _tone(mouth: AudioPort, ear: AudioPort) -> None:
    """Play a tone at one end until it is heard at the other."""
    samples = np.arange(mouth.rate // 10)
    tenth = (8485 * np.sin(2 * np.pi * TONE_HZ * samples / mouth.rate)).astype(np.int16).tobytes()
    heard = b""
    try:
        async for frame in ear:
            if mouth.queued_ms < 200:
                mouth.write(tenth)
            heard = (heard + frame.heard)[-ear.rate * 2 :]
            if is_tone(heard[-ear.rate // 5 * 2 :], ear.rate):
                return
        raise SelfTestFailed("the call ended under the tone")
    finally:
        mouth.close()
        ear.close()


def is_tone(pcm: bytes, rate: int) -> bool:
    """Whether 0.2 s of mono int16 are the tone and little else."""
    samples = np.frombuffer(pcm, np.int16).astype(np.float64)
    if len(samples) < rate // 5 or np.sqrt(np.mean(samples**2)) < LEAST_LEVEL:
        return False
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    middle = round(TONE_HZ * len(samples) / rate)
    return bool(spectrum[middle - 3 : middle + 4].sum() > LEAST_TONE * spectrum.sum())
