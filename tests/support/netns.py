"""A phone with two uplinks, in network namespaces: what a handover, a dead path or a new address is, for real.

    phone ns  ── wifi 10.77.1.2 ── router ns "wifi" (NAT?) ── 10.77.11.0/24 ── core ns
          └───── lte  10.77.2.2 ── router ns "lte"  (NAT?) ── 10.77.12.0/24 ──┘  core: 10.77.0.1, fd77::1

    with Lab(start_on="wifi", rtt_ms=50, nat=("lte",)) as lab:
        server = lab.spawn("core", ["kamailio", ...])
        phone = lab.spawn("phone", [sys.executable, "-m", "phoned", "run", ...])
        at = lab.handover("lte")          # CLOCK_MONOTONIC, the same in every process

Namespaces have unique names and hold everything (addresses are the same in each lab, labs do not see each other).
Leaving the `with` ends every process inside and removes every namespace, whatever happened; a lab whose process died
before it could is swept by the next one. Needs root, `ip`, and `nft` for NAT and loss: `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Place = Literal["phone", "core", "wifi", "lte"]
"""A namespace: the phone's, the servers', or the router of an uplink."""
Uplink = Literal["wifi", "lte"]
Direction = Literal["in", "out", "both"]
"""As seen from the phone."""

UPLINKS: tuple[Uplink, Uplink] = ("wifi", "lte")
PLACES: tuple[Place, ...] = ("phone", "core", *UPLINKS)
CORE_ADDRESS, CORE_ADDRESS_6 = "10.77.0.1", "fd77::1"
DEAD_ADDRESS = "10.77.0.53"
"""In the core; what is sent there vanishes."""
METRIC = 100

_RUN_NETNS = Path("/run/netns")
_FILES = Path("/etc/netns")
"""What lies in a folder here covers its namesake in /etc for `ip netns exec` (ip-netns(8))."""
_CLONE_NEWNET = 0x40000000
# netlink.h, nfnetlink_conntrack.h: delete without a filter forgets every connection
_NETLINK_NETFILTER, _CT_DELETE, _NLM_F_REQUEST, _NLM_F_ACK = 12, 0x102, 1, 4
_COMMAND_DEADLINE_S = 10.0
_numbers = itertools.count()


def why_not() -> str | None:
    """Why no lab can be built here; None when one can."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "tc", "nft", "sysctl") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "this machine may not create network namespaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The addresses of an uplink."""

    number: int

    @property
    def address(self) -> str:
        """Of the phone on this uplink."""
        return f"10.77.{self.number}.2"

    @property
    def gateway(self) -> str:
        return f"10.77.{self.number}.1"

    @property
    def address_6(self) -> str:
        return f"fd77:{self.number}::2"

    @property
    def gateway_6(self) -> str:
        return f"fd77:{self.number}::1"

    @property
    def outside(self) -> str:
        """Of the router towards the core: what the core sees behind NAT."""
        return f"10.77.1{self.number}.2"

    @property
    def table(self) -> int:
        """The phone's routing table for sockets bound to this uplink's address."""
        return 100 + self.number


SEGMENTS: dict[Uplink, Segment] = {uplink: Segment(number=number) for number, uplink in enumerate(UPLINKS, start=1)}


class LabError(Exception):
    """A command of the lab failed; the text is what it said."""


class Lab:
    """The topology above. Use it as a context manager. Every verb returns CLOCK_MONOTONIC just before it began."""

    def __init__(
        self,
        *,
        start_on: Uplink | None = None,
        nat: Sequence[Uplink] = (),
        rtt_ms: float = 0.0,
        jitter_ms: float = 0.0,
        ipv6: bool = False,
        bound_sockets_stay: bool = True,
    ) -> None:
        """``start_on``: only that uplink is up at first; None: both, the default route on wifi.

        ``bound_sockets_stay``: a socket bound to an uplink's address uses that uplink whatever the default route says
        (`ip rule from`), as phone systems do; a plain Linux does not.
        """
        self._prefix = f"phoned-{os.getpid()}-{next(_numbers)}-"
        self._start_on, self._nat, self._ipv6, self._bound_stay = start_on, tuple(nat), ipv6, bound_sockets_stay
        self._one_way_ms, self._jitter_ms = rtt_ms / 2, jitter_ms
        self._stack = ExitStack()
        self._delayers: dict[Uplink, subprocess.Popen[str]] = {}
        self.core_address, self.core_address_6 = CORE_ADDRESS, CORE_ADDRESS_6
        self.delayed_by: Literal["nothing", "netem", "tap"] = "nothing"
        """What makes the round trip time, once the lab is up."""

    # ------------------------------------------------------------------ life

    def __enter__(self) -> Lab:
        _sweep()
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _build(self) -> None:
        for place in PLACES:
            self._stack.callback(_remove, self.namespace(place))
            _command("ip", "netns", "add", self.namespace(place))
            settings = [f"net.ipv6.conf.{each}.accept_dad=0" for each in ("all", "default")]  # DAD takes seconds
            if place in UPLINKS:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            _command(*self.inside(place, ["sysctl", "-qw", *settings]))
            self.ip(place, "link set lo up")
        self.ip("core", f"addr add {CORE_ADDRESS}/32 dev lo", f"addr add {CORE_ADDRESS_6}/128 dev lo nodad")
        self.ip("core", f"route add blackhole {DEAD_ADDRESS}")
        for uplink in UPLINKS:
            self._connect(uplink)
            if uplink in self._nat:
                self._translate(uplink)
            if self._one_way_ms or self._jitter_ms:
                self._delay(uplink)
        self.default_route(self._start_on or "wifi")
        if self._start_on is not None:
            self.handover(self._start_on)

    def _connect(self, uplink: Uplink) -> None:
        segment, router = SEGMENTS[uplink], self.namespace(uplink)
        number = segment.number
        self.ip("phone", f"link add {uplink} type veth peer name in netns {router}")
        self.ip("core", f"link add {uplink} type veth peer name out netns {router}")
        self.ip(
            uplink,
            f"addr add {segment.gateway}/24 dev in",
            f"addr add {segment.outside}/24 dev out",
            f"addr add {segment.gateway_6}/64 dev in nodad",
            f"addr add fd77:1{number}::2/64 dev out nodad",
            "link set in up",
            "link set out up",
        )
        self.ip(
            "core",
            f"addr add 10.77.1{number}.1/24 dev {uplink}",
            f"addr add fd77:1{number}::1/64 dev {uplink} nodad",
            f"link set {uplink} up",
            # servers that bind every address answer from the core's own
            f"route replace 10.77.1{number}.0/24 dev {uplink} src {CORE_ADDRESS}",
        )
        self.ip(uplink, f"route add default via 10.77.1{number}.1", f"route add ::/0 via fd77:1{number}::1")
        if uplink not in self._nat:  # behind NAT nobody knows the way to the phone
            self.ip("core", f"route add 10.77.{number}.0/24 via {segment.outside} src {CORE_ADDRESS}")
        self.ip("core", f"route add fd77:{number}::/64 via fd77:1{number}::2 src {CORE_ADDRESS_6}")
        self.ip("phone", f"link set {uplink} up")
        self.address(uplink, True)
        if self._bound_stay:
            self.ip("phone", f"rule add from {segment.address} table {segment.table} pref {segment.table}")

    def _translate(self, uplink: Uplink) -> None:
        # random ports: after `rebind_nat` the far end sees another one, as behind a NAT that restarted
        self._nft(
            uplink,
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100 ; }",
            'add rule ip nat post oifname "out" masquerade fully-random',
        )

    def _delay(self, uplink: Uplink) -> None:
        router = self.namespace(uplink)
        netem = ["netem", "delay", f"{self._one_way_ms}ms", *([f"{self._jitter_ms}ms"] if self._jitter_ms else [])]
        try:
            for device in ("in", "out"):
                _command("ip", "netns", "exec", router, "tc", "qdisc", "add", "dev", device, "root", *netem)
            self.delayed_by = "netem"
            return
        except LabError:
            pass  # a kernel without netem: hold frames back ourselves
        script = str(Path(__file__).with_name("impair.py"))
        delayer = self.spawn(
            uplink,
            [sys.executable, script, f"--delay-ms={self._one_way_ms}", f"--jitter-ms={self._jitter_ms}", "in", "out"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for pipe in (delayer.stdin, delayer.stdout):
            assert pipe is not None
            self._stack.callback(pipe.close)
        assert delayer.stdout is not None
        if delayer.stdout.readline().strip() != "ready":
            raise LabError(f"impair.py did not start in {router}")
        self._delayers[uplink] = delayer
        self.delayed_by = "tap"

    # ------------------------------------------------------------------ processes

    def namespace(self, place: Place) -> str:
        """Its name, for `ip netns exec`."""
        return self._prefix + place

    def inside(self, place: Place, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in a namespace, for a process that somebody else manages."""
        return ["ip", "netns", "exec", self.namespace(place), *argv]

    def run(self, place: Place, argv: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run to the end; output as text, whatever the exit status."""
        return subprocess.run(self.inside(place, argv), capture_output=True, text=True, check=False, timeout=timeout_s)

    def spawn(self, place: Place, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process; it is ended with the lab (SIGTERM, after 3 s SIGKILL). ``options`` as for Popen."""
        process: subprocess.Popen[Any] = subprocess.Popen(self.inside(place, argv), **options)
        self._stack.callback(_end, process)
        return process

    @contextlib.contextmanager
    def entered(self, place: Place) -> Iterator[None]:
        """This thread, and threads that it starts meanwhile, live in the namespace: their sockets stay there."""
        with (
            open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as home,
            open(_RUN_NETNS / self.namespace(place)) as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def names(self, known: Mapping[str, str]) -> None:
        """The names, with their addresses, that can be resolved in the phone's namespace; for any other a server is
        asked that never answers. Call it before the processes start that are to know, and again to change it."""
        folder = _FILES / self.namespace("phone")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resolv.conf").write_text(f"nameserver {DEAD_ADDRESS}\n")
        # in place: running processes have this very file
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in known.items()))

    # ------------------------------------------------------------------ what happens to the phone

    def ip(self, place: Place, *commands: str) -> float:
        """Commands of `ip`, all in one process."""
        batch = "".join(f"{command}\n" for command in commands)
        return _command("ip", "-n", self.namespace(place), "-batch", "-", text=batch)

    def default_route(self, uplink: Uplink) -> float:
        """Move the default route; nothing else: both uplinks stay as they are."""
        return self.ip("phone", *self._default_route(uplink))

    def carrier(self, uplink: Uplink, on: bool) -> float:
        """Pull or plug the cable: the phone's side sees its carrier go or come."""
        if not on:
            return self.ip(uplink, "link set in down")
        # Linux takes the IPv6 addresses of an interface that goes down
        return self.ip(uplink, "link set in up", f"addr replace {SEGMENTS[uplink].gateway_6}/64 dev in nodad")

    def address(self, uplink: Uplink, on: bool) -> float:
        """Give or take the phone's addresses on an uplink, as DHCP would."""
        flush = f"addr flush dev {uplink} scope global"
        return self.ip("phone", *(self._addresses(uplink) if on else (flush,)))

    def readdress(self, uplink: Uplink, address: str) -> float:
        """Another IPv4 address in the same network, the default route kept: a lease that could not be renewed."""
        segment = SEGMENTS[uplink]
        return self.ip(
            "phone",
            f"addr del {segment.address}/24 dev {uplink}",
            f"addr add {address}/24 dev {uplink}",
            *self._default_route(uplink),
        )

    def handover(self, uplink: Uplink) -> float:
        """The other uplink goes (carrier, address, default route) at the moment in which this one comes."""
        other = next(each for each in UPLINKS if each != uplink)
        at = self.carrier(uplink, True)
        self.carrier(other, False)
        flush = f"addr flush dev {other} scope global"
        self.ip("phone", *self._addresses(uplink), flush, *self._default_route(uplink))
        return at

    def blackhole(self, uplink: Uplink, on: bool = True) -> float:
        """Silently drop everything on an uplink, or stop doing so. No carrier or route event tells of it."""
        return self.drop(uplink) if on else self.drop_nothing(uplink)

    def drop(
        self,
        uplink: Uplink,
        direction: Direction = "both",
        *,
        protocol: Literal["udp", "tcp"] | None = None,
        percent: float = 100.0,
    ) -> float:
        """Lose packets of the phone on an uplink: all or some, one way or both, of one protocol or all."""
        which = f"meta l4proto {protocol} " if protocol else ""
        share = "" if percent >= 100 else f"numgen random mod 1000 < {round(percent * 10)} "
        from_phone = 'iifname { "in", "d-in" } '  # the latter: where a delay is made by a tap
        ways = {"out": [from_phone], "in": ['oifname "in" ']}
        commands = ["add table inet loss", "delete table inet loss", "add table inet loss"]
        commands.append("add chain inet loss f { type filter hook forward priority -10 ; }")
        both = [*ways["out"], *ways["in"]]
        commands += [f"add rule inet loss f {way}{which}{share}drop" for way in ways.get(direction, both)]
        if direction != "in" and not protocol and percent >= 100:  # the router itself does not answer either
            commands.append("add chain inet loss i { type filter hook input priority -10 ; }")
            commands.append(f"add rule inet loss i {from_phone}drop")
        return self._nft(uplink, *commands)

    def drop_nothing(self, uplink: Uplink) -> float:
        """Undo `drop` and `blackhole`."""
        return self._nft(uplink, "add table inet loss", "delete table inet loss")

    def rebind_nat(self, uplink: Uplink) -> float:
        """The NAT of an uplink forgets its bindings; the next packet gets another port."""
        flush = struct.pack("=IHHIIBBH", 20, _CT_DELETE, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0, 0, 0, 0)
        at = time.monotonic()
        with self.entered(uplink), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as table:
            table.settimeout(_COMMAND_DEADLINE_S)
            table.send(flush)
            (error,) = struct.unpack_from("=i", table.recv(4096), 16)
        if error:
            raise LabError(f"connection tracking in {self.namespace(uplink)}: {os.strerror(-error)}")
        return at

    def impair(
        self,
        uplink: Uplink,
        *,
        rtt_ms: float,
        jitter_ms: float = 0.0,
        loss_pct: float = 0.0,
        burst: float = 1.0,
        drift_ppm: float = 0.0,
    ) -> float:
        """Change the round trip of a lab that was built with one (``rtt_ms``). ``burst``: losses in a row, on average;
        drift needs a tap (``netem`` knows none)."""
        at = time.monotonic()
        if self.delayed_by == "netem":
            share = loss_pct / 100
            begins, ends = 100 * share / (burst * (1 - share)), 100 / burst
            loss = f"loss gemodel {begins}% {ends}%" if burst > 1 else f"loss {loss_pct}%"
            for device in ("in", "out"):
                netem = f"delay {rtt_ms / 2}ms {jitter_ms}ms {loss}".split()
                _command(*self.inside(uplink, ["tc", "qdisc", "change", "dev", device, "root", "netem", *netem]))
            return at
        stdin = self._delayers[uplink].stdin
        assert stdin is not None
        stdin.write(f"delay-ms {rtt_ms / 2} jitter-ms {jitter_ms} loss-pct {loss_pct} ")
        stdin.write(f"burst {burst} drift-ppm {drift_ppm}\n")
        stdin.flush()
        return at

    def _addresses(self, uplink: Uplink) -> list[str]:
        segment = SEGMENTS[uplink]
        commands = [f"addr replace {segment.address}/24 dev {uplink}"]
        if self._ipv6:
            commands.append(f"addr replace {segment.address_6}/64 dev {uplink} nodad")
        if self._bound_stay:
            commands.append(f"route replace default via {segment.gateway} dev {uplink} table {segment.table}")
        return commands

    def _default_route(self, uplink: Uplink) -> list[str]:
        segment = SEGMENTS[uplink]
        commands = [f"route replace default via {segment.gateway} dev {uplink} metric {METRIC}"]
        if self._ipv6:
            commands.append(f"route replace ::/0 via {segment.gateway_6} dev {uplink} metric {METRIC}")
        return commands

    def _nft(self, uplink: Uplink, *commands: str) -> float:
        return _command(*self.inside(uplink, ["nft", "-f", "-"]), text="".join(f"{each}\n" for each in commands))


def _command(*argv: str, text: str | None = None) -> float:
    at = time.monotonic()
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=_COMMAND_DEADLINE_S)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}" + (f"\n{text}" if text else ""))
    return at


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(3)


def _remove(namespace: str) -> None:
    """Remove a namespace and whatever still runs in it: nobody but the lab put it there."""
    if not (_RUN_NETNS / namespace).exists():
        return
    left = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in map(int, left.stdout.split()):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)
    shutil.rmtree(_FILES / namespace, ignore_errors=True)


def _sweep() -> None:
    """Remove the labs of test runs that were killed."""
    for entry in _RUN_NETNS.glob("phoned-*") if _RUN_NETNS.exists() else ():
        match = re.match(r"phoned-(\d+)-\d+-", entry.name)
        if match is not None and not Path("/proc", match[1]).exists():
            _remove(entry.name)


def _setns(descriptor: int) -> None:
    setns: Callable[[int, int], int] = ctypes.CDLL(None, use_errno=True).setns
    if setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
