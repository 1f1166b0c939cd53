"""Which device of those that are there. Pure: names in, a name out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from phoned.model import DeviceKind, DeviceView

NONE = "none"
DEFAULT = "default"


def fitting(devices: Iterable[DeviceView], kind: DeviceKind) -> tuple[DeviceView, ...]:
    """Those that can do it."""
    return tuple(device for device in devices if kind in device.kinds)


def find(name: str, devices: Iterable[DeviceView], kind: DeviceKind) -> str | None:
    """The name of the device that is meant: by its name, or by its description when that is of one alone. ``default``
    is there as soon as there is any."""
    able = fitting(devices, kind)
    if name == DEFAULT:
        return DEFAULT if able else None
    if any(device.name == name for device in able):
        return name
    described = [device.name for device in able if device.description.casefold() == name.casefold()]
    return described[0] if len(described) == 1 else None


def candidates(wanted: str, fallback: Sequence[str]) -> tuple[str, ...]:
    """In order of preference; nothing for ``none``."""
    if wanted == NONE:
        return ()
    return tuple(dict.fromkeys((wanted, *(name for name in fallback if name != NONE))))


def pick(
    names: Sequence[str], devices: Sequence[DeviceView], kind: DeviceKind, *, but: frozenset[str] = frozenset()
) -> str | None:
    """The first that is there and not in ``but`` (those that could not be opened just now)."""
    found = (find(name, devices, kind) for name in names)
    return next((name for name in found if name is not None and name not in but), None)


def nearest(name: str, devices: Iterable[DeviceView], kind: DeviceKind) -> tuple[str, ...]:
    """Names that may have been meant, the likeliest first; all of them when none is near."""
    able = fitting(devices, kind)
    by_text = {text.casefold(): device.name for device in able for text in (device.description, device.name)}
    near = get_close_matches(name.casefold(), list(by_text), n=3, cutoff=0.4)
    contained = [device for text, device in by_text.items() if name.casefold() in text]
    found = dict.fromkeys([*contained, *(by_text[text] for text in near)])
    return tuple(found) or tuple(device.name for device in able)
