"""`phonectl`: the phone from a shell, over the public HTTP API alone. Imports no server and nothing of `phoned`."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from api.ctl.whole import app  # not before it runs: importing this package must stay cheap

    app()
