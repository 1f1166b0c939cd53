"""Reading what a bot says: a JSON object in bounded time, or the reason why it is passed over. Pure, never raises.

A message may be large when it holds audio, and then it is one long text with little around it. So what costs time is
bounded by itself: the signs of structure in a message are counted, a quick look that does not build anything, before
it is parsed.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from phoned.services.streams.protocol import MAX_MESSAGE

Reason = Literal[
    "too_large", "too_complex", "too_deep", "not_json", "not_understood", "wrong_stream", "bad_audio", "bad_mark"
]
"""Why a message was passed over: larger than `MAX_MESSAGE`; more structure, or deeper, than any message has; no JSON
object; nothing that the protocol has a word for; for another stream; audio, or a mark, that is none."""

MAX_DEPTH = 16
MAX_SIGNS = 1024
"""Quotation marks, commas and opening brackets of one message."""
MAX_DIGITS = 64
"""Of a number: longer ones take longer than their length."""
MAX_NAME = 4096
"""Bytes of a mark's name, in UTF-8."""

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def read_object(text: str) -> dict[str, Any] | Reason:
    """The object, or why there is none."""
    if len(text) > MAX_MESSAGE:
        return "too_large"
    brackets = text.count("[") + text.count("{")
    if text.count('"') + text.count(",") + brackets > MAX_SIGNS:
        return "too_complex"
    if brackets > MAX_DEPTH and _too_deep(text):
        return "too_deep"
    try:
        found = _DECODER.decode(text)
    except ValueError:
        return "not_json"
    return found if isinstance(found, dict) else "not_json"


def _too_deep(text: str) -> bool:
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else _refuse(digits)


def _broken(digits: str) -> float:
    return float(digits) if len(digits) <= MAX_DIGITS else _refuse(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole, parse_float=_broken)


def readable(name: str) -> bool:
    """Whether a mark may be called so: some text that is not too long and that UTF-8 has a form for."""
    try:
        return 0 < len(name.encode()) <= MAX_NAME
    except UnicodeEncodeError:
        return False
