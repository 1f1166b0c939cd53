"""What an account is told: its figures, and who hears of it. Values and protocols only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from phoned.recovery.backoff import Schedule
from phoned.recovery.proxies import Figures
from phoned.sip.events import Registered
from phoned.transport.flow import Flow, FlowListener, FlowTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """The figures of one account, in seconds where named so."""

    target: FlowTarget
    target_backup: FlowTarget | None = None
    schedule: Schedule = field(default_factory=Schedule)
    on_demand: bool = False
    """Not registered before somebody asks for it, or a call is placed."""
    contact_is_local: bool = False
    """Via and Contact name our own address and port instead of an ``.invalid`` host (RFC 7118 5)."""
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 5.0
    refresh_before_expiry_s: float | None = None
    """Refresh so long before the granted expiry, instead of at half of it."""
    attempt_deadline_s: float = 5.0
    ping_idle_s: float = 15.0
    """0 (or ``ping_call_s`` 0): no pings."""
    ping_call_s: float = 2.0
    ping_misses: int = 2
    failover: bool = True
    """Move to the backup outbound proxy, and back, without being asked."""
    failback_s: float = 300.0
    call_sticky_s: float = 10.0
    ping_timeout_s: float | None = None
    """Deadline of one ping; None: four measured round trips, at least one second."""

    @property
    def proxies(self) -> Figures:
        """What `Proxies` must know."""
        return Figures(
            has_backup=self.target_backup is not None,
            automatic=self.failover,
            failback_s=self.failback_s,
            call_sticky_s=self.call_sticky_s,
        )

    def way(self, proxy: str) -> tuple[FlowTarget | None, bool]:
        """All that a flow to ``primary`` or ``backup`` is dialled and attached by. Flows of one way are alike."""
        return (self.target_backup if proxy == "backup" else self.target), self.contact_is_local

    @property
    def ways(self) -> tuple[object, object]:
        """Both of them."""
        return self.way("primary"), self.way("backup")


class AccountSignaling(FlowListener, Protocol):
    """What an account needs of `phoned.signaling.Signaling`, which hears its flows."""

    def attach(self, account: str, flow: Flow, *, sent_by: str | None = None) -> None: ...

    def register(self, account: str, flow: Flow, *, expires_s: int | None = None) -> None: ...

    def unregister(self, account: str) -> None: ...

    def move_account(self, account: str, flow: Flow) -> None: ...


class AccountListener(Protocol):
    """Who carries on when an account has a flow again: the call manager and the identity store."""

    def on_flow_ready(self, account: str) -> None:
        """A new flow is about to carry the account's dialogs; its REGISTER is on the way. What is wished now goes out
        right behind it."""
        ...

    def on_registered(self, account: str) -> None:
        """The registration was confirmed (not told for a mere refresh)."""
        ...

    def on_identity(self, account: str, call_id: str, cseq: int) -> None:
        """What must outlive the process before the next REGISTER."""
        ...

    def calls_up(self, account: str) -> int:
        """How many calls the account carries now."""
        ...


LEAST_HALF_EXPIRY_S = 1.0
"""A registrar that grants next to nothing is not hammered for it."""
FLOW_TIMER_SHARE = 0.8
"""Ping well within what the server's Flow-Timer promises to wait (RFC 5626 4.4.1)."""


def refresh_in_s(policy: AccountPolicy, registered: Registered) -> float:
    """How long after this answer the next REGISTER is due."""
    if policy.refresh_before_expiry_s is not None:
        latest = registered.expires_s - policy.refresh_before_expiry_s
    else:
        latest = registered.expires_s / 2
    return min(policy.keepalive_s, max(latest, LEAST_HALF_EXPIRY_S))


def ping_interval_s(policy: AccountPolicy, registered: Registered | None, calls_up: int) -> float:
    """How long to wait between two pings."""
    interval = policy.ping_call_s if calls_up else policy.ping_idle_s
    if registered is not None and registered.flow_timer_s:
        interval = min(interval, FLOW_TIMER_SHARE * registered.flow_timer_s)
    return interval
