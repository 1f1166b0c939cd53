"""The sound devices of a phone without any: the part of `PhoneControl` that is about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from phoned import errors
from phoned.events import EventBus
from phoned.model import DevicesChange, DevicesView, DeviceTestView, RoleChange, RoleView
from tests.support.sound import MICROPHONE, SPEAKER

DEVICES = DevicesView(
    devices=(MICROPHONE, SPEAKER),
    input=RoleView(device="default", using="mic", state="open", gain_db=0.0, level_dbov=-21.5, latency_ms=31.0),
    output=RoleView(device="speaker", using="speaker", state="open", volume_pct=100, latency_ms=40.2),
    ring=RoleView(device="none", volume_pct=100),
)


class FakeDevices:
    """A microphone and a speaker that obey."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.sound = DEVICES
        self.tested = DeviceTestView(
            output="speaker",
            input="mic",
            played_hz=1000.0,
            heard=True,
            heard_hz=1000.1,
            level_dbov=-20.0,
            quiet_dbov=-90.0,
        )
        self.test_fails: errors.PhonedError | None = None

    def devices(self) -> DevicesView:
        return self.sound

    async def change_devices(self, change: DevicesChange) -> DevicesView:
        for name in ("input", "output", "ring"):
            order: RoleChange = getattr(change, name)
            view: RoleView = getattr(self.sound, name)
            if order.device not in (None, "", "none", "default", "mic", "speaker"):
                raise errors.UnknownDevice(f"there is no device {order.device!r}", pointer=f"/{name}/device")
            changed = replace(
                view,
                device=view.device if order.device is None else order.device or "default",
                muted=view.muted if order.muted is None else order.muted,
                gain_db=view.gain_db if order.gain_db is None else order.gain_db,
                volume_pct=view.volume_pct if order.volume_pct is None else order.volume_pct,
            )
            if changed != view:
                roles: dict[str, Any] = {name: changed}
                self.sound = replace(self.sound, **roles)
                self.bus.publish("device.changed", device=None, role=name, use=changed)
        if change.call is not None:
            self.sound = replace(self.sound, chosen=change.call or None, call=change.call or None)
        return self.sound

    async def test_devices(self) -> DeviceTestView:
        if self.test_fails is not None:
            raise self.test_fails
        return self.tested
