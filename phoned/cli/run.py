"""`phoned run`: the daemon in the foreground."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from phoned.cli.common import ConfigOption, fail, load


class LogLevel(StrEnum):
    """How much is logged. ``debug`` shows SIP messages, without their secrets."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def command(
    config: ConfigOption = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="How much to log.")] = LogLevel.INFO,
) -> None:
    """Run the phone until SIGTERM."""
    import gc
    import logging

    gc.disable()  # until the daemon runs: what is loaded stays, and to look through it takes a twentieth of the start

    from phoned import logs
    from phoned.redaction import Redactor
    from phoned.store.lock import EXIT_STATUS, AlreadyRunning

    loaded = load(config)
    secrets = (loaded.password(account.id) for account in loaded.config.accounts)
    redactor = Redactor(secret.text() for secret in secrets if secret is not None)
    running = logs.start(logging.getLevelNamesMapping()[log_level.upper()], redactor=redactor)
    try:
        from phoned import daemon

        status = daemon.run(loaded, hide=redactor.hide)
    except AlreadyRunning as error:
        status = fail(error.detail, status=EXIT_STATUS)
    finally:
        running.close()
    raise typer.Exit(status)
