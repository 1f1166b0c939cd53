"""One webhook at run time: it takes what it wants from the event log into the outbox, and sends it from there.

Two loops. The feeder reads the log behind the webhook's cursor and moves parcels and cursor in one commit, so that an
event is neither lost nor taken twice, whenever the process dies. The sender attempts what is due, lane by lane. Where
the outbox is full the feeder waits and the log holds what follows; what the log has dropped meanwhile is announced to
the receiver with `events.gap`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from phoned.clock import WallClock
from phoned.errors import InternalError, PhonedError
from phoned.events import EventBus
from phoned.service import PhoneControl
from phoned.services.webhooks.lanes import Item, Lanes
from phoned.services.webhooks.schedule import (
    OUTAGE_S,
    Schedule,
    Uniform,
    Verdict,
    retry_after_s,
    verdict_of,
)
from phoned.services.webhooks.signing import Signer
from phoned.services.webhooks.values import Answer, Post, parcel_beside, parcel_of, view_of, wants
from phoned.snapshot import snapshot
from phoned.tasks import Tasks
from phoned.webhook import Attempted, AttemptResult, DisabledReason, Outbox, Parcel, StoredWebhook, Waiting, WebhookView

log = logging.getLogger(__name__)

PAGE = 32
"""Events that are made into parcels in one go: less than 5 ms of the loop."""
PENDING_MAX = 10_000
"""Deliveries of one webhook that wait at one time."""
ABREAST = 8
"""Attempts of one webhook at one time."""
PAUSE_S = 1.0
"""Before what failed here, and not at the receiver, is tried again."""

Decide = Callable[["Endpoint", Item, bytes, float], Coroutine[Any, Any, None]]
"""What is done with the answer to a first attempt: the delivery, the body, how many seconds it took."""


class Endpoint:
    """See the module's docstring. Driven by its owner: `start`, `nudge`, `close`, and the verbs in between."""

    def __init__(
        self,
        webhook: StoredWebhook,
        signer: Signer,
        *,
        schedule: Schedule,
        outbox: Outbox,
        bus: EventBus,
        phone: PhoneControl,
        post: Post,
        decide: Decide,
        counted: Counter[AttemptResult],
        uniform: Uniform,
        clock: WallClock,
        pending_max: int = PENDING_MAX,
    ) -> None:
        self.stored = webhook
        self.signer = signer
        self.schedule = schedule
        self._outbox = outbox
        self._bus = bus
        self._phone = phone
        self._post = post
        self._decide = decide
        self._counted = counted
        self._uniform = uniform
        self._clock = clock
        self.pending_max = pending_max
        self._lanes = Lanes(ABREAST)
        self.cursor = webhook.cursor
        """Events up to this one have been looked at."""
        self._failing_from: float | None = None
        """Loop time: a clock that is set does not end anybody's patience."""
        self._complained = False
        self._full = False
        """The feeder waits for room."""
        self._news = asyncio.Event()
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._tasks = Tasks(f"webhook {webhook.id}", self._on_crash)

    # --- life

    async def start(self) -> None:
        """Take up what waits, and go on if the webhook is enabled."""
        now, wall = asyncio.get_running_loop().time(), self._clock()
        if self.stored.failing_since is not None:
            self._failing_from = now - max(0.0, (wall - self.stored.failing_since).total_seconds())
        self._lanes = Lanes(ABREAST)
        for index, waiting in enumerate(await self._outbox.waiting(self.stored.id)):
            self._add(waiting, now, wall)
            if index % 256 == 255:
                await asyncio.sleep(0)  # others have work, too
        if self.stored.enabled:
            self._tasks.spawn("feed", self._kept_up(self._feed))
            self._tasks.spawn("send", self._kept_up(self._send))

    async def _kept_up(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A fault of ours in a loop costs a pause, not the webhook."""
        while self.stored.enabled:
            try:
                await loop()
            except Exception:
                log.exception("webhook %s: a fault of phoned", self.stored.id)
                await asyncio.sleep(PAUSE_S)

    def nudge(self) -> None:
        """There may be new events."""
        self._news.set()

    async def settled(self) -> None:
        """Until everything that was told is taken over and nothing is due or under way."""
        loop = asyncio.get_running_loop()
        while self.stored.enabled:
            self._moved.clear()
            next_at = self._lanes.next_at()
            idle = not self._lanes.under_way and (next_at is None or next_at > loop.time())
            if idle and self.cursor >= self._bus.delivered_seq:
                return
            await self._moved.wait()

    async def close(self) -> None:
        """Stop at once. What was being attempted is attempted again in the next life."""
        await self._tasks.close(1.0)

    def view(self) -> WebhookView:
        """As everybody may see it."""
        return view_of(self.stored, len(self._lanes))

    # --- verbs

    async def change(self, webhook: StoredWebhook) -> None:
        """Take over another URL, other events, another state. What happened while it was disabled is not sent."""
        before = self.stored
        comes_back = webhook.enabled and not before.enabled
        if comes_back:
            webhook = replace(webhook, failing_since=None, disabled_reason=None)
        self.stored = webhook
        try:
            await self._outbox.update(webhook)
        except InternalError:
            self.stored = before
            raise
        if comes_back:
            await self._tasks.close(1.0)  # what is left of the time before
            self._failing_from = None
            if self.cursor < self._bus.delivered_seq:
                await self._announce_gap()
            await self.start()
            self._lanes.hurry(asyncio.get_running_loop().time())
        self._wake()

    def again(self, waiting: Waiting) -> None:
        """Attempt a delivery anew that the outbox has made pending."""
        now = asyncio.get_running_loop().time()
        item = self._lanes.find(waiting.id)
        if item is None:
            self._add(waiting, now, self._clock())
        else:
            item.step = 0
            self._lanes.hasten(item, now)
        self._wake()

    async def attempt(self, id_: str, body: str) -> tuple[Answer | None, str | None]:
        """One attempt: the answer, or why there is none."""
        headers = self.signer.headers(id_, body, self._clock())
        trusted = self.stored.source == "file"
        try:
            answer = await self._post(
                self.stored.url, headers, body, trusted=trusted, timeout_s=self.schedule.timeout_s
            )
        except PhonedError as error:
            return None, error.detail
        return answer, None if verdict_of(answer.status) is Verdict.DELIVERED else f"HTTP {answer.status}"

    # --- from the log into the outbox

    async def _feed(self) -> None:
        while self.stored.enabled:
            self._news.clear()
            room = self.pending_max - len(self._lanes)
            self._full = room <= 0
            try:
                if room > 0 and await self._take_over(min(room, PAGE)):
                    continue
            except InternalError as error:
                log.error("webhook %s: events wait, the disk does not serve: %s", self.stored.id, error.detail)
                await asyncio.sleep(PAUSE_S)
                continue
            await self._news.wait()

    async def _take_over(self, limit: int) -> bool:
        """One stretch of the log. False when there is nothing behind the cursor."""
        events = await self._bus.log.after(self.cursor, limit)
        if events is None:
            if self.cursor == self._bus.delivered_seq:
                return False
            await self._announce_gap()
            return True
        if not events:
            return False
        await self._put([parcel_of(event) for event in events if wants(self.stored.events, event.type)], events[-1].seq)
        return True

    async def _announce_gap(self) -> None:
        """What lies between the cursor and now is not going to be sent."""
        newest = self._bus.delivered_seq
        log.warning("webhook %s: events %d to %d are not sent to it", self.stored.id, self.cursor + 1, newest)
        await self._put(
            [parcel_beside(snapshot(self._phone, "events.gap", newest, ended_calls=False), self._clock())], newest
        )

    async def _put(self, parcels: list[Parcel], cursor: int) -> None:
        places = await self._outbox.put(self.stored.id, parcels, cursor)
        self.cursor = cursor
        now = asyncio.get_running_loop().time()
        for place, parcel in zip(places, parcels, strict=True):
            if place:
                item = Item(place=place, id=parcel.id, type=parcel.type, seq=parcel.seq, lane=parcel.lane, due_at=now)
                item.due_at += self.schedule.wait_s(0, self._uniform) or 0.0
                self._lanes.add(item)
        self._wake()

    def _add(self, waiting: Waiting, now: float, wall: datetime) -> None:
        """``next_at`` is of the wall clock, which may have been set since: no wait is longer than the longest one."""
        longest_s = max(self.schedule.table_s) * 2
        wait_s = min(max(0.0, (waiting.next_at - wall).total_seconds()), longest_s)
        self._lanes.add(
            Item(
                place=waiting.place,
                id=waiting.id,
                type=waiting.type,
                seq=waiting.seq,
                lane=waiting.lane,
                due_at=now + wait_s,
                attempts=waiting.attempts,
                step=waiting.step,
            )
        )

    # --- from the outbox to the receiver

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self.stored.enabled:
            self._due.clear()
            for item in self._lanes.take(loop.time()):
                self._tasks.spawn(item.id, self._deliver(item))
            next_at = self._lanes.next_at()
            try:
                async with asyncio.timeout_at(next_at):
                    await self._due.wait()
            except TimeoutError:
                pass  # something is due

    async def _deliver(self, item: Item) -> None:
        try:
            body = await self._outbox.body(item.place)
            if body is None:
                self._lanes.done(item)  # removed meanwhile
            else:
                await self._attempt(item, body)
        except Exception:
            log.exception("webhook %s: %s was not attempted", self.stored.id, item.id)
            self._lanes.again(item, asyncio.get_running_loop().time() + PAUSE_S)
        self._wake()

    async def _attempt(self, item: Item, body: str) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer, why = await self.attempt(item.id, body)
        item.attempts += 1
        verdict = verdict_of(answer.status if answer is not None else None)
        if answer is None or verdict is not Verdict.DELIVERED:
            await self._failed(item, answer, why, disable="gone" if verdict is Verdict.GONE else None)
            return
        if item.attempts == 1:
            self._tasks.spawn("decide", self._decide(self, item, answer.body, loop.time() - started))
        await self._delivered(item, answer.status)

    async def _delivered(self, item: Item, status: int) -> None:
        self._counted["delivered"] += 1
        now = asyncio.get_running_loop().time()
        outage_s = now - self._failing_from if self._failing_from is not None else 0.0
        if self._complained:
            self._complained = False
            log.info("webhook %s: delivers again", self.stored.id)
        self._failing_from = None
        self.stored = replace(self.stored, last_status=status, failing_since=None)
        await self._note(
            item,
            Attempted(**_facts(item), state="delivered", at=self._clock(), next_at=None, status=status, error=None),
        )
        self._lanes.done(item)
        if outage_s >= OUTAGE_S:
            self._lanes.hurry(now)

    async def _failed(
        self, item: Item, answer: Answer | None, why: str | None, *, disable: DisabledReason | None = None
    ) -> None:
        now, wall = asyncio.get_running_loop().time(), self._clock()
        status = answer.status if answer is not None else None
        if self._failing_from is None:
            self._failing_from = now
        elif item.attempts > 1 and not self._complained:
            self._complained = True  # once an outage, and not for what the second attempt mends
            log.warning("webhook %s: %s fails: %s", self.stored.id, item.type, why)
        if now - self._failing_from >= self.schedule.disable_after_s:
            disable = disable or "failing"
        self.stored = replace(self.stored, last_status=status, failing_since=self.stored.failing_since or wall)
        item.step += 1
        asked_s = retry_after_s(answer.status, answer.retry_after, wall) if answer is not None else None
        wait_s = self.schedule.wait_s(item.step, self._uniform, asked_s)
        over = wait_s is None
        self._counted["failed" if over else "retried"] += 1
        if over:
            log.warning("webhook %s: %s is given up after %d attempts", self.stored.id, item.id, item.attempts)
        if not self.stored.enabled:
            disable = None  # it is already
        if disable is not None:
            self.stored = replace(self.stored, enabled=False, disabled_reason=disable)
            log.warning("webhook %s is disabled: %s", self.stored.id, disable)
        await self._note(
            item,
            Attempted(
                **_facts(item),
                state="failed" if over else "pending",
                at=wall,
                next_at=None if wait_s is None else wall + timedelta(seconds=wait_s),
                status=status,
                error=why,
            ),
        )
        if wait_s is None:
            self._lanes.done(item)
        else:
            self._lanes.again(item, now + wait_s)
        if disable is not None:
            self._bus.publish("webhook.disabled", webhook=self.view(), reason=disable)

    async def _note(self, item: Item, attempted: Attempted) -> None:
        try:
            await self._outbox.note(self.stored, attempted)
        except InternalError as error:
            # it goes on in memory; after a crash now the receiver would get it once more, under the same id
            log.error("webhook %s: how %s went cannot be written: %s", self.stored.id, item.id, error.detail)

    def _wake(self) -> None:
        """Something has changed that the loops, or who waits for them, may wait for."""
        self._due.set()
        self._moved.set()
        if self._full or not self.stored.enabled:
            self._news.set()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)


def _facts(item: Item) -> dict[str, int]:
    return {"place": item.place, "attempts": item.attempts, "step": item.step}
