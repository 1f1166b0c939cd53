"""What a receiver's answer to ``call.incoming`` says about the call. PURE.

``{"action":"answer"}`` takes it, with ``"stream":{...}`` for a bot; ``{"action":"reject","code":486}`` refuses it. Any
other body decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from phoned.config.stream import StreamOrder
from phoned.model import StreamRequest

MAX_BODY = 4096
"""Bytes of an answer that are read at all."""
BUSY_HERE = 486


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done with the call."""

    action: Literal["answer", "reject"]
    code: int = BUSY_HERE
    stream: StreamRequest | None = None
    """The bot that is given the call once it is answered."""


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
            try:
                return Decision(action="answer", stream=StreamOrder.model_validate(found["stream"]).value())
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, ("stream", *first["loc"])))
                return Unusable(why=f"{where}: {first['msg']}")
        case "answer":
            return Decision(action="answer")
        case "reject":
            code = found.get("code", BUSY_HERE)
            if isinstance(code, bool) or not isinstance(code, int) or not 400 <= code <= 699:
                return Unusable(why="the code of a rejection is 400 to 699")
            return Decision(action="reject", code=code)
        case _:
            return Unusable(why="the action is neither 'answer' nor 'reject'")
