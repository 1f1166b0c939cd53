"""The format parameters of Opus (RFC 7587 section 6.1): what a receiver can and wants to hear.

Owns `OpusFormat` <-> the text of a=fmtp. Knows no encoder; what of it an encoder follows is the codec's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.media.sdp.model import parameters

FULL_BAND = 48_000
_LEAST_BITRATE, _MOST_BITRATE = 6_000, 510_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusFormat:
    """What the writer of a description asks of whoever sends to it. Nothing said is what the RFC says then."""

    playback_rate: int = FULL_BAND
    """The highest sample rate that it plays, in Hz: sound above half of it is wasted."""
    bitrate: int | None = None
    """The highest average in bit/s; None: any."""
    stereo: bool = False
    constant: bool = False
    """Constant bit rate (``cbr``)."""
    fec: bool = False
    """It makes use of the copies of in-band FEC."""
    dtx: bool = False
    """It would rather get nothing than silence."""

    @classmethod
    def parse(cls, fmtp: str) -> OpusFormat:
        """What can be understood of it; a value that is out of range is as good as not said."""
        said = parameters(fmtp)
        rate = _number(said.get("maxplaybackrate"))
        bitrate = _number(said.get("maxaveragebitrate"))
        return cls(
            playback_rate=FULL_BAND if rate is None or rate < 8_000 else min(FULL_BAND, rate),
            bitrate=bitrate if bitrate is not None and _LEAST_BITRATE <= bitrate <= _MOST_BITRATE else None,
            stereo=said.get("stereo") == "1",
            constant=said.get("cbr") == "1",
            fec=said.get("useinbandfec") == "1",
            dtx=said.get("usedtx") == "1",
        )

    def __str__(self) -> str:
        """Our own a=fmtp: what we send is like what we play. 10 ms packets are welcome."""
        stereo = int(self.stereo)
        said = ["minptime=10", f"useinbandfec={int(self.fec)}", f"stereo={stereo}", f"sprop-stereo={stereo}"]
        if self.playback_rate < FULL_BAND:
            said += [f"maxplaybackrate={self.playback_rate}", f"sprop-maxcapturerate={self.playback_rate}"]
        if self.bitrate is not None:
            said.append(f"maxaveragebitrate={self.bitrate}")
        said += ["cbr=1"] * self.constant + ["usedtx=1"] * self.dtx
        return ";".join(said)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
