"""The dial that is under way for an account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.accounts import figures
from phoned.accounts.policy import AccountPolicy, AccountSignaling
from phoned.accounts.tracked import TrackedFlow
from phoned.recovery.plan import ProxyName
from phoned.tasks import Tasks
from phoned.transport.flow import Dialer, FlowError


class Dialling:
    """One at a time at most. Driven by its account: `start`, `cancel`; each that is not cancelled ends in a call of
    ``on_flow`` or ``on_failed``."""

    def __init__(
        self,
        tasks: Tasks,
        dialer: Dialer,
        signaling: AccountSignaling,
        *,
        on_flow: Callable[[TrackedFlow, AccountPolicy], None],
        on_failed: Callable[[FlowError], None],
    ) -> None:
        self._tasks = tasks
        self._dialer = dialer
        self._signaling = signaling
        self._on_flow = on_flow
        self._on_failed = on_failed
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """Whether a flow is being dialled."""
        return self._task is not None

    def start(self, policy: AccountPolicy, proxy: ProxyName) -> None:
        """Dial that proxy."""
        self._task = self._tasks.spawn("dial", self._dial(policy, proxy))

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None

    async def _dial(self, policy: AccountPolicy, proxy: ProxyName) -> None:
        loop = asyncio.get_running_loop()
        target = policy.target_backup if proxy == "backup" and policy.target_backup else policy.target
        deadline = loop.time() + policy.attempt_deadline_s
        try:
            flow = await self._dialer.dial(target, self._signaling, deadline_s=policy.attempt_deadline_s)
        except FlowError as error:
            self._task = None
            self._on_failed(error)
            return
        self._task = None
        within_s = max(deadline - loop.time(), figures.LEAST_REGISTER_S)
        self._on_flow(TrackedFlow(flow, proxy, register_within_s=within_s), policy)
