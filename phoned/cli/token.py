"""`phoned token`: a token for the control API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from phoned.cli.common import ConfigOption


class TokenScope(StrEnum):
    """What the bearer may do."""

    READ = "read"
    CALL = "call"
    MEDIA = "media"
    ADMIN = "admin"


def command(
    scope: Annotated[TokenScope, typer.Option(help="read: look; call: and place calls; admin: all.")] = TokenScope.CALL,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it, this once. Works while the daemon runs."""
    import os

    from phoned.clock import wall_clock
    from phoned.config.load import load_config
    from phoned.store import audit
    from phoned.store.tokens import FILE, TokenStore, issue_token

    state_dir = load_config(config).state_dir
    token = issue_token(state_dir, scope.value)
    print(token)
    made = TokenStore(state_dir).find(token)
    entry = audit.entry_of(
        wall_clock,
        who=f"uid:{os.getuid()}",
        what=f"phoned token --scope {scope.value}",
        outcome="ok",
        target=made.id if made is not None else None,
    )
    audit.append(state_dir / audit.FILE, [entry])
    owner = state_dir.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(state_dir / FILE, owner.st_uid, owner.st_gid)  # the daemon must be able to read what root wrote
