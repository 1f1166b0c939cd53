"""One call in which both ends talk, for tests of its repair on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from phoned.calls.call import Call
from phoned.calls.repair_context import RepairPolicy
from phoned.events import Event
from phoned.media import events as media
from phoned.model import MediaState, StatsView
from phoned.sip import events as sip
from tests.support.call_media import FakeMedia
from tests.support.calls import CallWorld


class Scene:
    """One call in which both ends talk."""

    def __init__(self, world: CallWorld, call: Call) -> None:
        self.world = world
        self.call = call
        self.media: FakeMedia = world.flowing(call, ice_generation=1, dtls_generation=1)
        self.media.numbers = StatsView(packets_received=1)

    @classmethod
    async def set_up(cls, **policy: Any) -> Scene:
        world = CallWorld(repair_policy=RepairPolicy(**policy))
        return cls(world, await world.active())

    def silence(self) -> None:
        """The far end is heard no more."""
        now = asyncio.get_running_loop().time()
        self.media.talking = False
        self.media.beat = replace(self.media.beat, heard_at=now)

    def land(self, *, dtls: int = 1, gap_ms: int | None = None) -> None:
        """Media moves to the pair that the repair made, and the far end is heard there."""
        generation = self.media.beat.ice_generation + 1
        self.media.beat = replace(self.media.beat, ice_generation=generation, dtls_generation=dtls, ready=True)
        self.media.emit(media.PathChanged(local="l", remote="r", ice_generation=generation))
        self.media.talking = True
        self.media.emit(
            media.Flowing(codec="opus", ssrc=1, ice_generation=generation, dtls_generation=dtls, gap_ms=gap_ms)
        )

    def put_off(self, after_s: float, *causes: sip.ModifyCause) -> None:
        """The re-INVITE shall be said again later."""
        session = self.call.session or ""
        self.world.tell(sip.ModifyPutOff(session=session, causes=causes, status=503, reason="Busy", after_s=after_s))

    @property
    def said(self) -> list[str]:
        """Causes of the re-INVITEs so far."""
        return [cause for _, cause in self.world.core.of("reinvite")]

    async def offered(self, *causes: sip.ModifyCause) -> tuple[str, ...]:
        """The core wants the offer; what it asked of the media."""
        self.world.wants_offer(self.call, f"t{len(self.media.log)}", *causes)
        await asyncio.sleep(0.05)
        told: list[tuple[str, ...]] = [entry for entry in self.media.log if entry[0] == "offer"]
        return told[-1][1:] if told else ()

    async def told(self, *types: str) -> list[dict[str, Any]]:
        """Data of all events of these types."""
        events: list[Event] = await self.world.events()
        return [dict(event.data) for event in events if event.type in types]

    def state(self) -> MediaState:
        return self.call.view().media.state
