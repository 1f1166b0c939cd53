"""Bridges of a `FakePhone`: the real rules over calls without sound."""

from __future__ import annotations

from collections.abc import Sequence

from phoned import errors
from phoned.calls.bridges import Bridges
from phoned.clock import wall_clock
from phoned.events import EventBus
from phoned.media.graph import AudioGraph
from phoned.model import BridgeView, CallState, CallView


class FakeSound:
    def __init__(self) -> None:
        self.graph = AudioGraph(16_000)
        self.bridge: str | None = None

    def in_bridge(self, bridge: str | None) -> None:
        self.bridge = bridge


class FakeMember:
    """A call of the fake phone."""

    def __init__(self, phone: FakeBridges, call: str) -> None:
        self._phone = phone
        self.id = call
        self.audio = phone.sounds.setdefault(call, FakeSound())

    def require_media(self, verb: str) -> None:
        view = self.view()
        if view.state is CallState.ENDED:
            raise errors.Gone("the call has ended")
        if view.state is not CallState.ACTIVE:
            raise errors.WrongState(f"cannot {verb} it", state=view.state, allowed_in=("active",))

    def view(self) -> CallView:
        return self._phone.call(self.id)


class FakeBridges:
    """To be inherited."""

    def __init__(self, bus: EventBus) -> None:
        self.sounds: dict[str, FakeSound] = {}
        self._bridges = Bridges(bus, wall_clock)

    def call(self, call: str) -> CallView:
        raise AssertionError("the phone has them")

    async def create_bridge(self, calls: Sequence[str]) -> BridgeView:
        return self._bridges.create(self._members(calls))

    def bridges(self) -> tuple[BridgeView, ...]:
        return self._bridges.views()

    def bridge(self, bridge: str) -> BridgeView:
        return self._bridges.view(bridge)

    async def change_bridge(self, bridge: str, calls: Sequence[str]) -> BridgeView:
        return self._bridges.change(bridge, self._members(calls))

    async def end_bridge(self, bridge: str) -> BridgeView:
        return self._bridges.end(bridge)

    def left_bridge(self, call: str) -> None:
        """The call has ended."""
        self._bridges.on_ended(FakeMember(self, call))

    def _members(self, calls: Sequence[str]) -> list[FakeMember]:
        for call in calls:
            self.call(call)
        return [FakeMember(self, call) for call in calls]
