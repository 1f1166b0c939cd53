"""Twilio Media Streams, bidirectional: JSON texts with mu-law at 8 kHz in base64. Pure.

Numbers are texts, as there. `sequenceNumber` counts all messages but the first, `chunk` the media of a track, and
`timestamp` is its time in milliseconds since the stream began. What the bot may say is ``media``, ``mark`` and
``clear``, each with the stream's SID.
"""

from __future__ import annotations

import binascii
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from phoned.companding import decode_table, encode_table
from phoned.services.streams.protocol import FRAME_MS, Action, Clear, Mark, Message, Play, StreamInfo, Track
from phoned.services.streams.reading import Reason, read_object, readable
from phoned.twilio import call_sid, made_up_account_sid, stream_sid

RATE = 8000


class TwilioProtocol:
    """One connection that speaks it; see `StreamProtocol`."""

    subprotocols: tuple[str, ...] = ()
    rate = RATE

    def __init__(self) -> None:
        self._ignored: Counter[str] = Counter()
        self._sid = ""
        self._call_sid = ""
        self._account_sid = ""
        self._sequence = 0
        self._chunks: Counter[Track] = Counter()
        self._time_ms: Counter[Track] = Counter()
        self._encode, self._decode = encode_table("pcmu"), decode_table("pcmu")

    @property
    def ignored(self) -> Mapping[str, int]:
        return self._ignored

    def start(self, info: StreamInfo) -> list[Message]:
        """``connected``, then ``start``."""
        self._sid = stream_sid(info.id)
        self._call_sid = call_sid(info.call)
        self._account_sid = info.account_sid or made_up_account_sid(info.account)
        started = {
            "accountSid": self._account_sid,
            "streamSid": self._sid,
            "callSid": self._call_sid,
            "tracks": list(info.tracks),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
            "customParameters": dict(info.parameters),
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), *self._event("start", started)]

    def audio(self, pcm: bytes, track: Track) -> list[Message]:
        """``media``."""
        self._sequence += 1
        self._chunks[track] += 1
        # every index fits; "wrap" only spares numpy the look at each
        codes = self._encode.take(np.frombuffer(pcm, np.uint16), mode="wrap")
        payload = binascii.b2a_base64(codes.tobytes(), newline=False).decode()
        message = (  # by hand: fifty times a second for each stream, and nothing in it needs to be escaped
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"{track}",'
            f'"chunk":"{self._chunks[track]}","timestamp":"{self._time_ms[track]}","payload":"{payload}"}},'
            f'"streamSid":"{self._sid}"}}'
        )
        self._time_ms[track] += FRAME_MS
        return [message]

    def skipped(self, duration_ms: int, track: Track) -> list[Message]:
        """A hole between two timestamps."""
        self._time_ms[track] += duration_ms
        return []

    def dtmf(self, digit: str, duration_ms: int) -> list[Message]:
        """``dtmf``, which has no word for how long."""
        return self._event("dtmf", {"track": "inbound_track", "digit": digit})

    def played(self, mark: str) -> list[Message]:
        """``mark``."""
        return self._event("mark", {"name": mark})

    def cleared(self) -> list[Message]:
        """The marks have said it."""
        return []

    def stop(self) -> list[Message]:
        """``stop``."""
        return self._event("stop", {"accountSid": self._account_sid, "callSid": self._call_sid})

    def _event(self, name: str, content: dict[str, Any]) -> list[Message]:
        self._sequence += 1
        event = {"event": name, "sequenceNumber": str(self._sequence), "streamSid": self._sid, name: content}
        return [json.dumps(event)]

    def receive(self, message: Message) -> list[Action]:
        """``media``, ``mark`` and ``clear`` of this stream."""
        found = read_object(message) if isinstance(message, str) else "not_understood"
        done = self._understand(found) if isinstance(found, dict) else found
        if isinstance(done, str):
            self._ignored[done] += 1
            return []
        return done

    def _understand(self, said: dict[str, Any]) -> list[Action] | Reason:
        match said:
            case {"event": "media" | "mark" | "clear", **rest} if rest.get("streamSid") != self._sid:
                return "wrong_stream"
            case {"event": "media", "media": {"payload": str(payload)}}:
                return self._play(payload)
            case {"event": "media"}:
                return "bad_audio"
            case {"event": "mark", "mark": {"name": str(name)}} if readable(name):
                return [Mark(name=name)]
            case {"event": "mark"}:
                return "bad_mark"
            case {"event": "clear"}:
                return [Clear()]
            case _:
                return "not_understood"

    def _play(self, payload: str) -> list[Action] | Reason:
        try:
            codes = binascii.a2b_base64(payload + "==")  # broken lines and missing padding are none of our concern
        except ValueError:
            return "bad_audio"
        pcm = self._decode.take(np.frombuffer(codes, np.uint8), mode="wrap").tobytes()
        if not pcm:
            return "bad_audio" if payload else []
        return [Play(pcm=pcm)]
