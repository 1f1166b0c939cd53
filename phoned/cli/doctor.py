"""`phoned doctor`: what is broken, and how to mend it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phoned.cli.common import ConfigOption, load

if TYPE_CHECKING:
    from phoned.model import CheckView, DoctorView

BROKEN = 1


def command(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Look at everything that a call needs and name what is broken, with its fix. Disturbs no phone that runs.

    Configuration, secrets, disk, Opus, the audio path, STUN and TURN, then for each account DNS, TCP, TLS, WebSocket
    and REGISTER, and the clock. Exit code 0: all is well, 1: something is broken, 78: the configuration is."""
    raise typer.Exit(run(config, as_json=as_json))


def run(config: Path | None, *, as_json: bool, notes: bool = False) -> int:
    """Examine and tell; the exit status. ``notes``: the table goes to stderr, as a note beside other output."""
    import asyncio
    import logging

    from phoned import logs
    from phoned.doctor.examination import examine
    from phoned.redaction import Redactor

    running = logs.start(logging.ERROR, redactor=Redactor())
    try:
        teller = None if as_json else _Teller(notes=notes)
        view = asyncio.run(examine(lambda: load(config), hear=teller))
    finally:
        running.close()
    if teller is None:
        from phoned.plain import dumps, plain

        print(dumps(plain(view)))
    else:
        teller.sum_up(view)
    return status_of(view)


def status_of(view: DoctorView) -> int:
    """The exit status that a finding deserves."""
    from phoned.config.report import EXIT_STATUS

    failed = {check.name for check in view.checks if check.ok is False}
    if failed & {"configuration", "secrets"}:
        return EXIT_STATUS
    return BROKEN if failed else 0


class _Teller:
    """Writes a line for each check as it is made; on a terminal says what is waited for meanwhile."""

    def __init__(self, *, notes: bool) -> None:
        self._out = sys.stderr if notes else sys.stdout
        self._live = sys.stderr.isatty()
        self._colours = self._out.isatty() and not os.environ.get("NO_COLOR")

    def begins(self, what: str) -> None:
        """A part is waited for."""
        if self._live:
            self._progress(f"  ...   {what}")

    def found(self, check: CheckView) -> None:
        """A line of the table."""
        if self._live:
            self._progress("")
        mark = {True: "ok", False: "FAIL", None: "-"}[check.ok]
        self._say(f"{self._coloured(mark)}  {check.name:<13}  {about(check):<12}  {_shown(check.detail)}")

    def sum_up(self, view: DoctorView) -> None:
        """The one broken thing and its fix; or that nothing is."""
        failed = [check for check in view.checks if check.ok is False]
        self._say("")
        if not failed:
            self._say("nothing is broken")
            return
        self._say("1 thing is broken:" if len(failed) == 1 else f"{len(failed)} things are broken:")
        for check in failed:
            self._say(f"  {' '.join(filter(None, (check.name, about(check))))}: {_shown(check.detail)}")
            self._say(f"    fix: {_shown(check.fix or '')}")

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _progress(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def _coloured(self, mark: str) -> str:
        colour = {"ok": "32", "FAIL": "1;31"}.get(mark, "2")
        return f"\x1b[{colour}m{mark:<4}\x1b[0m" if self._colours else f"{mark:<4}"


def _shown(text: str) -> str:
    from phoned.redaction import visible

    return visible(text)


def about(check: CheckView) -> str:
    """Whose check it is: ``front``, ``front backup``; nothing for the machine's own."""
    return f"{check.account or ''}{' backup' if check.proxy == 'backup' else ''}"
