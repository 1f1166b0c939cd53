"""Pings of one flow: by load, and any byte from the peer is proof of life (RFC 6455 5.5.2, RFC 5626 4.4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from phoned.accounts.policy import AccountPolicy
from phoned.model import Cause
from phoned.tasks import Tasks
from phoned.transport.flow import Flow, FlowError

FIRST_GUESS_S = 0.25
"""The round trip that is assumed before one was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """How often, and who hears of it."""

    interval_s: Callable[[], float]
    load_changed: asyncio.Event
    """Set when `interval_s` may tell another figure now; a long rest is cut short for it."""
    on_missed: Callable[[], None]
    on_answered: Callable[[], None]


class FlowWatch:
    """The heartbeat of the flow in use. Driven by its account: `start`, `stop`, `load_changed`."""

    def __init__(self, tasks: Tasks, policy: AccountPolicy) -> None:
        self._tasks = tasks
        self._policy = policy
        self._task: asyncio.Task[None] | None = None
        self._load_changed = asyncio.Event()

    def start(
        self,
        flow: Flow,
        interval_s: Callable[[], float],
        *,
        on_missed: Callable[[], None],
        on_answered: Callable[[], None],
    ) -> None:
        """Ping this flow from now on, and no other."""
        self.stop()
        heartbeat = Heartbeat(
            interval_s=interval_s, load_changed=self._load_changed, on_missed=on_missed, on_answered=on_answered
        )
        self._task = self._tasks.spawn("ping", keep_pinging(flow, self._policy, heartbeat))

    @property
    def runs(self) -> bool:
        """Whether a flow is pinged."""
        return self._task is not None

    def change(self, policy: AccountPolicy) -> None:
        """Other figures, for the flow that is watched next."""
        self._policy = policy

    def load_changed(self) -> None:
        """The interval is another one now."""
        self._load_changed.set()

    def stop(self) -> None:
        """Ping no more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None


async def keep_pinging(flow: Flow, policy: AccountPolicy, heartbeat: Heartbeat) -> None:
    """Ping ``flow`` until it is gone. The first miss is a doubt; ``policy.ping_misses`` in a row end the flow."""
    if not (policy.ping_idle_s and policy.ping_call_s):
        return
    loop = asyncio.get_running_loop()
    misses, round_trip_s = 0, FIRST_GUESS_S
    while flow.is_open:
        if misses == 0:
            await _rest(heartbeat)
        sent_at = loop.time()
        try:
            round_trip_s = await flow.ping(policy.ping_timeout_s or max(1.0, 4 * round_trip_s))
            answered = True
        except FlowError as error:
            if error.cause is not Cause.PING:
                return
            answered = flow.last_received > sent_at
        if answered:
            if misses:
                heartbeat.on_answered()
            misses = 0
            continue
        misses += 1
        if misses >= policy.ping_misses:
            flow.abort(Cause.PING, f"{misses} pings without an answer")
        else:
            heartbeat.on_missed()


async def _rest(heartbeat: Heartbeat) -> None:
    """Wait for the next ping. A call that begins meanwhile must not wait for the end of an idle rest."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (left_s := began + heartbeat.interval_s() - loop.time()) > 0:
        heartbeat.load_changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await heartbeat.load_changed.wait()
