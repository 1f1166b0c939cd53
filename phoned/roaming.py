"""What a change of the machine's network, or a wake-up from sleep, means for accounts and calls.

It joins the network monitor and the suspend watch to those who must move. The monitor decides whether a change matters
at all; here it is told to each account whose way to its proxy is another one now, and to the calls. What to do about it
is for their plans.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec

from phoned.accounts.registry import Accounts
from phoned.calls.manager import CallManager
from phoned.config.schema import NetworkConfig
from phoned.errors import UnavailableError
from phoned.events import EventBus
from phoned.model import Cause, NetworkView
from phoned.network.late import LateSource
from phoned.network.logind import DEFAULT_SOCKET, LogindWatch
from phoned.network.monitor import NetworkMonitor
from phoned.network.polling import PollingSource
from phoned.network.snapshot import Interest, NetworkChange, Snapshot
from phoned.network.source import NetworkSource
from phoned.network.suspend import Gap, Reading, SuspendWatch, read_clocks
from phoned.tasks import Tasks
from phoned.transport.flow import Flow

log = logging.getLogger(__name__)


def source_of(config: NetworkConfig) -> NetworkSource:
    """Netlink where there is one (Linux), unless polling was asked for."""
    if config.source == "polling":
        return PollingSource()
    if config.source == "netlink" and find_spec("pyroute2") is None:
        raise UnavailableError(
            'network.source = "netlink" needs the package pyroute2: install it, or ask for "polling"'
        )
    return LateSource(partial(_netlink, or_polling=config.source != "netlink"), name="netlink")


def _netlink(*, or_polling: bool) -> NetworkSource:
    try:
        from phoned.network.netlink import NetlinkSource  # here, not above: it takes a fifth of a second
    except ImportError as error:
        if or_polling:
            return PollingSource()
        raise OSError(f"netlink: {error}") from error  # told, and tried again, like any other trouble of the source
    return NetlinkSource()


class Roaming:
    """See the module's docstring. Built by the daemon; `start`, then `close`."""

    def __init__(
        self,
        *,
        source: NetworkSource,
        ignore_interfaces: tuple[str, ...],
        accounts: Accounts,
        calls: CallManager,
        bus: EventBus,
        clocks: Callable[[], Reading] = read_clocks,
        system_bus: str = DEFAULT_SOCKET,
    ) -> None:
        self._accounts = accounts
        self._calls = calls
        self._bus = bus
        self._reached: dict[str, str] = {}
        """By account: where its last flow led."""
        self._tasks = Tasks("roaming", self._on_crash)
        self._monitor = NetworkMonitor(source, self, self._interests, ignore_interfaces=ignore_interfaces)
        self._suspend = SuspendWatch(self._on_gap, clocks=clocks)
        self._logind = LogindWatch(self._suspend.nudge, socket=system_bus)

    async def start(self) -> None:
        """Read the network once, then watch."""
        await self._monitor.start()
        self._tasks.spawn("suspend", self._suspend.run())
        self._tasks.spawn("logind", self._logind.run())

    async def close(self) -> None:
        """Stop watching."""
        await self._tasks.close()
        await self._monitor.close()

    def view(self) -> NetworkView:
        """All that is known of the network, for people."""
        return self._monitor.view()

    def trigger(self, reason: str) -> None:
        """Behave as if the network had changed."""
        self._monitor.trigger(reason)

    def on_network_change(self, change: NetworkChange) -> None:
        """The monitor found a change that matters (or was told to act as if)."""
        forced = change.trigger is not None
        cause = Cause.RESUME if change.trigger is not None and change.trigger.startswith(RESUMED) else Cause.NETWORK
        log.info("network: %s", "; ".join(change.reasons) or change.trigger)
        self._bus.publish(
            "network.changed",
            network=self._monitor.view(),
            reasons=list(change.reasons) or [change.trigger or ""],
            generation=change.generation,
        )
        way_out = has_way_out(change.new)
        for account in self._accounts:
            up = way_out or account.stays_on_this_machine
            affected = forced or account.flow is None or not _still_right(account.flow, change.new)
            account.on_network(up=up, affected=affected, cause=cause)
        self._calls.on_network_moved(frozenset(str(address) for address in change.became_unusable), forced=forced)

    def _on_gap(self, gap: Gap) -> None:
        """Time passed without us: every path is presumed dead."""
        self._monitor.trigger(f"{RESUMED} ({gap})")

    def _interests(self) -> Iterator[Interest]:
        for account in self._accounts:
            if account.flow is not None:
                self._reached[account.id] = account.flow.remote.host
                yield Interest.of(account.flow.remote.host, account.flow.local.host)
            elif account.desired == "registered" and not account.stays_on_this_machine:
                # while it seeks a flow, another way there is worth an attempt at once
                yield Interest.of(self._reached.get(account.id, SOMEWHERE))
        yield from _pairs(self._calls.media_pairs())

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the network is watched without it", name, exc_info=error)


RESUMED = "resumed"
SOMEWHERE = "192.0.2.1"
"""An address that stands for all the world (RFC 5737), for an account that has reached no proxy yet: the kernel is
asked for the way there, and nothing is ever sent."""


def has_way_out(snapshot: Snapshot) -> bool:
    """Some address of this machine can send: a default route, or any network at all (a closed LAN has no default)."""
    return bool(snapshot.default_devices() or snapshot.devices_beyond_the_link())


def _still_right(flow: Flow, snapshot: Snapshot) -> bool:
    """The flow leaves by the interface that the machine would choose now, from an address that can still send. Another
    address of the same interface (IPv6 privacy) is no reason to move."""
    local, remote = ipaddress.ip_address(flow.local.host), ipaddress.ip_address(flow.remote.host)
    holder, path = snapshot.holder(local), snapshot.route_to(remote)
    return snapshot.can_use(local) and holder is not None and path is not None and path.device == holder.name


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[Interest]:
    for local, remote in pairs:
        yield Interest.of(_host(remote), _host(local))


def _host(address: str) -> str:
    """The address of ``192.0.2.1:5000`` or ``[2001:db8::1]:5000``."""
    return address.rpartition(":")[0].strip("[]")
