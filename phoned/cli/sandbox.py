"""`phoned sandbox`: the embedded PBX alone."""

from __future__ import annotations

from typing import Annotated

import typer

from phoned.cli.common import UnusedConfigOption, check_unused


def command(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0: any free one.")] = "127.0.0.1:0",
    as_json: Annotated[bool, typer.Option("--json", help="Say what happens as JSON lines.")] = False,
    config: UnusedConfigOption = None,
) -> None:
    """A SIP-over-WebSocket PBX with echo and tone lines, for trying things. Fault switches are JSON lines on stdin."""
    from phoned.sandbox import command as exchange

    check_unused(config)
    raise typer.Exit(exchange.run(listen=listen, as_json=as_json))
