"""The table of a bot. One with keys of its own inherits from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from phoned.config.types import Count, Seconds, Table


class BotConfig(Table):
    """``[name of the bot]``: without this table the bot does not run."""

    account: str = "*"
    """Glob: calls to which accounts it takes."""
    match: str = "*"
    """Glob on the caller's URI."""
    at_once: Annotated[Count, Field(ge=1)] = 50
    """Calls; others go on ringing."""
    on_close: Literal["hangup", "keep"] = "hangup"
    """What becomes of a call that is up when the bot is done with it, or has crashed."""
    finish_s: Seconds = 10
    """How long it may go on after its call has ended."""
