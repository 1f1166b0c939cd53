"""How long to wait before the next attempt. Pure: randomness is passed in.

The schedule begins again (`reset`) only when the account has stayed registered long enough; its owner decides that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Uniform = Callable[[float, float], float]
"""``uniform(low, high)`` in seconds, as `random.uniform`."""

CALL_UP_WINDOWS_S = (0.0, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The shape of a back-off, all in seconds. ``max_attempts`` 0 means unlimited."""

    kind: Literal["exponential", "fixed", "uniform"] = "exponential"
    first_s: float = 0.0
    base_s: float = 1.0
    cap_s: float = 60.0
    jitter: float = 0.5
    """Draw each delay uniformly from (1 - this) to 1 times its window; not used by ``uniform``."""
    hurry_with_call: bool = True
    """While a call is up use 0, 0.25, 0.5, then 1 s instead."""
    max_attempts: int = 0


class Backoff:
    """Counts consecutive failures and names the delay before the next attempt."""

    def __init__(self, schedule: Schedule, uniform: Uniform) -> None:
        self._schedule = schedule
        self._uniform = uniform
        self._window_s: float | None = None
        self.failures = 0
        """Attempts that failed since the last `reset`."""

    def change(self, schedule: Schedule) -> None:
        """Another shape, from the next failure on."""
        self._schedule = schedule

    @property
    def exhausted(self) -> bool:
        """True when the limit of attempts is reached."""
        return 0 < self._schedule.max_attempts <= self.failures

    @property
    def cap_s(self) -> float:
        """The longest delay there is."""
        return self._schedule.cap_s

    def reset(self) -> None:
        """Start over: the account is well."""
        self.failures = 0
        self._window_s = None

    def next_delay_s(self, *, call_up: bool = False) -> float:
        """Note one more failure and return the seconds to wait before the next attempt."""
        self.failures += 1
        schedule = self._schedule
        if call_up and schedule.hurry_with_call:
            window = CALL_UP_WINDOWS_S[min(self.failures, len(CALL_UP_WINDOWS_S)) - 1]
            return self._uniform(window / 2, window)
        if schedule.kind == "uniform":
            return self._uniform(schedule.base_s, schedule.cap_s)
        if self._window_s is None:
            self._window_s = schedule.first_s
        elif schedule.kind == "fixed" or self._window_s < schedule.base_s:
            self._window_s = schedule.base_s
        else:
            self._window_s = min(schedule.cap_s, 2 * self._window_s)
        return self._uniform((1 - schedule.jitter) * self._window_s, self._window_s)
