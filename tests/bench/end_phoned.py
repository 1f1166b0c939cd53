"""One end of N calls: phoned's own media engine and sessions, on loopback.

``python -m tests.bench.end_phoned CODEC GRAPH_RATE [ADDRESS]``: every call says the same speech, from another place in
it. What the first one hears can be kept.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from phoned.media.engine import MediaEngine
from phoned.media.events import Flowing, MediaEvent, MediaFailed
from phoned.media.graph import CallableSink
from phoned.media.options import IceOptions, SessionOptions
from phoned.media.session import MediaSession
from tests.bench.end import Json, serve
from tests.bench.speech import frames, start_of

ICE = IceOptions(allow_loopback=True, connect_deadline_s=30.0)


class Speaker:
    """The microphone. The sound is shared, so that it is not counted as memory of the call."""

    def __init__(self, sound: tuple[bytes, ...], start: int) -> None:
        self._sound = sound
        self._at = start
        self.last: tuple[float, int] = (0.0, 0)
        """When the newest frame was taken, and which of the sound's it was."""

    def read(self) -> bytes:
        """The next frame."""
        frame = self._sound[self._at]
        self.last = (time.monotonic(), self._at)
        self._at = (self._at + 1) % len(self._sound)
        return frame


class Calls:
    """Orders to sessions."""

    def __init__(self, codec: str, rate: int, address: str) -> None:
        ice = replace(ICE, addresses=(address,))
        self._options = SessionOptions(codecs=(codec,), graph_rate=rate, ice=ice, handshake_deadline_s=30.0)
        self._rate = rate
        self._engine = MediaEngine()
        self._started = False
        self._sessions: list[MediaSession] = []
        self._flowing: set[int] = set()
        self._failures: list[str] = []
        self._changed = asyncio.Event()
        self._heard = 0
        self._speakers: list[Speaker] = []
        self._kept: list[bytes] = []
        self._kept_at = 0.0

    def _new(self) -> MediaSession:
        number = len(self._sessions)

        def on_event(event: MediaEvent) -> None:
            if isinstance(event, Flowing):
                self._flowing.add(number)
            elif isinstance(event, MediaFailed):
                self._failures.append(f"call {number}: {event.cause} {event.detail}")
            self._changed.set()

        session = self._engine.session(f"call-{number}", self._options, on_event)
        self._speakers.append(Speaker(frames(self._rate), start_of(number)))
        session.graph.sources.append(self._speakers[-1])
        session.graph.sinks.append(CallableSink(self._hear))
        self._sessions.append(session)
        return session

    def _keep(self, frame: bytes) -> None:
        self._kept.append(frame)
        self._kept_at = time.monotonic()

    def _hear(self, frame: bytes) -> None:
        self._heard += 1

    async def do(self, verb: str, order: Json) -> Json:
        """Carry out one order."""
        if not self._started:
            await self._engine.start()
            self._started = True
        match verb:
            case "offer":
                sessions = [self._new() for _ in range(order["count"])]
                return {"offers": [(await session.offer()).decode() for session in sessions]}
            case "answer":
                sessions = [self._new() for _ in order["offers"]]
                pairs = zip(sessions, order["offers"], strict=True)
                return {"answers": [(await session.answer(offer.encode())).decode() for session, offer in pairs]}
            case "accept":
                sessions = self._sessions[-len(order["answers"]) :]
                for session, answer in zip(sessions, order["answers"], strict=True):
                    await session.accept_answer(answer.encode())
                return {}
            case "flowing":
                async with asyncio.timeout(40):
                    while len(self._flowing) < len(self._sessions) and not self._failures:
                        self._changed.clear()
                        await self._changed.wait()
                return {"error": "; ".join(self._failures)} if self._failures else {}
            case "count":
                return self._count()
            case "listen":
                self._kept.clear()
                self._sessions[0].graph.sinks.append(CallableSink(self._keep))
                return {}
            case "heard":
                await asyncio.to_thread(Path(order["path"]).write_bytes, b"".join(self._kept))
                said = self._speakers[0].last
                return {"rate": self._rate, "at": self._kept_at, "said_at": said[0], "said_frame": said[1]}
            case _:
                raise ValueError(verb)

    def _count(self) -> Json:
        """Counters since the last count; tick lateness among them."""
        stats = [session.stats() for session in self._sessions]
        p50, p99 = self._engine.lateness_ms()
        clock = self._engine.clock
        clock.lateness = type(clock.lateness)()
        skipped, clock.skipped = clock.skipped, 0
        heard, self._heard = self._heard, 0
        return {
            "received": sum(one.packets_received for one in stats),
            "sent": sum(one.packets_sent for one in stats),
            "heard": heard,
            "concealed_ms": sum(one.concealed_ms for one in stats),
            "lateness_p50_ms": p50,
            "lateness_p99_ms": p99,
            "skipped": skipped,
        }


def main() -> None:
    """Serve."""
    codec, rate, *address = sys.argv[1:]
    calls: Calls | None = None

    async def do(verb: str, order: Json) -> Json:
        nonlocal calls
        calls = calls or Calls(codec, int(rate), *(address or ["127.0.0.1"]))
        return await calls.do(verb, order)

    serve(do)


if __name__ == "__main__":
    main()
