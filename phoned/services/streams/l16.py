"""Linear PCM over a WebSocket, as Vonage has it: binary messages of little-endian samples, JSON texts for the rest.
Pure.

The first message is ``websocket:connected`` with the content type and the stream's parameters beside it; then 20 ms
in each binary message. The bot may send audio of any length, and ``{"action": "clear"}`` or ``{"action": "notify",
"payload": ...}``: a mark whose name is its payload. There is no word for a track: what the far end says goes out,
nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from phoned.errors import InvalidValue
from phoned.services.streams.protocol import MAX_MESSAGE, Action, Clear, Mark, Message, Play, StreamInfo, Track
from phoned.services.streams.reading import Reason, read_object, readable

RATES = (8000, 16000, 24000)


class L16Protocol:
    """One connection that speaks it; see `StreamProtocol`."""

    subprotocols: tuple[str, ...] = ()

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise InvalidValue(f"{rate} Hz: l16 has {', '.join(map(str, RATES))}", pointer="/sample_rate")
        self.rate = rate
        self._ignored: Counter[str] = Counter()

    @property
    def ignored(self) -> Mapping[str, int]:
        return self._ignored

    def start(self, info: StreamInfo) -> list[Message]:
        """``websocket:connected``. A parameter cannot take the place of what belongs there."""
        ours = {"event": "websocket:connected", "content-type": f"audio/l16;rate={self.rate}"}
        return [json.dumps({**ours, **info.parameters, **ours})]

    def audio(self, pcm: bytes, track: Track) -> list[Message]:
        """A binary message; nothing for ``outbound``."""
        return [np.frombuffer(pcm, np.int16).astype("<i2").tobytes()] if track == "inbound" else []

    def skipped(self, duration_ms: int, track: Track) -> list[Message]:
        """There are no timestamps."""
        return []

    def dtmf(self, digit: str, duration_ms: int) -> list[Message]:
        """``websocket:dtmf``."""
        return [json.dumps({"event": "websocket:dtmf", "digit": digit, "duration": duration_ms})]

    def played(self, mark: str) -> list[Message]:
        """``websocket:notify`` with the payload that came."""
        return [f'{{"event":"websocket:notify","payload":{mark}}}']

    def cleared(self) -> list[Message]:
        """``websocket:cleared``."""
        return [json.dumps({"event": "websocket:cleared"})]

    def stop(self) -> list[Message]:
        """There is no last word: the socket is closed."""
        return []

    def receive(self, message: Message) -> list[Action]:
        """Audio, ``clear`` and ``notify``."""
        found = self._play(message) if isinstance(message, bytes) else read_object(message)
        done = self._understand(found) if isinstance(found, dict) else found
        if isinstance(done, str):
            self._ignored[done] += 1
            return []
        return done

    def _understand(self, said: dict[str, Any]) -> list[Action] | Reason:
        match said:
            case {"action": "clear"}:
                return [Clear()]
            case {"action": "notify"}:
                return self._mark(said.get("payload", {}))
            case _:
                return "not_understood"

    def _mark(self, payload: Any) -> list[Action] | Reason:
        try:
            name = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        except ValueError:  # 1e999 is read as infinity, which no answer could carry
            return "bad_mark"
        return [Mark(name=name)] if readable(name) else "bad_mark"

    def _play(self, audio: bytes) -> list[Action] | Reason:
        if len(audio) > MAX_MESSAGE:
            return "too_large"
        whole = len(audio) // 2 * 2  # half of a sample says nothing
        pcm = np.frombuffer(audio[:whole], "<i2").astype(np.int16).tobytes()
        if not pcm:
            return "bad_audio" if audio else []
        return [Play(pcm=pcm)]
