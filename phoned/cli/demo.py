"""`phoned demo`: the whole phone against the embedded PBX, measured."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    once: Annotated[bool, typer.Option("--once", help="End after the demonstration, also on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Register, call an echo, lose the WebSocket, recover, hang up: all on this machine."""
    from phoned.sandbox import demo

    raise typer.Exit(demo.run(once=once, as_json=as_json))
