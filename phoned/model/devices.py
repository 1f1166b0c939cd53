"""Sound devices: what the machine has, what the phone uses them for, and how that is changed and tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceKind = Literal["input", "output"]
DeviceRole = Literal["input", "output", "ring"]
DeviceState = Literal["off", "idle", "opening", "open", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A sound device of the machine. ``name`` stays the same over re-plugging and reboots."""

    name: str
    description: str
    backend: Literal["alsa", "pulse"]
    kinds: tuple[DeviceKind, ...]
    default: bool = False
    """The one that ``default`` means, as far as the sound server tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleView:
    """What the phone does with devices of one role. ``state``: ``off`` is ``none``, ``idle`` waits for a call,
    ``missing`` is no device of those wanted, ``failed`` one that cannot be opened (``detail`` says why)."""

    device: str
    """What is wanted: ``none``, ``default`` or a name."""
    using: str | None = None
    """What is open."""
    state: DeviceState = "off"
    muted: bool = False
    gain_db: float | None = None
    """Of ``input``."""
    volume_pct: int | None = None
    """Of ``output`` and ``ring``."""
    level_dbov: float = -127.0
    latency_ms: float | None = None
    """What is buffered here and in the card, while open."""
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesView:
    """All of the machine's sound, as the phone sees it."""

    devices: tuple[DeviceView, ...]
    input: RoleView
    output: RoleView
    ring: RoleView
    call: str | None = None
    """The call that has the microphone and the speaker."""
    chosen: str | None = None
    """The call that somebody wants there; None: the phone decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChange:
    """What shall be different; None stays. ``device`` ``""``: what the configuration says."""

    device: str | None = None
    muted: bool | None = None
    gain_db: float | None = None
    volume_pct: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesChange:
    """An order for `PhoneControl.change_devices`. ``call``: ``""`` leaves it to the phone."""

    input: RoleChange = RoleChange()
    output: RoleChange = RoleChange()
    ring: RoleChange = RoleChange()
    call: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTestView:
    """A tone was played, and listened for. ``heard``: it came back; a headset that keeps its sound to itself is well
    with False."""

    output: str | None
    input: str | None
    played_hz: float
    heard: bool
    heard_hz: float | None
    level_dbov: float
    quiet_dbov: float
    """The level while nothing was played."""
