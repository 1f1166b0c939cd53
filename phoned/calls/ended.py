"""Calls that ended: readable for 24 hours, the newest 10,000 of them, also over a restart of the daemon.

Owns what is remembered of them. It is written in the background; a disk that refuses costs a log line and what the next
process would have known. It must not know how a call ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from phoned.clock import WallClock, wall_clock
from phoned.errors import PhonedError
from phoned.logs import Limited
from phoned.model import CallView, RecordingView, StatsView
from phoned.plain import dumps, plain
from phoned.service import KeyValue
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

KEEP_ENDED = 10_000
KEEP_ENDED_FOR = timedelta(hours=24)
PREFIX = "ended/"
CLOSE_S = 1.0
AT_ONCE = 64
"""Records that are read without a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCall:
    """What is remembered."""

    view: CallView
    stats: StatsView
    recordings: tuple[RecordingView, ...]


class EndedCalls:
    """See the module's docstring. Driven by `CallManager`; ``keys`` None: it outlives nothing."""

    def __init__(self, keys: KeyValue | None = None, *, clock: WallClock = wall_clock, keep: int = KEEP_ENDED) -> None:
        self._keys = keys
        self._clock = clock
        self._keep = keep
        self._calls: OrderedDict[str, EndedCall] = OrderedDict()
        self._changed: dict[str, EndedCall | None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._tasks = Tasks("ended", self._on_crash)
        self._trouble = Limited(log)

    def __iter__(self) -> Iterator[EndedCall]:
        """Oldest first."""
        self._forget_old()
        return iter(tuple(self._calls.values()))

    def get(self, call: str) -> EndedCall | None:
        """The call, if it is remembered."""
        self._forget_old()
        return self._calls.get(call)

    def ending(self, call: EndedCall) -> None:
        """Its end is being told, it still has its parts: a process that dies now must not have forgotten it."""
        self._write_soon(call.view.id, call)

    def add(self, call: EndedCall) -> None:
        """One that has just left."""
        self._calls[call.view.id] = call
        self._write_soon(call.view.id, call)
        self._forget_old()

    def forget_recording(self, recording: str) -> None:
        """Its file is gone."""
        for key, call in self._calls.items():
            left = tuple(view for view in call.recordings if view.id != recording)
            if len(left) != len(call.recordings):
                self._calls[key] = replace(call, recordings=left)
                self._write_soon(key, self._calls[key])

    def _forget_old(self) -> None:
        horizon = self._clock() - KEEP_ENDED_FOR
        while self._calls:
            oldest = next(iter(self._calls.values()))
            if len(self._calls) <= self._keep and (oldest.view.ended_at or horizon) >= horizon:
                return
            self._calls.popitem(last=False)
            self._write_soon(oldest.view.id, None)

    # --- over a restart

    async def load(self) -> None:
        """Take up what the process before remembered. What ended since stays as it is."""
        if self._keys is None:
            return
        try:
            texts = await self._keys.items(PREFIX)
        except PhonedError as error:
            log.error("the calls that ended before cannot be read: %s", error.detail)
            return
        found = await _decode_all(texts)
        for name in texts.keys() - {PREFIX + call.view.id for call in found}:
            log.error("the record of %s is damaged; it is dropped", name.removeprefix(PREFIX))
            self._write_soon(name.removeprefix(PREFIX), None)
        self._calls = OrderedDict({call.view.id: call for call in found} | self._calls)
        self._forget_old()

    async def close(self) -> None:
        """Write what there is to write."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=CLOSE_S)
        await self._tasks.close()

    def _write_soon(self, name: str, call: EndedCall | None) -> None:
        if self._keys is None:
            return
        self._changed[name] = call
        if self._writing is None:
            self._writing = self._tasks.spawn("write", self._write(self._keys))

    async def _write(self, keys: KeyValue) -> None:
        """One writer: what changes meanwhile is written in the next turn."""
        try:
            while self._changed:
                changed, self._changed = self._changed, {}
                try:
                    await asyncio.gather(*(_save(keys, PREFIX + name, call) for name, call in changed.items()))
                except PhonedError as error:
                    self._trouble.log(
                        logging.ERROR, "save", "calls that ended would be forgotten in a restart: %s", error.detail
                    )
        finally:
            self._writing = None

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; it goes on with the next call", name, exc_info=error)


_ADAPTER = TypeAdapter(EndedCall)


async def _save(keys: KeyValue, name: str, call: EndedCall | None) -> None:
    if call is None:
        await keys.delete(name)
    else:
        await keys.set(name, dumps(plain(call)).encode())


async def _decode_all(texts: dict[str, bytes]) -> list[EndedCall]:
    """Those that can be read, oldest first."""
    found = []
    for number, (name, text) in enumerate(texts.items()):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)  # calls that came over the restart have their sound meanwhile
        try:
            call = _ADAPTER.validate_json(text)
        except ValidationError:
            continue
        if PREFIX + call.view.id == name:
            found.append(call)
    return sorted(found, key=lambda call: (call.view.ended_at or call.view.created_at, call.view.id))
