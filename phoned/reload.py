"""What another configuration means for a phone that runs: what can be taken now, and what waits for a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from phoned.config.schema import Config

_RESTART_TABLES = ("phone", "network", "audio")
"""Parts of the phone that are built once."""
_RESTART_KEYS: Mapping[str, tuple[str, ...]] = {"media": ("media_dir", "recordings_dir")}
"""Keys of other tables of which the same is true."""
_OF_THEIR_OWN = ("accounts",)
"""Compared one by one, by whoever keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``config``: what is in force afterwards. Keys are as in a file: ``dial.deny``, ``incoming``."""

    config: Config
    applied: tuple[str, ...]
    restart_needed: tuple[str, ...]


def difference(old: Config, new: Config, *, most_calls: int) -> Difference:
    """From ``old``, which is in force, to ``new``. ``most_calls``: above this ``dial.max_concurrent`` needs a restart,
    for the SIP core has made room for so many."""
    changed = {name: tuple(_changed(name, getattr(old, name), getattr(new, name))) for name in Config.model_fields}
    kept: dict[str, Any] = {name: getattr(old, name) for name in _RESTART_TABLES}
    restart = [key for name in _RESTART_TABLES for key in changed[name]]
    for name, fields in _RESTART_KEYS.items():
        kept[name] = _keeping(getattr(old, name), getattr(new, name), fields)
        restart += [key for key in changed[name] if key.partition(".")[2] in fields]
    if max(old.dial.max_concurrent, most_calls) < new.dial.max_concurrent:
        kept["dial"] = _keeping(old.dial, new.dial, ("max_concurrent",))
        restart.append("dial.max_concurrent")
    found = [key for name, keys in changed.items() if name not in _OF_THEIR_OWN for key in keys]
    return Difference(
        config=new.model_copy(update=kept),
        applied=tuple(key for key in found if key not in restart),
        restart_needed=tuple(restart),
    )


def _changed(name: str, old: Any, new: Any) -> Iterator[str]:
    """The keys of one table that are not alike; of an array of tables, the array."""
    if isinstance(old, tuple):
        if old != new:
            yield name
        return
    for field in type(old).model_fields:
        if getattr(old, field) != getattr(new, field):
            yield f"{name}.{field}"


def _keeping(old: Any, new: Any, fields: tuple[str, ...]) -> Any:
    """``new`` with these fields of ``old``."""
    return new.model_copy(update={field: getattr(old, field) for field in fields})
