"""Delay, jitter and loss on interfaces of a namespace, for kernels without netem: a TAP holds the frames back.

Run inside the namespace of a router: ``python impair.py --delay-ms 25 in out``. Frames that enter one of the interfaces
are redirected (tc ingress, mirred) to a TAP that pretends to be it, held here for a while, and written back into the
router: routing, NAT and carrier events go on as before. Prints ``ready``; lines such as ``delay-ms 100 loss-pct 2`` on
stdin change what is done; the end of stdin ends it, so nobody is left behind. The order of a flow is kept, jitter or
not. Neighbour discovery of IPv6 is not held back. Needs root; knows nothing of phoned and imports nothing of it.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_EVERYTHING = ("u32", "match", "u32", "0", "0")


@dataclass
class Impairment:
    """What happens to a frame, one way."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    burst: float = 1.0
    """How many packets of a flow are lost in a row, on average; 1: each by itself."""
    drift_ppm: float = 0.0
    """The delay grows so: what comes in late as from a sender whose clock is slow. Restarts with each change."""
    since: float = 0.0
    losing: set[bytes] = field(default_factory=set)
    """Flows that are in a burst."""

    def lost(self, frame: bytes) -> bool:
        """Whether this one goes (Gilbert's model, flow by flow)."""
        if self.burst <= 1:
            return random.random() * 100 < self.loss_pct
        flow = flow_of(frame)
        if flow in self.losing:
            if random.random() < 1 / self.burst:
                self.losing.discard(flow)
        elif random.random() < self.loss_pct / (self.burst * (100 - self.loss_pct)):
            self.losing.add(flow)
        return flow in self.losing

    def update(self, line: str) -> None:
        """Apply ``delay-ms 100 loss-pct 2``."""
        words = line.split()
        for name, value in zip(words[::2], words[1::2], strict=True):
            setattr(self, name.replace("-", "_"), float(value))
        self.since = time.monotonic()
        self.losing.clear()


def flow_of(frame: bytes) -> bytes:
    """Addresses and ports, of IPv4 without options; of IPv6 the hosts."""
    return frame[26:38]


@dataclass(order=True)
class Held:
    """A frame that waits."""

    due: float
    number: int
    tap: int = field(compare=False)
    frame: bytes = field(compare=False)


def command(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return tap


def redirect(interface: str) -> int:
    """Send what enters ``interface`` to a TAP with its hardware address; the TAP's descriptor."""
    name = f"d-{interface}"
    tap = open_tap(name)
    with open(f"/sys/class/net/{interface}/address") as file:
        hardware = file.read().strip()
    command("sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0")
    command("ip", "link", "set", name, "addrgenmode", "none")
    command("ip", "link", "set", name, "address", hardware, "arp", "off", "up")
    command("tc", "qdisc", "add", "dev", interface, "ingress")
    ingress = ("tc", "filter", "add", "dev", interface, "parent", "ffff:")
    hold = ("action", "mirred", "egress", "redirect", "dev", name)
    command(*ingress, "protocol", "ip", "prio", "1", *_EVERYTHING, *hold)
    command(*ingress, "protocol", "ipv6", "prio", "2", "u32", "match", "ip6", "protocol", "58", "0xff", "flowid", ":1")
    command(*ingress, "protocol", "ipv6", "prio", "3", *_EVERYTHING, *hold)
    return tap


def hold_back(taps: list[int], impairment: Impairment) -> None:
    """Until stdin ends."""
    queue: list[Held] = []
    last_due: dict[tuple[int, bytes], float] = {}
    number = 0
    while True:
        wait = max(0.0, queue[0].due - time.monotonic()) if queue else None
        readable, _, _ = select.select([*taps, sys.stdin], [], [], wait)
        now = time.monotonic()
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            impairment.update(line)
        for tap in readable:
            if not isinstance(tap, int):
                continue
            try:
                frame = os.read(tap, 65536)
            except OSError:
                continue  # the interface went down under us: what was in it is lost, as on a cable
            if impairment.lost(frame):
                continue
            jitter_ms = random.uniform(-impairment.jitter_ms, impairment.jitter_ms)
            drift_s = impairment.drift_ppm * 1e-6 * (now - impairment.since)
            due = now + max(0.0, impairment.delay_ms + jitter_ms) / 1000 + drift_s
            way = tap, flow_of(frame)
            last_due[way] = due = max(due, last_due.get(way, 0.0))
            number += 1
            heapq.heappush(queue, Held(due, number, tap, frame))
        while queue and queue[0].due <= now:
            held = heapq.heappop(queue)
            try:
                os.write(held.tap, held.frame)
            except OSError:
                continue  # as above


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("interfaces", nargs="+")
    for name in ("--delay-ms", "--jitter-ms", "--loss-pct"):
        parser.add_argument(name, type=float, default=0.0)
    options = parser.parse_args()
    taps = [redirect(interface) for interface in options.interfaces]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    hold_back(taps, Impairment(options.delay_ms, options.jitter_ms, options.loss_pct))


if __name__ == "__main__":
    main()
