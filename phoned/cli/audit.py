"""`phoned audit`: who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from phoned.cli.common import ConfigOption, fail


def command(
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0: all that are kept.")] = 100,
    config: ConfigOption = None,
) -> None:
    """Print the audit log, a line of JSON for each order. Exit code 1 when a line was changed or taken out."""
    from phoned.config.load import load_config
    from phoned.store.audit import check

    lines = list(check(load_config(config).state_dir))
    for line in lines[-limit:] if limit else lines:
        print(line.text)
    broken = [line for line in lines if not line.whole]
    for line in broken:
        fail(f"{line.file}:{line.number}: this line, or the one before it, is not as it was written")
    raise typer.Exit(1 if broken else 0)
