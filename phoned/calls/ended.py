"""What is remembered of calls that have ended: a day long, and so many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from phoned.clock import WallClock
from phoned.model import CallView, RecordingView, StatsView

KEEP_ENDED = 10_000
KEEP_ENDED_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCall:
    """What is remembered."""

    view: CallView
    stats: StatsView
    recordings: tuple[RecordingView, ...]


class EndedCalls:
    """Driven by the call manager."""

    def __init__(self, *, clock: WallClock, keep: int = KEEP_ENDED) -> None:
        self._clock = clock
        self._keep = keep
        self._ended: OrderedDict[str, EndedCall] = OrderedDict()

    def __iter__(self) -> Iterator[EndedCall]:
        """All that are remembered, oldest first."""
        self._forget_old()
        return iter(tuple(self._ended.values()))

    def add(self, record: EndedCall) -> None:
        """One that has just left."""
        self._ended[record.view.id] = record
        self._forget_old()

    def get(self, call: str) -> EndedCall | None:
        """By id, while it is remembered."""
        self._forget_old()
        return self._ended.get(call)

    def forget_recording(self, recording: str) -> None:
        """Its file is gone."""
        for key, record in self._ended.items():
            left = tuple(view for view in record.recordings if view.id != recording)
            if len(left) != len(record.recordings):
                self._ended[key] = replace(record, recordings=left)

    def _forget_old(self) -> None:
        horizon = self._clock() - KEEP_ENDED_FOR
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if len(self._ended) <= self._keep and (oldest.view.ended_at or horizon) >= horizon:
                return
            self._ended.popitem(last=False)
