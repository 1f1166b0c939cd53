"""Estimated call quality: the E-model of ITU-T G.107 in the usual simplification for packet voice.

R = 93.2 - Id(delay) - Ie,eff(codec, loss), and MOS from R. Wide-band codecs are rated on the same scale against
narrow-band listening, as monitors do: it is a number to compare calls by, not a listening test. Equipment values:
G.113 appendix I; Opus by analogy (published fits agree on Ie near 0 and a Bpl near 10 without, 20 with in-band FEC).
"""

from __future__ import annotations

_EQUIPMENT = {  # name: (Ie, Bpl) - impairment without loss, robustness against loss
    "pcmu": (0.0, 25.1),
    "pcma": (0.0, 25.1),
    "g722": (0.0, 20.0),
    "opus": (0.0, 20.0),
}
_UNKNOWN = (10.0, 10.0)


def mos(*, codec: str, loss: float, delay_s: float, burst_ratio: float = 1.0) -> float:
    """Mean opinion score 1.0..4.5.

    ``loss``: fraction 0..1 of packets lost or too late; ``delay_s``: mouth to ear, one way; ``burst_ratio``: 1 for
    random loss, more when losses come together (G.107 section 7.6).
    """
    ie, bpl = _EQUIPMENT.get(codec.lower(), _UNKNOWN)
    lost = 100.0 * min(1.0, max(0.0, loss))
    effective = ie + (95.0 - ie) * lost / (lost / max(1.0, burst_ratio) + bpl)
    delay_ms = max(0.0, delay_s) * 1000
    delay = 0.024 * delay_ms + (0.11 * (delay_ms - 177.3) if delay_ms > 177.3 else 0.0)
    return score(93.2 - delay - effective)


def score(rating: float) -> float:
    """MOS from the rating factor R (G.107 annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating))


def one_way_delay_s(
    *, rtt_s: float | None, jitter_buffer_s: float, packet_s: float = 0.02, codec_s: float = 0.0065
) -> float:
    """Mouth-to-ear delay from what can be measured: half the round trip, the buffer, one packet, the codec's
    look-ahead."""
    return (rtt_s or 0.0) / 2 + jitter_buffer_s + packet_s + codec_s


class ExpectedLoss:
    """How much of what we send will be lost, from the far end's reports: up at once, down in steps.

    A report tells of five seconds or so; a path that has lost packets lately will do so again.
    """

    MOST = 30
    """Percent. Copies of more than that leave no bits for the sound itself."""
    _FORGET = 0.6
    """So much of the estimate is left after a report of no loss."""
    _NEGLIGIBLE = 0.5

    __slots__ = ("_percent",)

    def __init__(self) -> None:
        self._percent = 0.0

    def reported(self, fraction_lost: int) -> int:
        """The share of a report, in 1/256 (RFC 3550 section 6.4.1), to the percentage to expect, 0..`MOST`."""
        lost = fraction_lost / 2.56
        self._percent = max(lost, self._percent * self._FORGET + lost * (1 - self._FORGET))
        return 0 if self._percent < self._NEGLIGIBLE else min(self.MOST, round(self._percent + 0.5))
