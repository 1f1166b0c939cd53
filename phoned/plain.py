"""Views and events as plain JSON values: one rendering for the HTTP API, the event log and every other service.

Owns the mapping from the frozen values of `phoned.model` to what stands on the wire (names of the control API, RFC 3339
times in milliseconds). Knows no HTTP and no database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from phoned.clock import rfc3339
from phoned.model import PhoneStatus, PlaybackView


def plain(value: object) -> Any:
    """``value`` made of dict, list, str, int, float, bool and None alone; anything unknown becomes its text."""
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value)
        case str() | int():
            return value
        case float():
            # NaN and infinity have no JSON form
            return value if abs(value) != float("inf") and value == value else None
        case datetime():
            return rfc3339(value)
        case PhoneStatus():
            return _status(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case PurePath():
            return str(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            rendered = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
            if isinstance(value, PlaybackView):
                rendered = {name: item for name, item in rendered.items() if item is not None}
            return rendered
        case _:
            return str(value)


def _status(status: PhoneStatus) -> dict[str, Any]:
    rendered = {field.name: plain(getattr(status, field.name)) for field in fields(status)}
    rendered["calls"] = {"active": rendered.pop("calls_active"), "capacity": rendered.pop("calls_capacity")}
    return rendered


def dumps(value: object) -> str:
    """Compact JSON of a plain value. Lone surrogates are escaped, so the text can always be encoded."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
