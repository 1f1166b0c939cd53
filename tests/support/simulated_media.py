"""Media that lives on virtual time: it connects when it was agreed on and the path is there, and is heard meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from phoned.media.events import Flowing, MediaEvent, MediaFailed, MediaFailure
from phoned.media.pulse import Pulse
from phoned.model import MediaState, MediaView, StatsView
from tests.support.call_media import FakeMedia

CONNECTS_IN_S = 0.1
TRIES = 40
PACKETS_PER_S = 50


@dataclass
class MediaPath:
    """The way that all media goes, beside the signalling."""

    up: bool = True
    address: Callable[[], str | None] = lambda: "10.0.1.2"


class SimulatedMedia(FakeMedia):
    """A session whose packets come while the path is up and our address is the one it was connected from."""

    def __init__(self, on_event: Callable[[MediaEvent], None], path: MediaPath) -> None:
        super().__init__(on_event)
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._wished = (False, False)
        self._generations = (0, 0)
        self._next: tuple[int, int] = (0, 0)
        self._address: str | None = None
        self._heard_at: float | None = None
        self._switched_at = 0.0
        self._expected_since = 0.0
        self._connecting: asyncio.TimerHandle | None = None
        self._descriptions = 0

    # --- descriptions

    async def offer(self, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False) -> bytes:
        await super().offer(ice_restart=ice_restart, rebuild=rebuild, pause=pause)
        self._wished = (ice_restart, rebuild)
        return self._describe("offer")

    async def answer(self, remote: bytes) -> bytes:
        await super().answer(remote)
        self._agreed()
        return self._describe("answer")

    async def accept_answer(self, remote: bytes) -> None:
        await super().accept_answer(remote)
        self._agreed()

    def rollback(self) -> None:
        super().rollback()
        self._wished = (False, False)

    def remember(self) -> str | None:
        return None

    def _describe(self, kind: str) -> bytes:
        self._descriptions += 1
        self.current = f"{kind} {self._descriptions}".encode()
        return self.current

    def _agreed(self) -> None:
        ice, dtls = self._generations
        restart, rebuild = self._wished
        self._wished = (False, False)
        self._next = (ice + (restart or rebuild or not ice), dtls + (rebuild or not dtls))
        if self._next != self._generations:
            self._try(TRIES)

    # --- the path

    def _try(self, left: int) -> None:
        self._stop()
        if not self.closed:
            self._connecting = self._loop.call_later(CONNECTS_IN_S, self._connect, left)

    def _connect(self, left: int) -> None:
        self._connecting = None
        address = self._path.address()
        if not self._path.up or address is None:
            if left:
                self._try(left - 1)
            elif self._generations == (0, 0):
                self.emit(MediaFailed(cause=MediaFailure.ICE))
            return
        self._address, self._generations = address, self._next
        self._switched_at = self._loop.time()
        self._expected_since = self._expected_since or self._switched_at
        ice, dtls = self._generations
        self.emit(
            Flowing(codec="opus", ssrc=1, ice_generation=ice, dtls_generation=dtls, gap_ms=0 if ice > 1 else None)
        )

    @property
    def _alive(self) -> bool:
        return self._address is not None and self._path.up and self._address == self._path.address()

    # --- facts

    def pulse(self) -> Pulse:
        now = self._loop.time()
        if self._alive and not self.held:
            self._heard_at = now
        ice, dtls = self._generations
        return Pulse(
            ready=ice > 0,
            heard_at=self._heard_at,
            expected_since=self._expected_since,
            expects=not self.held,
            heard_here=self._heard_at is not None and self._heard_at >= self._switched_at,
            sends=not self.held,
            sent=round((now - self._began) * PACKETS_PER_S),
            consented=self._alive,
            rtt_s=0.04,
            ice_generation=ice,
            dtls_generation=dtls,
        )

    def stats(self, *, sample: bool = False) -> StatsView:
        heard = 0 if self._heard_at is None else round((self._heard_at - self._expected_since) * PACKETS_PER_S) + 1
        return StatsView(packets_received=max(heard, 0))

    async def probe(self) -> float | None:
        self.probes += 1
        await asyncio.sleep(0.4)
        return 0.04 if self._alive else None

    def rerouted(self) -> bool:
        address = self._path.address()
        return self._address is not None and address is not None and address != self._address

    def view(self) -> MediaView:
        if self._address is None:
            return MediaView()
        return MediaView(
            state=MediaState.FLOWING, codec="opus", local=f"{self._address}:5000", remote="192.0.2.1:6000", generation=1
        )

    def hold(self, on: bool) -> None:
        if self.held and not on:
            self._expected_since = self._loop.time()
        super().hold(on)

    def _stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    async def close(self) -> None:
        self._stop()
        await super().close()
