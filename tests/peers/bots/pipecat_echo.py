"""A bot of Pipecat's own classes, nothing of them changed: ``python pipecat_echo.py twilio|vonage RATE``.

It runs in an environment of its own (``requirements.txt``). It echoes what it hears; the key 5 makes it say a tone of
700 Hz for a minute, 0 interrupts that, # ends the pipeline: with Twilio's serializer that hangs up over the REST API at
``TWILIO_BASE_URL``, as ``TWILIO_ACCOUNT_SID`` with ``TWILIO_AUTH_TOKEN``. What happens stands on stdout, a JSON object
a line; the first has the port.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import struct
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import (
    EndWorkerFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    InterruptionWorkerFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

TONE_HZ, TONE_S, TONE_LEVEL = 700.0, 60, 8000


def tell(event: str, **facts: Any) -> None:
    """A line for whoever runs the bot."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


class Echo(FrameProcessor):  # type: ignore[misc]  # Pipecat is not installed where types are checked
    """Says what it hears, unless it has something of its own to say."""

    def __init__(self) -> None:
        super().__init__()
        self._saying = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """One frame of the pipeline."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if not self._saying:
                echo = OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
                await self.push_frame(echo)
            return
        if isinstance(frame, InterruptionFrame):
            self._saying = False
            tell("interrupted")
        elif isinstance(frame, InputDTMFFrame):
            tell("dtmf", digit=frame.button.value)
            await self._pressed(frame.button.value)
        await self.push_frame(frame, direction)

    async def _pressed(self, digit: str) -> None:
        if digit == "5":
            self._saying = True
            rate = 16_000
            samples = [int(TONE_LEVEL * math.sin(2 * math.pi * TONE_HZ * i / rate)) for i in range(rate)]
            second = struct.pack(f"<{rate}h", *samples)
            for _ in range(TONE_S):
                await self.push_frame(TTSAudioRawFrame(second, rate, 1))
        elif digit == "0":
            await self.push_frame(InterruptionWorkerFrame())
        elif digit == "#":
            await self.push_frame(EndWorkerFrame())


async def converse(websocket: WebSocket, provider: str, rate: int) -> None:
    """One call."""
    if provider == "twilio":
        kind, call = await parse_telephony_websocket(websocket)
        tell("connected", kind=kind, stream=call.stream_id, call=call.call_id, body=dict(call.body or {}))
        serializer: Any = TwilioFrameSerializer(
            stream_sid=call.stream_id,
            call_sid=call.call_id,
            account_sid=os.environ["TWILIO_ACCOUNT_SID"],
            auth_token=os.environ["TWILIO_AUTH_TOKEN"],
            base_url=os.environ["TWILIO_BASE_URL"],
        )
    else:
        tell("connected")
        serializer = VonageFrameSerializer(VonageFrameSerializer.InputParams(vonage_sample_rate=rate))
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), Echo(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=rate),
    )

    @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
    async def on_client_disconnected(transport: Any, client: Any) -> None:
        tell("disconnected")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    tell("over")


def main(provider: str, rate: int) -> None:
    """Serve until SIGTERM."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await converse(websocket, provider, rate)

    async def serve() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
            tell("listening", port=listening.getsockname()[1])
            await server.serve(sockets=[listening])

    asyncio.run(serve())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
