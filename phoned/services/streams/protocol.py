"""What a bot protocol is: a pure translation between a call's audio and the messages of one WebSocket.

An instance serves one connection and is driven by the runtime of the streams: it hands in what happens in the call
and sends the messages that come back, in their order; it hands in each message of the bot and does the actions that
come back, in their order. There is no clock, no random and no input or output in here, and nothing raises: what a bot
says that cannot be understood is counted in `ignored`.

PCM is mono int16, native endian, at `rate`.

A text (``str``) goes out as a text message, ``bytes`` as a binary one. Each mark that was handed out comes back
exactly once by `played`, in its order: when what stood before it has been played, at once when nothing is queued, and
all of them when the queue is cleared, before `cleared` is called. As many may wait as a full queue has frames of 20 ms
(`phoned.stream.MAX_MARKS`); what is beyond is refused, as sound is, and told by ``stream.overflow``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Track = Literal["inbound", "outbound"]
"""``inbound``: what the far end of the call says; ``outbound``: what it is told."""

Message = str | bytes

MAX_MESSAGE = 1 << 22
"""Bytes of one message of a bot, for the WebSocket, too: 6.5 minutes of mu-law in base64, 87 s of PCM at 24 kHz."""

LARGE = 1 << 16
"""What is larger than this takes more than a millisecond to read: give it to `StreamProtocol.receive` on a thread."""

FRAME_MS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """The stream and its call, as they are told to the bot when the stream starts."""

    id: str
    """``str_`` and 32 hex digits."""
    call: str
    """``call_`` and 32 hex digits."""
    account: str
    """The account's id in the configuration."""
    direction: Literal["in", "out"]
    from_number: str
    """Who calls: a number where there is one, else a URI. Ours in an outgoing call."""
    to_number: str
    """Who is called."""
    account_sid: str | None = None
    """Of ``[twilio]``, where there is one."""
    tracks: tuple[Track, ...] = ("inbound",)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The stream's own, as given by whoever asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Put this behind what is queued to be said. Any even number of bytes, never none."""

    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Say `StreamProtocol.played` once all that is queued now has been played."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Forget what is queued; at most the 20 ms that are being said go on. Then `played` for each mark that waited,
    then `cleared`."""


Action = Play | Mark | Clear


class StreamProtocol(Protocol):
    """One connection's translator. `start` comes first and once, `stop` last and once."""

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the upgrade offers as ``Sec-WebSocket-Protocol``; empty: nothing."""
        ...

    @property
    def rate(self) -> int:
        """Hz of the PCM, both ways."""
        ...

    @property
    def ignored(self) -> Mapping[str, int]:
        """How many messages were passed over, by reason. The reasons are few and ours, never a bot's text."""
        ...

    def start(self, info: StreamInfo) -> list[Message]:
        """The connection is up: what the bot is told first."""
        ...

    def audio(self, pcm: bytes, track: Track) -> list[Message]:
        """20 ms of the call, silence included."""
        ...

    def skipped(self, duration_ms: int, track: Track) -> list[Message]:
        """So much of the call was not handed in, since the bot was too slow: its time goes on all the same."""
        ...

    def dtmf(self, digit: str, duration_ms: int) -> list[Message]:
        """The far end pressed a key: once for each press."""
        ...

    def played(self, mark: str) -> list[Message]:
        """The mark of this name was reached. See `Mark`."""
        ...

    def cleared(self) -> list[Message]:
        """The queue was forgotten. See `Clear`."""
        ...

    def stop(self) -> list[Message]:
        """The stream ends; after these messages the socket is closed with 1000."""
        ...

    def receive(self, message: Message) -> list[Action]:
        """What the bot said. Never raises; what is larger than `MAX_MESSAGE` is passed over, too. One
        message at a time; it shares nothing with the other methods, so that it may run on a thread beside them."""
        ...
