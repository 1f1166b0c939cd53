"""The dialog journal: what of each call must outlive the process, so that the next one can take the call up again.

Owns when an entry (`phoned.calls.entry`) is written: at each change, gathered, in the background; and when it goes. A
disk that refuses costs a log line and never a call. It must not know how entries are stored, nor how a call is taken up
from one (`phoned.calls.restore`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from phoned.calls.entry import JournalEntry, decode, encode
from phoned.clock import WallClock, wall_clock
from phoned.errors import InvalidValue, PhonedError
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

BEAT_S = 5.0
"""How often the journal notes that its calls still live: the end of a process that was killed is known to this."""
RETRY_S = 5.0
"""After the disk refused."""
SETTLE_S = 0.5
"""The longest that anybody waits for the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a `DialogJournal` holds: entries as text by call id, and when it was last written."""

    entries: Mapping[str, str]
    seen_at: datetime | None


class DialogJournal(Protocol):
    """Where the journal lasts. Every method may raise a `PhonedError`."""

    async def load(self) -> Kept:
        """Everything that is kept."""
        ...

    async def save(self, changes: Mapping[str, str | None], seen_at: datetime) -> None:
        """Write entries, remove those that are None, note the time: all of it or nothing."""
        ...

    async def set_aside(self, call: str, why: str) -> None:
        """Take an entry that cannot be read out of the way, but keep it for people to look at."""
        ...


class MemoryJournal:
    """Outlives nothing: for tests, and for phones without a state directory."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.aside: dict[str, str] = {}
        """Text that was set aside, by call id."""
        self.seen_at: datetime | None = None

    async def load(self) -> Kept:
        return Kept(entries=dict(self.entries), seen_at=self.seen_at)

    async def save(self, changes: Mapping[str, str | None], seen_at: datetime) -> None:
        for call, entry in changes.items():
            if entry is None:
                self.entries.pop(call, None)
            else:
                self.entries[call] = entry
        self.seen_at = seen_at

    async def set_aside(self, call: str, why: str) -> None:
        if call in self.entries:
            self.aside[call] = self.entries.pop(call)


class CallJournal:
    """Writes what changed. Driven by `changed`, `ended` and `registered`; made on a running loop."""

    def __init__(self, store: DialogJournal, *, clock: WallClock = wall_clock) -> None:
        self._store = store
        self._clock = clock
        self._tasks = Tasks("journal", self._on_crash)
        self._dirty: dict[str, Callable[[], JournalEntry | None]] = {}
        self._written: dict[str, str] = {}
        """What is on the disk, as far as we know."""
        self._farewells: dict[str, str] = {}
        """Calls that are over but for their BYE, and their accounts."""
        self._writing: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._frozen = False
        self.degraded = False
        """True while the disk refuses."""

    async def load(self) -> tuple[list[JournalEntry], float]:
        """What the process before has left, and how many seconds ago it was alive. Entries that cannot be read are set
        aside and reported; a disk that gives nothing gives no calls."""
        try:
            kept = await self._store.load()
        except PhonedError as error:
            log.error("the calls of before cannot be read: %s", error.detail)
            return [], 0.0
        entries = []
        for call, text in kept.entries.items():
            try:
                entry = decode(text)
                if entry.call != call:
                    raise InvalidValue("it is another call's")
            except InvalidValue as error:
                await self.set_aside(call, error.detail)
                continue
            self._written[call] = text
            if entry.standing == "over":
                self._farewells[call] = entry.account
            entries.append(entry)
        # a clock that was set back in between makes the age negative: they count as young then
        age_s = (self._clock() - kept.seen_at).total_seconds() if kept.seen_at is not None else 0.0
        self._keep_beating()
        return entries, max(age_s, 0.0)

    async def set_aside(self, call: str, why: str) -> None:
        """An entry that nobody can do anything with."""
        log.error("the journal's entry of %s is damaged (%s); it is set aside", call, why)
        self._written.pop(call, None)
        try:
            await self._store.set_aside(call, why)
        except PhonedError as error:
            log.error("it could not be set aside: %s", error.detail)

    def changed(self, call: str, entry: Callable[[], JournalEntry | None]) -> None:
        """Write ``entry()``, as it is when its turn comes."""
        self._dirty[call] = entry
        self._write_soon()

    def ended(self, call: str, *, told: bool) -> None:
        """It will not be taken up again. ``told``: the far end knows, or soon will; else a BYE is owed to it."""
        entry = None if told else self._farewell(call)
        self._dirty[call] = lambda: entry
        self._write_soon()

    def registered(self, account: str) -> None:
        """The account has a flow again: BYEs that were owed are said."""
        for call in [call for call, owner in self._farewells.items() if owner == account]:
            del self._farewells[call]
            self.ended(call, told=True)

    def _farewell(self, call: str) -> JournalEntry | None:
        """What the disk knows of the call, turned into a reminder."""
        text = self._written.get(call)
        entry = decode(text) if text is not None else None
        if entry is None or entry.standing == "early":
            return None
        self._farewells[call] = entry.account
        return replace(entry, standing="over")

    async def settled(self, budget_s: float = SETTLE_S) -> None:
        """Return once what changed so far is on the disk, or when the budget is spent: nobody waits for a sick disk."""
        if self._writing is not None and not self.degraded:
            await asyncio.wait({self._writing}, timeout=budget_s)

    async def freeze(self) -> None:
        """Write what there is to write, and nothing after it: the next process takes over from here."""
        self._write_soon(forced=True)
        await self.settled(RETRY_S)
        self._frozen = True
        self._stop_beating()

    async def close(self) -> None:
        """The last words of an ordinary end."""
        if not self._frozen:
            await self.settled(RETRY_S)
        self._frozen = True
        self._stop_beating()
        await self._tasks.close()

    # --- writing

    def _write_soon(self, *, forced: bool = False) -> None:
        if self._frozen or not (self._dirty or forced):
            return
        if self._writing is None:
            self._writing = self._tasks.spawn("write", self._write_out())

    async def _write_out(self) -> None:
        """One writer: what changes meanwhile is written in the next turn, as it is then."""
        try:
            while True:
                dirty, self._dirty = self._dirty, {}
                if not await self._write(dirty):
                    self._dirty = {**dirty, **self._dirty}
                    await asyncio.sleep(RETRY_S)
                if not self._dirty:
                    return
        finally:
            self._writing = None

    async def _write(self, dirty: Mapping[str, Callable[[], JournalEntry | None]]) -> bool:
        changes: dict[str, str | None] = {}
        for call, made in dirty.items():
            try:
                entry = made()
                text = None if entry is None else encode(entry)
            except Exception:
                log.exception("%s cannot be described for the journal", call)
                continue
            if text != self._written.get(call):
                changes[call] = text
        try:
            await self._store.save(changes, self._clock())
        except PhonedError as error:
            if not self.degraded:
                log.error("calls would not survive a crash now, the journal cannot be written: %s", error.detail)
            self.degraded = True
            return False
        if self.degraded:
            log.info("the journal is being written again")
        self.degraded = False
        for call, text in changes.items():
            if text is None:
                self._written.pop(call, None)
            else:
                self._written[call] = text
        self._keep_beating()
        return True

    # --- signs of life

    @property
    def _alive(self) -> bool:
        """There are calls that may be taken up again."""
        return len(self._written) > len(self._farewells)

    def _keep_beating(self) -> None:
        if self._beat is None and self._alive and not self._frozen:
            self._beat = asyncio.get_running_loop().call_later(BEAT_S, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        if self._alive:
            self._write_soon(forced=True)

    def _stop_beating(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; it goes on with the next change", name, exc_info=error)
