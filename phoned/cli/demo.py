"""`phoned demo`: the whole phone against the embedded PBX, measured."""

from __future__ import annotations

from typing import Annotated

import typer

from phoned.cli.common import UnusedConfigOption, check_unused


def command(
    once: Annotated[bool, typer.Option("--once", help="End after the demonstration, also on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    config: UnusedConfigOption = None,
) -> None:
    """Register, call an echo, lose the WebSocket, recover, hang up: all on this machine."""
    from phoned.sandbox import demo

    check_unused(config)
    raise typer.Exit(demo.run(once=once, as_json=as_json))
