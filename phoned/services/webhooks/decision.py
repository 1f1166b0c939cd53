"""What a receiver's answer to ``call.incoming`` says about the call. PURE.

``{"action":"answer"}`` takes it, ``{"action":"reject","code":486}`` refuses it. Any other body decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

MAX_BODY = 4096
"""Bytes of an answer that are read at all."""
BUSY_HERE = 486


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done with the call."""

    action: Literal["answer", "reject"]
    code: int = BUSY_HERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """The answer wants something and cannot have it; ``why`` is for the log."""

    why: str


def read_decision(body: bytes) -> Decision | Unusable | None:
    """None for a body that asks for nothing: empty, text, JSON without an ``action``."""
    if not body.lstrip().startswith(b"{"):
        return None
    if len(body) > MAX_BODY:
        return Unusable(why=f"it is longer than {MAX_BODY} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return Unusable(why="it is no JSON")
    if not isinstance(found, dict) or "action" not in found:
        return None
    match found["action"]:
        case "answer" if found.get("stream") is not None:
            return Unusable(
                why="answering with a stream is not built yet; answer without it and add the bot by the API"
            )
        case "answer":
            return Decision(action="answer")
        case "reject":
            code = found.get("code", BUSY_HERE)
            if isinstance(code, bool) or not isinstance(code, int) or not 400 <= code <= 699:
                return Unusable(why="the code of a rejection is 400 to 699")
            return Decision(action="reject", code=code)
        case _:
            return Unusable(why="the action is neither 'answer' nor 'reject'")
