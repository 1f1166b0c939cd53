"""What the phone asks of a machine's sound: protocols. `phoned.audio.portaudio` is the real one; tests bring a fake.

Nothing here blocks. Everything comes back on the loop, to the listener that was handed in, and never from within a
verb. Samples are mono int16, native endian, at the rate that the device was opened with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from phoned.model import DeviceKind, DeviceView


class SoundListener(Protocol):
    """Who is told of an open device. `ready` comes first, `ended` last; after `SoundStream.close` nothing comes."""

    def ready(self, rate: int, latency_s: float) -> None:
        """It is open, at that rate. ``latency_s``: what the card itself buffers."""
        ...

    def heard(self, block: bytes) -> None:
        """A microphone's sound, in blocks of any length."""
        ...

    def played(self, samples: int, missing: int) -> None:
        """A speaker took so many samples of what was written, and ``missing`` more that were not there."""
        ...

    def ended(self, reason: str) -> None:
        """It cannot be opened, or has gone. ``reason`` is for a person."""
        ...


class SoundStream(Protocol):
    """A device that is open, or about to be."""

    def write(self, samples: bytes) -> None:
        """For a speaker. What a speaker that stands still cannot take is dropped."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class SoundSystem(Protocol):
    """The machine's devices."""

    def watch(self, on_devices: Callable[[tuple[DeviceView, ...]], None], on_failure: Callable[[str], None]) -> None:
        """Tell of the devices that there are, soon and whenever they change. ``on_failure``: there is no sound at all,
        for a reason that a person can do something about; it is tried again."""
        ...

    def open(self, kind: DeviceKind, device: str, listener: SoundListener) -> SoundStream:
        """Open a device by its name, or ``default``."""
        ...

    async def close(self) -> None:
        """Close everything, with all streams."""
        ...
