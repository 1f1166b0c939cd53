"""What every source of network facts must do. `netlink` and `polling` are the adapters; tests have a fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from phoned.network.snapshot import IPAddress, Snapshot


class NetworkSource(Protocol):
    """Tells that something may have changed, and what the network looks like now. Driven by `NetworkMonitor`."""

    @property
    def name(self) -> str:
        """``netlink`` or ``polling``, as the configuration spells it."""
        ...

    async def run(self, on_dirty: Callable[[], None]) -> None:
        """Call ``on_dirty`` once when listening has begun, then whenever something may have changed.

        Never returns by itself. Raises OSError when listening cannot go on: the monitor starts it again, later.
        """
        ...

    async def snapshot(self, towards: Sequence[IPAddress] = ()) -> Snapshot:
        """The network now, with the machine's own answers for the paths ``towards`` some addresses.

        Never blocks the loop. Raises OSError or TimeoutError when the facts cannot be had.
        """
        ...

    def close(self) -> None:
        """Give back threads and sockets. Nothing may be called after it."""
        ...
