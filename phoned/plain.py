"""Views and events as plain JSON values: one rendering for the HTTP API, the event log and every other service.

Owns the mapping from the frozen values of `phoned.model` to what stands on the wire (names of the control API, RFC 3339
times in milliseconds). Knows no HTTP and no database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any

from phoned.clock import rfc3339
from phoned.model import PhoneStatus, PlaybackView


def plain(value: object) -> Any:
    """``value`` made of dict, list, str, int, float, bool and None alone; anything unknown becomes its text."""
    return _renderer(type(value))(value)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are


@cache  # this runs for every event and every answer
def _renderer(kind: type) -> Callable[[Any], Any]:
    if issubclass(kind, Enum):
        return lambda value: plain(value.value)
    if issubclass(kind, (NoneType, bool, str, int)):
        return lambda value: value
    if issubclass(kind, float):
        # NaN and infinity have no JSON form
        return lambda value: value if abs(value) != float("inf") and value == value else None
    if issubclass(kind, datetime):
        return rfc3339
    if issubclass(kind, Mapping):
        return lambda value: {str(plain(key)): plain(item) for key, item in value.items()}
    if issubclass(kind, (list, tuple, set, frozenset)):
        return lambda value: [plain(item) for item in value]
    if is_dataclass(kind):
        return _dataclass_renderer(kind)
    return str


def _dataclass_renderer(kind: type) -> Callable[[Any], Any]:
    names = tuple(field.name for field in fields(kind))

    def render(value: Any) -> dict[str, Any]:
        return {name: plain(getattr(value, name)) for name in names}

    def without_none(value: Any) -> dict[str, Any]:
        return {name: item for name, item in render(value).items() if item is not None}

    def status(value: Any) -> dict[str, Any]:
        rendered = render(value)
        rendered["calls"] = {"active": rendered.pop("calls_active"), "capacity": rendered.pop("calls_capacity")}
        return rendered

    if issubclass(kind, PlaybackView):
        return without_none
    return status if issubclass(kind, PhoneStatus) else render


_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def dumps(value: object) -> str:
    """Compact JSON of a plain value. Lone surrogates are escaped, so the text can always be encoded."""
    return _ENCODER.encode(value)
