"""Which outbound proxy an account should be at. Pure: outcomes and time in, a name out (recovery page, "Toggle").

``auto`` moves after two failures in a row at one proxy, or at once when it refuses the connection, fails TLS or says
503; with a call up it stays for a while first, because the dialog's state may live at that edge. It goes back when the
preferred proxy has had time to get well and no call is up. One that named a time (Retry-After) is not gone to before
it, unless the other one named a later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Required, TypedDict, Unpack

from phoned.model import Cause
from phoned.recovery.plan import ProxyName

Mode = Literal["primary", "backup", "auto"]

PATIENCE = 2
"""Failures in a row that make ``auto`` move."""
AT_ONCE = frozenset({Cause.REFUSED, Cause.TLS})
SERVICE_UNAVAILABLE = 503
FAILBACK = "failback"
OTHER: dict[ProxyName, ProxyName] = {"primary": "backup", "backup": "primary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The account should go elsewhere. ``why`` is a cause, ``failback`` or ``api``."""

    old: ProxyName
    new: ProxyName
    why: str


class Figures(TypedDict, total=False):
    """What is configured about an account's proxies: the keywords of `Proxies`."""

    has_backup: Required[bool]
    automatic: bool
    failback_s: float
    call_sticky_s: float


class Proxies:
    """Driven by outcomes (`failed`, `succeeded`), by `choose`, and by `catch_up` at the time that `due` names. Each may
    return a `Move`."""

    def __init__(self, **figures: Unpack[Figures]) -> None:
        self.mode: Mode = "auto"
        self.active: ProxyName = "primary"
        self._failures = 0
        self._first_failure_at = 0.0
        self._moved_at: float | None = None
        self._postponed: str | None = None
        """Why it is to move on, once it may."""
        self._not_before: dict[ProxyName, float] = {}
        """What each has asked for."""
        self._take(**figures)

    def _take(
        self, *, has_backup: bool, automatic: bool = True, failback_s: float = 300.0, call_sticky_s: float = 10.0
    ) -> None:
        self._has_backup, self._automatic = has_backup, automatic
        self._failback_s, self._sticky_s = failback_s, call_sticky_s

    def change(self, **figures: Unpack[Figures]) -> None:
        """Other figures from now on. Without a backup the primary is all that there is."""
        self._take(**figures)
        if not self._has_backup and (self.active == "backup" or self.mode == "backup"):
            self.mode, self.active = "auto", "primary"
            self.succeeded()

    def choose(self, mode: Mode, now: float) -> Move | None:
        """A person's wish; it holds until the next."""
        self.mode = mode
        self.succeeded()
        if mode == "auto":
            return None
        return self._go(mode, "api", now)

    def failed(
        self,
        cause: Cause,
        now: float,
        *,
        calls_up: int,
        status: int | None = None,
        not_before: float | None = None,
    ) -> Move | None:
        """An attempt at the active proxy failed. ``status``: what it answered, if it did: SIP's or that of the upgrade.
        ``not_before``: when it wants to be asked again."""
        if self._failures == 0:
            self._first_failure_at = now
        self._failures += 1
        if not_before is not None:
            self._not_before[self.active] = not_before
        if not self._movable:
            return None
        at_once = cause in AT_ONCE if status is None else status == SERVICE_UNAVAILABLE
        if self._failures < PATIENCE and not at_once:
            return None
        self._postponed = str(cause)
        return self._move_on(now, calls_up)

    def succeeded(self) -> None:
        """The active proxy does its work: the account is registered there, or was told through it that it may not."""
        self._failures = 0
        self._postponed = None

    def wait_s(self, now: float) -> float:
        """How long the active proxy still wants to be left alone; 0: it does not."""
        return max(0.0, self._asks(self.active) - now)

    def due(self, *, calls_up: int = 0) -> float | None:
        """When going on, or going back, is to be considered."""
        if not self._movable:
            return None
        if self._postponed is not None:
            return self._on_at(calls_up)
        return self._back_at()

    def catch_up(self, now: float, *, calls_up: int) -> Move | None:
        """The time of `due` has come, or the last call has ended."""
        if not self._movable:
            return None
        if (move := self._move_on(now, calls_up)) is not None:
            return move
        back_at = self._back_at()
        if back_at is None or now < back_at or calls_up:
            return None
        return self._go("primary", FAILBACK, now)

    def _move_on(self, now: float, calls_up: int) -> Move | None:
        if self._postponed is None or now < self._on_at(calls_up):
            return None
        return self._go(OTHER[self.active], self._postponed, now)

    def _on_at(self, calls_up: int) -> float:
        """When it may move on."""
        asks, here = self._asks(OTHER[self.active]), self._asks(self.active)
        sticky_until = self._first_failure_at + self._sticky_s if calls_up else self._first_failure_at
        return max(sticky_until, asks) if asks > here else sticky_until

    def _back_at(self) -> float | None:
        if self.active == "primary" or self._moved_at is None:
            return None
        return max(self._moved_at + self._failback_s, self._asks("primary"))

    def _asks(self, proxy: ProxyName) -> float:
        return self._not_before.get(proxy, 0.0)

    @property
    def _movable(self) -> bool:
        return self._has_backup and self._automatic and self.mode == "auto"

    def _go(self, proxy: ProxyName, why: str, now: float) -> Move | None:
        if proxy == self.active or (proxy == "backup" and not self._has_backup):
            return None
        old, self.active = self.active, proxy
        self.succeeded()
        self._moved_at = now
        return Move(old=old, new=proxy, why=why)
