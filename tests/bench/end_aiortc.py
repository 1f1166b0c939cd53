"""One end of N calls: aiortc's RTCPeerConnection as it comes, except for what the arguments say.

``python -m tests.bench.end_aiortc CODEC [LAYOUT [BITRATE COMPLEXITY]]``: aiortc sends Opus in stereo with 96 kbit/s and
libopus's complexity 10; a comparison of phones wants mono.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from fractions import Fraction
from pathlib import Path

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.codecs import opus
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

from phoned.tasks import Tasks
from tests.bench.end import Json, serve
from tests.bench.speech import frames, start_of


class Speech(MediaStreamTrack):
    """The microphone, paced as aiortc's own tracks are."""

    kind = "audio"

    def __init__(self, rate: int, number: int) -> None:
        super().__init__()
        self._rate = rate
        self._sound = frames(rate)
        self._start = start_of(number)
        self._count = 0
        self._began: float | None = None

    async def recv(self) -> AudioFrame:
        size = self._rate // 50
        if self._began is None:
            self._began = time.time()
        else:
            await asyncio.sleep(self._began + self._count * 0.02 - time.time())
        sound = np.frombuffer(self._sound[(self._start + self._count) % len(self._sound)], np.int16)
        frame = AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "mono")
        frame.sample_rate = self._rate
        frame.pts = self._count * size
        frame.time_base = Fraction(1, self._rate)
        self._count += 1
        return frame


class Calls:
    """Orders to peer connections."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._rate = 48_000 if codec == "opus" else 8_000
        self._connections: list[RTCPeerConnection] = []
        self._tasks = Tasks("ears", lambda name, error: print(name, repr(error), file=sys.stderr))
        self._heard: list[int] = []
        self._reported = 0
        self._kept: list[tuple[float, bytes]] = []
        self._keeping = False
        self._changed = asyncio.Event()

    def _new(self) -> RTCPeerConnection:
        number = len(self._connections)
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._heard.append(0)

        @connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._tasks.spawn(f"ear-{number}", self._listen(number, track))

        self._connections.append(connection)
        return connection

    async def _listen(self, number: int, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                self._heard[number] += 1
                if self._keeping and number == 0 and isinstance(frame, AudioFrame):
                    sound = frame.to_ndarray().reshape(-1, len(frame.layout.channels)).mean(axis=1)
                    self._kept.append((time.monotonic(), sound.astype(np.int16).tobytes()))
                if self._heard[number] == 1:
                    self._changed.set()
        except MediaStreamError:
            pass  # the call has ended

    def _speak(self, connection: RTCPeerConnection) -> None:
        connection.addTrack(Speech(self._rate, len(self._connections)))
        capabilities = RTCRtpReceiver.getCapabilities("audio")
        assert capabilities is not None
        wanted = [codec for codec in capabilities.codecs if codec.mimeType.lower() == f"audio/{self._codec}"]
        connection.getTransceivers()[0].setCodecPreferences(wanted)

    async def do(self, verb: str, order: Json) -> Json:
        """Carry out one order."""
        match verb:
            case "offer":
                return {"offers": [await self._offer() for _ in range(order["count"])]}
            case "answer":
                return {"answers": await asyncio.gather(*(self._answer(offer) for offer in order["offers"]))}
            case "accept":
                fresh = self._connections[-len(order["answers"]) :]
                for connection, answer in zip(fresh, order["answers"], strict=True):
                    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
                return {}
            case "flowing":
                async with asyncio.timeout(60):
                    while not all(self._heard):
                        self._changed.clear()
                        await self._changed.wait()
                return {}
            case "listen":
                self._kept.clear()
                self._keeping = True
                return {}
            case "heard":
                await asyncio.to_thread(Path(order["path"]).write_bytes, played(self._kept))
                return {"rate": 48_000}
            case "count":
                heard, self._reported = sum(self._heard) - self._reported, sum(self._heard)
                return {"heard": heard}
            case _:
                raise ValueError(verb)

    async def _offer(self) -> str:
        connection = self._new()
        self._speak(connection)
        await connection.setLocalDescription(await connection.createOffer())
        return connection.localDescription.sdp

    async def _answer(self, offer: str) -> str:
        connection = self._new()
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self._speak(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp


def played(frames_heard: list[tuple[float, bytes]], ahead: int = 2) -> bytes:
    """What a sound card makes of frames that arrive when they do: it starts when ``ahead`` are there, takes one each
    20 ms, and plays silence when there is none."""
    if len(frames_heard) <= ahead:
        return b""
    silence = bytes(len(frames_heard[0][1]))
    waiting: deque[bytes] = deque()
    out: list[bytes] = []
    at = frames_heard[ahead - 1][0]
    coming = deque(frames_heard)
    while coming or waiting:
        while coming and coming[0][0] <= at + 1e-6:
            waiting.append(coming.popleft()[1])
        out.append(waiting.popleft() if waiting else silence)
        at += 0.02
    return b"".join(out)


def change_opus(layout: str, settings: list[str]) -> None:
    """Make aiortc's Opus mono, and with two more words of that bit rate and complexity."""

    class Encoder(opus.OpusEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.codec.layout = layout
            if settings:
                self.codec.bit_rate = int(settings[0])
                self.codec.options = {"application": "voip", "compression_level": settings[1]}
            self.resampler = AudioResampler(
                format="s16", layout=layout, rate=opus.SAMPLE_RATE, frame_size=opus.SAMPLES_PER_FRAME
            )

    class Decoder(opus.OpusDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.codec.layout = layout

    from aiortc import codecs

    vars(codecs).update(OpusEncoder=Encoder, OpusDecoder=Decoder)


def main() -> None:
    """Serve."""
    codec, *rest = sys.argv[1:]
    if rest:
        change_opus(rest[0], rest[1:])
    calls: Calls | None = None

    async def do(verb: str, order: Json) -> Json:
        nonlocal calls
        calls = calls or Calls(codec)
        return await calls.do(verb, order)

    serve(do)


if __name__ == "__main__":
    main()
