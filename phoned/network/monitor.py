"""Watches the network and hands over the changes that matter.

Owns one source, the newest snapshot, the generation and the last changes. Knows nothing of accounts or calls: whoever
builds it supplies a callable that names the present interests, and a listener that hears of changes.

A first hint opens a window of 50 ms, so that the ten messages of one handover are one change; then the network is read
and compared. While changes come thick (a flapping link) the window grows to half a second: the listener must not be
driven by a loose plug. A source that fails is started again with back-off; a reading that fails is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Protocol

from phoned.clock import WallClock, wall_clock
from phoned.model import InterfaceView, NetworkChangeView, NetworkView, RouteView
from phoned.network.snapshot import Interest, Interface, IPAddress, NetworkChange, Route, Snapshot, diff
from phoned.network.source import NetworkSource
from phoned.tasks import Tasks

logger = logging.getLogger(__name__)

COALESCE_S = 0.05
STORM_CHANGES, STORM_S, STORM_COALESCE_S = 5, 2.0, 0.5
"""So many changes within so many seconds are a storm; until it is over hints are gathered for longer."""
SNAPSHOT_DEADLINE_S = 5.0
TRIGGER_DEADLINE_S = 1.0
"""How long a change that was asked for waits for the facts before it is handed over without."""
RETRY_S, RETRY_CAP_S = 0.25, 10.0
AUDIT_S = 1.0
"""How often somebody new is looked for: the path as it is now is what a later change is compared with."""
HISTORY = 32


class NetworkListener(Protocol):
    """Hears of changes."""

    def on_network_change(self, change: NetworkChange) -> None:
        """Called in the loop. Must not block. What it raises is logged and goes no further."""
        ...


class NetworkMonitor:
    """Turns hints of a source into changes. Driven by its source and by `trigger`."""

    def __init__(
        self,
        source: NetworkSource,
        listener: NetworkListener,
        interests: Callable[[], Iterable[Interest]],
        *,
        ignore_interfaces: tuple[str, ...] = (),
        wall: WallClock = wall_clock,
    ) -> None:
        self._source = source
        self._listener = listener
        self._interests = interests
        self._ignore = ignore_interfaces
        self._wall = wall
        self._tasks = Tasks("network", self._on_crash)
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        self._triggers: list[str] = []
        self._snapshot: Snapshot | None = None
        self._ready = asyncio.Event()
        self._asked: frozenset[IPAddress] = frozenset()
        self._recent: deque[float] = deque(maxlen=STORM_CHANGES)
        self._history: deque[NetworkChangeView] = deque(maxlen=HISTORY)
        self.generation = 0
        """Rises by one with each change that is handed over."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest reading; empty before the first."""
        return self._snapshot or Snapshot()

    async def start(self, deadline_s: float = SNAPSHOT_DEADLINE_S) -> None:
        """Begin to watch; returns with the first snapshot, or without it after ``deadline_s``: trying goes on."""
        self._tasks.spawn("source", self._keep_listening())
        self._tasks.spawn("changes", self._keep_comparing())
        self._tasks.spawn("audit", self._keep_auditing())
        try:
            async with asyncio.timeout(deadline_s):
                await self._ready.wait()
        except TimeoutError:
            logger.warning("network: nothing known yet after %.1f s, still trying", deadline_s)

    async def close(self, budget_s: float = 2.0) -> None:
        """End watching. The listener hears nothing after it."""
        await self._tasks.close(budget_s)
        self._source.close()

    def trigger(self, reason: str) -> None:
        """Hand over a change at once, whether anything moved or not: a resume, a person, a suspicion of the caller."""
        self._triggers.append(reason)
        self._dirty.set()
        self._urgent.set()

    def refresh(self) -> None:
        """Look again, as after any hint of the source."""
        self._dirty.set()

    def view(self) -> NetworkView:
        """All that is known, for people."""
        snapshot = self.snapshot
        return NetworkView(
            generation=self.generation,
            source=self._source.name,
            interfaces=tuple(self._interface_view(interface) for interface in snapshot.interfaces),
            routes=tuple(_route_view(route) for route in snapshot.routes),
            changes=tuple(self._history),
        )

    async def _keep_listening(self) -> None:
        delay_s = RETRY_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._source.run(self.refresh)
            except Exception as error:
                logger.warning("network: %s stopped (%s), starting it again", self._source.name, error)
            if loop.time() - began > RETRY_CAP_S:
                delay_s = RETRY_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_CAP_S)

    async def _keep_comparing(self) -> None:
        delay_s = RETRY_S
        while True:
            await self._dirty.wait()
            await self._gather()
            self._dirty.clear()
            self._urgent.clear()
            triggers, self._triggers = self._triggers, []
            try:
                await self._compare(triggers)
                delay_s = RETRY_S
            except Exception as error:  # a source or an owner that fails must not end the watch
                logger.warning("network: cannot be read (%r), trying again", error)
                if triggers:
                    self._hand_over(self._forced(self.snapshot, self.snapshot, None, triggers))
                self._dirty.set()
                await self._pause(delay_s)
                delay_s = min(2 * delay_s, RETRY_CAP_S)

    async def _keep_auditing(self) -> None:
        while True:
            await asyncio.sleep(AUDIT_S)
            try:
                somebody_new = {interest.remote for interest in self._interests()} - self._asked
            except Exception:
                logger.exception("network: nobody can say whom we talk to")
                continue
            if somebody_new:
                self._dirty.set()

    async def _gather(self) -> None:
        """Wait for the other hints of the same event; not at all for a trigger."""
        now = asyncio.get_running_loop().time()
        storm = len(self._recent) == STORM_CHANGES and now - self._recent[0] < STORM_S
        await self._pause(STORM_COALESCE_S if storm else COALESCE_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            pass  # the usual end: nobody is in a hurry

    async def _compare(self, triggers: list[str]) -> None:
        interests = tuple(self._interests())
        remotes = frozenset(interest.remote for interest in interests)
        async with asyncio.timeout(TRIGGER_DEADLINE_S if triggers else SNAPSHOT_DEADLINE_S):
            new = await self._source.snapshot(sorted(remotes, key=str))
        old, self._snapshot, self._asked = self._snapshot, new, remotes
        self._ready.set()
        change = None
        if old is not None:
            change = diff(old, new, interests, generation=self.generation + 1, ignore_interfaces=self._ignore)
        if triggers:
            change = self._forced(old or new, new, change, triggers)
        if change is not None:
            self._hand_over(change)

    def _forced(self, old: Snapshot, new: Snapshot, change: NetworkChange | None, triggers: list[str]) -> NetworkChange:
        """The change that was asked for, with what really moved, if anything did."""
        return NetworkChange(
            generation=self.generation + 1,
            old=old,
            new=new,
            became_unusable=change.became_unusable if change else (),
            reasons=(*(change.reasons if change else ()), *dict.fromkeys(triggers)),
            trigger=triggers[0],
        )

    def _hand_over(self, change: NetworkChange) -> None:
        self.generation = change.generation
        self._recent.append(asyncio.get_running_loop().time())
        self._history.append(
            NetworkChangeView(
                generation=change.generation,
                at=self._wall(),
                reasons=change.reasons,
                became_unusable=tuple(map(str, change.became_unusable)),
                trigger=change.trigger,
            )
        )
        logger.info("network: generation %d: %s", change.generation, "; ".join(change.reasons))
        try:
            self._listener.on_network_change(change)
        except Exception:
            logger.exception("network: the listener failed")

    def _interface_view(self, interface: Interface) -> InterfaceView:
        return InterfaceView(
            name=interface.name,
            kind=interface.kind,
            up=interface.up,
            carrier=interface.carrier,
            addresses=tuple(f"{own.ip}/{own.prefix}" for own in interface.addresses),
            ignored=any(fnmatchcase(interface.name, pattern) for pattern in self._ignore),
        )

    def _on_crash(self, name: str, error: BaseException) -> None:
        logger.error("network: %s ended", name, exc_info=error)


def _route_view(route: Route) -> RouteView:
    return RouteView(
        destination="default" if route.default else str(route.destination),
        family="ipv4" if route.destination.version == 4 else "ipv6",
        device=route.device,
        gateway=None if route.gateway is None else str(route.gateway),
        source=None if route.source is None else str(route.source),
        metric=route.metric,
        table=route.table,
    )
