"""When RTP packets pass a namespace: read off the wire, so that no end's own counters need to be believed.

It sees when packets arrive, not whether their keys are good: hold its figure against the ends' counters.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from itertools import pairwise
from types import TracebackType
from typing import Literal, Self

from tests.support.netns import Lab, Place

Way = Literal["in", "out"]

_ETH_P_ALL, _ETH_P_IP, _UDP = 0x0003, 0x0800, 17
_OUTGOING = socket.PACKET_OUTGOING
_SO_TIMESTAMPNS = 35
_ENOUGH = 60
"""Bytes of a packet that are looked at."""


class Tap:
    """Notes the CLOCK_MONOTONIC time of each RTP packet of a namespace, by direction; what stays inside it does not
    count. RTP may be wrapped as ChannelData on its way to a TURN server (RFC 8656 section 12.4)."""

    def __init__(self, lab: Lab, place: Place) -> None:
        with lab.entered(place):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._skew = time.monotonic() - time.time()
        self._times: dict[Way, list[float]] = {"in": [], "out": []}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tap-{place}", daemon=True)
        self._thread.start()

    def gap(self, way: Way, since: float) -> float:
        """The longest time without a packet that ended, or still lasts, after ``since``. Seconds."""
        times, now = list(self._times[way]), time.monotonic()
        before = max((at for at in times if at <= since), default=since)
        after = [at for at in times if at > since]
        edges = [before, *after, now]
        return max(later - earlier for earlier, later in pairwise(edges))

    def steady(self, way: Way, seconds: float = 1.0) -> bool:
        """Packets flow: nearly one each 20 ms for so long, up to now."""
        since = time.monotonic() - seconds
        recent = 0
        for at in reversed(self._times[way]):
            if at < since:
                break
            recent += 1
        return recent >= 0.85 * 50 * seconds

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._socket], [], [], 0.2)[0]:
                continue
            data, ancillary, _, (interface, protocol, kind, *_) = self._socket.recvmsg(_ENOUGH, 64)
            if interface == "lo" or protocol != _ETH_P_IP or not _is_rtp(data):
                continue
            at = time.monotonic()
            for level, type_, value in ancillary:
                if level == socket.SOL_SOCKET and type_ == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    at = seconds + nanoseconds / 1e9 + self._skew
            self._times["out" if kind == _OUTGOING else "in"].append(at)


def _is_rtp(packet: bytes) -> bool:
    """An IPv4 packet with UDP in it and RTP in that; not RTCP (RFC 5761 4), DTLS or STUN (RFC 7983)."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < header + 10 or packet[9] != _UDP:
        return False
    payload = packet[header + 8 :]
    if 0x40 <= payload[0] <= 0x4F:
        payload = payload[4:]
    if len(payload) < 2:
        return False
    first, second = payload[0], payload[1]
    return first >> 6 == 2 and not 64 <= second & 0x7F <= 95
