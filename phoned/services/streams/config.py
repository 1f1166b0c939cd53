"""How long the streams wait for what. There is nothing in a table ``[streams]``: bots are named where they are asked
for."""

from __future__ import annotations

from dataclasses import dataclass

from phoned.config.types import Table


class StreamsConfig(Table):
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Every wait of a link, in seconds."""

    dial_s: float = 10.0
    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Before each new dial; the last one stays."""
    budget_s: float = 30.0
    """For so long a bot may be away."""
    steady_s: float = 10.0
    """A connection that lasted so long was a good one: the next loss is a new one."""
    send_s: float = 5.0
    """A bot that does not read for so long is lost."""
    farewell_s: float = 1.5
