"""`phoned token`: a token for the control API, or a link that logs a browser in."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phoned.cli.common import ConfigOption, fail, load


class TokenScope(StrEnum):
    """What the bearer may do."""

    READ = "read"
    CALL = "call"
    MEDIA = "media"
    ADMIN = "admin"


def command(
    scope: Annotated[TokenScope, typer.Option(help="read: look; call: and place calls; admin: all.")] = TokenScope.CALL,
    console: Annotated[
        bool, typer.Option("--console", help="Print a link that opens the console in a browser, once.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it, this once. Works while the daemon runs."""
    from phoned.store.tokens import TokenStore, issue_token

    if console:
        raise typer.Exit(_console(scope, config))
    from phoned.config.load import load_config

    state_dir = load_config(config).state_dir
    token = issue_token(state_dir, scope.value)
    print(token, flush=True)
    _note_stranger(state_dir)
    made = TokenStore(state_dir).find(token)
    _record(state_dir, f"phoned token --scope {scope.value}", made.id if made is not None else None)


def _console(scope: TokenScope, config: ConfigOption) -> int:
    from phoned.store.logins import CODE_LIFE, console_link, issue_login

    loaded = load(config)
    # the table belongs to a plug-in, whose model is not known here
    table = loaded.services["api"].model_dump() if "api" in loaded.services else {}
    port = table.get("port", 0)
    if not port:
        return fail("the console needs a TCP port, and [api] port = 0 turns it off. Fix: port = 8760 there")
    print(console_link(table["host"], port, issue_login(loaded.state_dir, scope.value)))
    minutes = round(CODE_LIFE.total_seconds() / 60)
    print(f"phoned: good once, within {minutes} minutes, in a browser on this machine", file=sys.stderr)
    _note_stranger(loaded.state_dir)
    _record(loaded.state_dir, f"phoned token --console --scope {scope.value}", None)
    return 0


def _note_stranger(state_dir: Path) -> None:
    """On stderr: the phone that runs, if any, does not know what was just made."""
    from phoned.store.lock import owner_alive

    if not owner_alive(state_dir):
        remedy = "if yours has another, name its file with --config, or that directory as [phone] state_dir"
        print(f"phoned: no phone runs with the state directory {state_dir}; {remedy}", file=sys.stderr)


def _record(state_dir: Path, what: str, target: str | None) -> None:
    import os

    from phoned.clock import wall_clock
    from phoned.store import audit

    entry = audit.entry_of(wall_clock, who=f"uid:{os.getuid()}", what=what, outcome="ok", target=target)
    audit.append(state_dir / audit.FILE, [entry])
