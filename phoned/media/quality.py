"""Estimated call quality: the E-model of ITU-T G.107, simplified for one narrow- or wide-band packet call."""

from __future__ import annotations


def mos(*, codec: str, loss: float, delay_s: float, burst_ratio: float = 1.0) -> float:
    """Mean opinion score 1.0..4.5. ``loss``: fraction of packets lost or too late; ``delay_s``: mouth to ear, one way."""
    raise NotImplementedError


def one_way_delay_s(*, rtt_s: float | None, jitter_buffer_s: float, packet_s: float = 0.02) -> float:
    """Mouth-to-ear delay estimate from what we can measure."""
    raise NotImplementedError
