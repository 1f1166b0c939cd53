"""Audio codecs of one call: `create` makes a codec for a graph rate, `Playout` turns jitter buffer actions into frames.

The graph works in mono int16 frames of 20 ms at a ``sample_rate`` of 8000, 16000 or 48000 Hz. A codec speaks that
rate on its PCM side, whatever its own rate is (G.711 and G.722 resample inside). Codecs know nothing of RTP beyond
their clock.
"""

from __future__ import annotations

from typing import Protocol

from phoned.errors import InvalidValue
from phoned.media.codecs import libopus
from phoned.media.codecs.g711 import G711
from phoned.media.codecs.g722 import G722
from phoned.media.codecs.opus import Opus
from phoned.media.codecs.resample import RATES

__all__ = ["NAMES", "Codec", "available", "create"]

NAMES = ("opus", "g722", "pcmu", "pcma")
"""Every codec of phoned, in its order of preference."""


class Codec(Protocol):
    """Encoder and decoder of one call. Not shared between calls or threads."""

    @property
    def name(self) -> str:
        """``opus``, ``g722``, ``pcmu`` or ``pcma``."""
        ...

    @property
    def clock_rate(self) -> int:
        """RTP clock in Hz."""
        ...

    @property
    def sample_rate(self) -> int:
        """The PCM side: the graph's rate in Hz."""
        ...

    def encode(self, pcm: bytes) -> bytes:
        """A frame (``sample_rate // 50`` samples, mono int16) to a payload; empty: send nothing now (DTX)."""
        ...

    @property
    def discontinuous(self) -> bool:
        """`encode` sends nothing while it is quiet (DTX)."""
        ...

    def suit(self, fmtp: str) -> None:
        """Encode from now on as the far end's format parameters (a=fmtp) ask."""
        ...

    def expect_loss(self, percent: int) -> None:
        """So many of 100 packets will be lost: encode so that what is lost can be made good."""
        ...

    def decode(self, payload: bytes) -> bytes:
        """A payload of any length to mono int16. Never raises: a broken payload is concealed as 20 ms."""
        ...

    def conceal(self) -> bytes:
        """20 ms of made-up sound in place of a lost packet."""
        ...

    def rest(self) -> bytes:
        """20 ms in which the sender is quiet and sends nothing: silence, or the noise that it left behind."""
        ...

    def decode_fec(self, next_payload: bytes) -> bytes | None:
        """The lost 20 ms from the copy inside the packet after it; None when the codec carries no copies."""
        ...

    def duration(self, payload: bytes) -> int:
        """How long a payload lasts, in RTP clock units; 0 for a broken one."""
        ...


def create(
    name: str,
    sample_rate: int,
    *,
    bitrate: int = 24000,
    complexity: int = 1,
    dtx: bool = False,
    expected_loss_pct: int = 0,
) -> Codec:
    """Make a codec by its SDP name in any case; the keyword options concern Opus only.

    Complexity 1 at 24 kbit/s is wide-band speech for 40-60 % of the CPU of complexity 5. Raises `InvalidValue` for
    another name or rate, `UnavailableError` when libopus is missing.
    """
    if sample_rate not in RATES:
        raise InvalidValue(f"no audio graph runs at {sample_rate} Hz", pointer="/sample_rate")
    match name.lower():
        case "opus":
            return Opus(
                sample_rate,
                bitrate=bitrate,
                complexity=complexity,
                dtx=dtx,
                expected_loss_pct=expected_loss_pct,
            )
        case "pcmu" | "pcma" as law:
            return G711(law, sample_rate)
        case "g722":
            return G722(sample_rate)
        case _:
            raise InvalidValue(f"there is no codec {name!r}", pointer="/codec")


def available() -> tuple[str, ...]:
    """The codecs that this machine can run, in order of preference."""
    return NAMES if libopus.found() else NAMES[1:]
