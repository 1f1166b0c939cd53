"""Bridges: which calls talk to each other, and what becomes of that when one of them goes.

A bridge is of two calls at least: when one is left, it ends and that call goes on alone. It must not know how sound
gets from one call to another (`phoned.media.bridge`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from phoned.clock import WallClock, in_ms
from phoned.errors import Gone, InvalidValue, NotFound, WrongState
from phoned.events import EventBus
from phoned.ids import made_at, new_id
from phoned.media.bridge import MAX_SEATS, Bridge, Seat
from phoned.media.graph import AudioGraph
from phoned.model import BridgeView, CallView

log = logging.getLogger(__name__)

KEPT = 100
"""Bridges that have ended and can still be read."""


class Sound(Protocol):
    """What a call says and hears."""

    bridge: str | None

    @property
    def graph(self) -> AudioGraph: ...

    def in_bridge(self, bridge: str | None) -> None: ...


class Member(Protocol):
    """A call, as far as bridges must know it."""

    id: str

    @property
    def audio(self) -> Sound: ...

    def require_media(self, verb: str) -> None: ...

    def view(self) -> CallView: ...


@dataclass(slots=True, eq=False, kw_only=True)
class _Bridge:
    """One that is up."""

    view: BridgeView
    sound: Bridge = field(default_factory=Bridge)
    seats: dict[str, tuple[Member, Seat]] = field(default_factory=dict)
    """By call."""


class Bridges:
    """See the module's docstring. Driven by `phoned.phone` and by what happens to the calls."""

    def __init__(self, bus: EventBus, clock: WallClock) -> None:
        self._bus = bus
        self._clock = clock
        self._up: dict[str, _Bridge] = {}
        self._ended: dict[str, BridgeView] = {}

    # --- views

    def view(self, bridge: str) -> BridgeView:
        """Raises `NotFound`."""
        up = self._up.get(bridge)
        view = self._ended.get(bridge) if up is None else up.view
        if view is None:
            raise NotFound(f"no bridge {bridge[:80]}")
        return view

    def views(self) -> tuple[BridgeView, ...]:
        """Those that are up, the newest first, then those that ended, the last first."""
        return tuple(reversed([*self._ended.values(), *(bridge.view for bridge in self._up.values())]))

    # --- verbs

    def create(self, calls: Sequence[Member]) -> BridgeView:
        """Join calls. Raises `InvalidValue`, and `WrongState` for one without audio or in another bridge."""
        self._check(calls, None)
        view = BridgeView(id=new_id("br"), calls=(), created_at=in_ms(self._clock()))
        bridge = self._up[view.id] = _Bridge(view=view)
        self._seat(bridge, calls)
        return self._publish("bridge.created", bridge)

    def change(self, bridge: str, calls: Sequence[Member]) -> BridgeView:
        """Exactly these are in it from now on. Raises what `create` does, `NotFound`, and `Gone` after its end."""
        view = self.view(bridge)
        up = self._up.get(view.id)
        if up is None:
            raise Gone(f"bridge {view.id} has ended; make a new one")
        self._check(calls, view.id)
        if {call.id for call in calls} == up.seats.keys():
            return view
        for call in up.seats.keys() - {call.id for call in calls}:
            self._unseat(up, call)
        self._seat(up, calls)
        return self._publish("bridge.changed", up)

    def end(self, bridge: str) -> BridgeView:
        """Each call goes on alone. Repeating it changes nothing. Raises `NotFound`."""
        up = self._up.get(bridge)
        return self.view(bridge) if up is None else self._finish(up)

    # --- what happens to its calls

    def look(self, call: Member) -> None:
        """Something about a call may be another thing now."""
        up = self._up.get(call.audio.bridge or "")
        if up is not None:
            self._look(up)

    def on_ended(self, call: Member) -> None:
        """It leaves the others to themselves."""
        up = self._up.get(call.audio.bridge or "")
        if up is None:
            return
        self._unseat(up, call.id)
        if len(up.seats) < 2:
            self._finish(up)
        else:
            self._publish("bridge.changed", up)

    def succeed(self, call: Member, of: Member) -> None:
        """``call`` has come in the place of ``of``, whose far end was moved: also in its bridge."""
        up = self._up.get(of.audio.bridge or "")
        if up is not None:
            self._unseat(up, of.id)
            self._seat(up, [call])
            self._publish("bridge.changed", up)

    def restore(self, found: Mapping[str, Sequence[Member]]) -> None:
        """After a restart. ``found``: by bridge of the process before, those of its calls that have come back."""
        for id_, calls in found.items():
            bridge = _Bridge(view=BridgeView(id=id_, calls=(), created_at=made_at(id_)))
            if len(calls) < 2:
                log.warning("%s: ended by the restart, %d of its calls came back", id_, len(calls))
                bridge.view = replace(bridge.view, calls=tuple(call.id for call in calls))
                self._finish(bridge)
                continue
            self._up[id_] = bridge
            self._seat(bridge, calls)
            self._publish("bridge.changed", bridge)

    # --- inside

    def _check(self, calls: Sequence[Member], bridge: str | None) -> None:
        if not 2 <= len(calls) <= MAX_SEATS:
            raise InvalidValue(f"a bridge is of 2 to {MAX_SEATS} calls", pointer="/calls")
        if len({call.id for call in calls}) != len(calls):
            raise InvalidValue("a call is named twice", pointer="/calls")
        for call in calls:
            call.require_media("bridge")
            if call.audio.bridge not in (None, bridge):
                raise WrongState(f"call {call.id} is in {call.audio.bridge}", state="bridged", allowed_in=("active",))

    def _seat(self, bridge: _Bridge, calls: Sequence[Member]) -> None:
        for call in calls:
            if call.id not in bridge.seats:
                bridge.seats[call.id] = call, bridge.sound.join(call.audio.graph)
                call.audio.in_bridge(bridge.view.id)

    def _unseat(self, bridge: _Bridge, call: str) -> None:
        member, seat = bridge.seats.pop(call)
        bridge.sound.leave(seat)
        member.audio.in_bridge(None)

    def _finish(self, bridge: _Bridge) -> BridgeView:
        self._up.pop(bridge.view.id, None)
        view = bridge.view = replace(bridge.view, state="ended")
        if bridge.seats:
            view = bridge.view = replace(view, calls=tuple(bridge.seats))
        for call in tuple(bridge.seats):
            self._unseat(bridge, call)
        self._ended[view.id] = view
        while len(self._ended) > KEPT:
            self._ended.pop(next(iter(self._ended)))
        self._bus.publish("bridge.ended", bridge=view)
        return view

    def _publish(self, type_: str, bridge: _Bridge) -> BridgeView:
        self._look(bridge)
        bridge.view = replace(bridge.view, calls=tuple(bridge.seats))
        self._bus.publish(type_, bridge=bridge.view)
        return bridge.view

    def _look(self, bridge: _Bridge) -> None:
        """A far end that holds us sends music as a rule: two others, who talk, do not want to hear it."""
        for call, seat in bridge.seats.values():
            seat.aside = len(bridge.seats) > 2 and call.view().hold.remote
