"""A network without a machine: a source that tests drive by hand, and a listener that keeps what it heard.

`FakeSource` passes the contract test of the real ones (`tests/network/test_sources.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from phoned.network.snapshot import Address, Interface, IPAddress, NetworkChange, Route, Snapshot

LOOPBACK = Interface(
    name="lo",
    index=1,
    addresses=(Address(ip=ip_address("127.0.0.1"), prefix=8), Address(ip=ip_address("::1"), prefix=128)),
)


def uplink(name: str, address: str, gateway: str, *, metric: int = 100, carrier: bool = True) -> Snapshot:
    """A snapshot of loopback and one interface with a default route."""
    own = Address(ip=ip_address(address), prefix=24)
    interface = Interface(name=name, index=2, carrier=carrier, addresses=(own,))
    default = Route(destination=ip_network("0.0.0.0/0"), device=name, gateway=ip_address(gateway), metric=metric)
    return Snapshot(interfaces=(LOOPBACK, interface), routes=(default, Route(destination=own.network, device=name)))


WIFI = uplink("wlan0", "10.0.1.2", "10.0.1.1")
LTE = uplink("wwan0", "10.0.2.2", "10.0.2.1")
OFFLINE = Snapshot(interfaces=(LOOPBACK,))


class FakeSource:
    """A `phoned.network.source.NetworkSource` whose network is a variable."""

    name = "fake"

    def __init__(self, now: Snapshot = WIFI) -> None:
        self.now = now
        self.reads = 0
        self.runs = 0
        self.closed = False
        self.asked: tuple[IPAddress, ...] = ()
        self.run_fails: Exception | None = None
        self.read_fails: Exception | None = None
        self.read_takes_s = 0.0
        self._on_dirty: Callable[[], None] | None = None
        self._broken: asyncio.Future[None] | None = None

    async def run(self, on_dirty: Callable[[], None]) -> None:
        self.runs += 1
        if self.run_fails is not None:
            raise self.run_fails
        self._on_dirty = on_dirty
        self._broken = asyncio.get_running_loop().create_future()
        on_dirty()
        try:
            await self._broken
        finally:
            self._on_dirty = None

    async def snapshot(self, towards: Sequence[IPAddress] = ()) -> Snapshot:
        self.reads += 1
        self.asked = tuple(towards)
        if self.read_takes_s:
            await asyncio.sleep(self.read_takes_s)
        if self.read_fails is not None:
            raise self.read_fails
        answers = {address: self.now.look_up(address) for address in towards}
        return replace(self.now, answers={address: path for address, path in answers.items() if path is not None})

    def close(self) -> None:
        self.closed = True

    def change(self, now: Snapshot) -> None:
        """The network is now like this, and says so."""
        self.now = now
        self.hint()

    def hint(self) -> None:
        """Something may have changed."""
        if self._on_dirty is not None:
            self._on_dirty()

    def break_down(self, error: Exception) -> None:
        """Listening fails."""
        assert self._broken is not None
        self._broken.set_exception(error)


class KeptChanges:
    """A `phoned.network.monitor.NetworkListener` that remembers, with the loop's time of each change."""

    def __init__(self) -> None:
        self.changes: list[NetworkChange] = []
        self.at: list[float] = []
        self.fails: Exception | None = None

    def on_network_change(self, change: NetworkChange) -> None:
        self.changes.append(change)
        self.at.append(asyncio.get_running_loop().time())
        if self.fails is not None:
            raise self.fails

    @property
    def reasons(self) -> list[tuple[str, ...]]:
        return [change.reasons for change in self.changes]
