"""What an account knows of its open flows: one in use, and one that may take its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from phoned.accounts.policy import AccountPolicy, refresh_in_s
from phoned.model import Cause
from phoned.recovery.plan import FlowFacts, Place, ProxyName
from phoned.sip.events import Registered
from phoned.transport.flow import Flow

FORGIVABLE = frozenset({Cause.PING, Cause.TIMEOUT})
"""Doubts that one byte from the peer disproves. A network that moved stays moved, whatever the old path still says."""


class TrackedFlow:
    """Facts about one flow, gathered by its account. Times are monotonic seconds."""

    def __init__(self, flow: Flow, proxy: ProxyName, *, register_within_s: float) -> None:
        self.flow = flow
        self.proxy: Place = proxy
        """Where it leads; ``former``: to a place that the account's policy does not name any more."""
        self.register_within_s: float | None = register_within_s
        """What is left of the attempt's deadline for the first REGISTER; None once that was sent."""
        self.registered: Registered | None = None
        self.answer_by: float | None = None
        self.refresh_at: float | None = None
        self.welcomed = False
        """Its registration was announced, and was not refused since."""
        self.stable: asyncio.TimerHandle | None = None
        self._suspect: Cause | None = None
        self._suspected_at = 0.0

    @property
    def suspect(self) -> Cause | None:
        """Why it is doubted."""
        return self._suspect

    def doubt(self, cause: Cause, now: float) -> None:
        """Doubt it, for the first cause that was given."""
        if self._suspect is None:
            self._suspect, self._suspected_at = cause, now

    def spare(self) -> bool:
        """Drop a doubt that the peer has disproved meanwhile; True when there was one."""
        spared = self._suspect in FORGIVABLE and self.flow.last_received > self._suspected_at
        if spared:
            self._suspect = None
        return spared

    def facts(self) -> FlowFacts:
        """For the plan."""
        return FlowFacts(
            generation=self.flow.generation,
            proxy=self.proxy,
            registered=self.registered is not None,
            answer_by=self.answer_by,
            refresh_at=self.refresh_at,
            suspect=self._suspect,
            fresh=self.register_within_s is not None,
        )

    def refresh_by(self, at: float | None, policy: AccountPolicy, now: float) -> None:
        """Refresh the binding at that time, or when ``policy`` says so, unless it is to be done before that."""
        if self.registered is not None and self.refresh_at is not None:
            self.refresh_at = min(self.refresh_at, now + refresh_in_s(policy, self.registered) if at is None else at)

    def refused(self) -> None:
        """No binding points to it. If one does again, that is news, and the back-off waits until it has lasted."""
        self.answer_by, self.registered, self.welcomed = None, None, False
        self.end()

    def end(self) -> None:
        """It is of no use any more."""
        if self.stable is not None:
            self.stable.cancel()


class FlowPair:
    """The flow in use and its candidate."""

    def __init__(self) -> None:
        self.in_use: TrackedFlow | None = None
        self.candidate: TrackedFlow | None = None

    def all(self) -> list[TrackedFlow]:
        """Those that there are."""
        return [tracked for tracked in (self.in_use, self.candidate) if tracked is not None]

    def find(self, generation: int) -> TrackedFlow | None:
        """The one of that generation."""
        return next((tracked for tracked in self.all() if tracked.flow.generation == generation), None)

    def take(self, tracked: TrackedFlow) -> None:
        """A flow that was just dialled: in use when there is none, else the candidate."""
        if self.in_use is None:
            self.in_use = tracked
        else:
            self.candidate = tracked

    def change(self, old: AccountPolicy, new: AccountPolicy, now: float, *, register: bool) -> Iterable[TrackedFlow]:
        """The account's policy is another one now. What leads elsewhere is to be replaced; candidates of which that is
        true are of no use, and are returned. The others refresh when the new one says so, or (``register``) now."""
        useless = []
        for tracked in self.all():
            if old.way(tracked.proxy) == new.way(tracked.proxy):
                tracked.refresh_by(now if register else None, new, now)
            elif tracked is self.candidate:
                useless.append(tracked)
            else:
                tracked.proxy = "former"
        return useless

    def swap(self) -> None:
        """The candidate takes the place of the one in use, which is kept until it is ended."""
        self.in_use, self.candidate = self.candidate, self.in_use

    def replaced(self, tracked: TrackedFlow) -> bool:
        """Whether it stands back behind one that is registered."""
        return tracked is self.candidate and self.in_use is not None and self.in_use.registered is not None

    def drop(self, tracked: TrackedFlow) -> bool:
        """Forget one; True when it was in use. The candidate steps in for it."""
        tracked.end()
        if tracked is self.candidate:
            self.candidate = None
            return False
        self.in_use, self.candidate = self.candidate, None
        return True
