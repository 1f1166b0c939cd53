"""The 20 ms clock of the process: one timer for all calls, spread over a few phases, without drift.

Owns when a call ticks and how late that was. A tick that comes late is made up for, so that as many ticks happen as
20 ms periods pass; after a stop of the loop longer than `CATCH_UP` the missing ones are skipped and told (`skip`). It
knows nothing of audio.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

PERIOD_S = 0.02
CATCH_UP = 10
"""Missed ticks that are made up for at once: what the deepest jitter buffer still has a use for."""
FULL_PHASE = 20
"""A phase takes so many calls before the next is begun: each phase in use is one more time to wake up, which costs a
fifth of a PCMU call, and so many Opus calls keep the loop busy for 3 ms."""
BIN_MS = 0.25
BINS = 400

log = logging.getLogger(__name__)


class Ticker(Protocol):
    """What a clock drives."""

    def tick(self, now: float, due: float) -> None:
        """20 ms have passed. Both are monotonic; ``due`` is when this tick should have come, always 20 ms after the
        one before, also while some are made up for."""
        ...

    def skip(self, ticks: int) -> None:
        """So many ticks will never come: time went on without us."""
        ...

    def crashed(self, error: Exception) -> None:
        """`tick` raised. The ticker has been taken out; the others go on."""
        ...


class Lateness:
    """A histogram of how late ticks came, in bins of 0.25 ms up to 100 ms. Halved now and then, so that it forgets."""

    FORGET_AT = 60_000

    def __init__(self) -> None:
        self._bins = [0] * (BINS + 1)
        self._count = 0

    def add(self, late_s: float) -> None:
        """One tick."""
        self._bins[min(BINS, max(0, int(late_s * 1000 / BIN_MS)))] += 1
        self._count += 1
        if self._count >= self.FORGET_AT:
            self._bins = [count // 2 for count in self._bins]
            self._count = sum(self._bins)

    def quantile_ms(self, quantile: float) -> float:
        """The upper edge of the bin that holds it; 0 before the first tick."""
        wanted = self._count * quantile
        seen = 0
        for index, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return (index + 1) * BIN_MS
        return 0.0


class MediaClock:
    """Ticks every `Ticker` once per 20 ms. Driven by one `loop.call_at` timer; idle without tickers."""

    def __init__(self, phases: int = 4) -> None:
        self._phases: list[list[Ticker]] = [[] for _ in range(phases)]
        self._step_s = PERIOD_S / phases
        self._timer: asyncio.TimerHandle | None = None
        self._phase = 0
        self._due = 0.0
        self.lateness = Lateness()
        self.skipped = 0
        """Ticks that never came."""

    def add(self, ticker: Ticker) -> Callable[[], None]:
        """Tick this from now on; returns what takes it out again."""
        shortest = min(self._phases, key=len)
        phase = next((phase for phase in self._phases if len(phase) < FULL_PHASE), shortest)
        phase.append(ticker)  # a phase that was empty is noticed within a period
        if self._timer is None:
            self._start()

        def remove() -> None:
            if ticker in phase:
                phase.remove(ticker)
            if not any(self._phases):
                self.stop()

        return remove

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._step_s
        self._timer = loop.call_at(self._due, self._fire)

    def due(self) -> float | None:
        """When the next tick should happen, in the loop's time; None while nobody ticks. A clock that has stopped by
        mistake has a due time that stays where it is."""
        return self._due if any(self._phases) else None

    def stop(self) -> None:
        """Cancel the timer. `add` starts it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        behind = int((now - self._due) / PERIOD_S)
        if behind > CATCH_UP:
            self._skip(behind - CATCH_UP)
        tickers = self._phases[self._phase]
        if tickers:
            self.lateness.add(now - self._due)
            for ticker in tuple(tickers):
                try:
                    ticker.tick(now, self._due)
                except Exception as error:
                    self._crashed(tickers, ticker, error)
        self._advance()
        while self._timer is not None and not self._phases[self._phase] and any(self._phases):
            self._advance()  # nobody ticks in this phase: do not wake up for it
        if self._timer is not None:
            # one phase a turn, even when behind: between two phases the sockets are read
            self._timer = loop.call_at(self._due, self._fire)

    def _advance(self) -> None:
        self._phase = (self._phase + 1) % len(self._phases)
        self._due += self._step_s

    def _skip(self, ticks: int) -> None:
        self._due += ticks * PERIOD_S
        for tickers in self._phases:
            for ticker in tickers:
                ticker.skip(ticks)
                self.skipped += ticks

    def _crashed(self, tickers: list[Ticker], ticker: Ticker, error: Exception) -> None:
        log.error("a media tick failed; this call's audio ends", exc_info=error)
        if ticker in tickers:
            tickers.remove(ticker)
        if not any(self._phases):
            self.stop()
        ticker.crashed(error)
