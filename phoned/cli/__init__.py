"""`phoned`: the command line. One module a command; each imports what it needs when it runs, so that help is fast.

Data goes to stdout, notes and errors to stderr. Exit codes are those of the control surfaces page: 0 ok, 1 error,
2 usage, 78 bad configuration.
"""

from __future__ import annotations

import sys

import typer

from phoned.cli import audit, check_config, demo, doctor, init, run, sandbox, token
from phoned.cli.common import fail
from phoned.config.report import EXIT_STATUS, ConfigError
from phoned.errors import PhonedError

ABOUT = """A headless softphone that does not lose the call.

It is not a telephone service and must not be relied on for emergency calls."""


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="phoned", help=ABOUT, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=_HELP
    )
    app.callback()(_common)
    app.command("run")(run.command)
    app.command("check-config")(check_config.command)
    app.command("doctor")(doctor.command)
    app.command("init")(init.command)
    app.command("token")(token.command)
    app.command("audit")(audit.command)
    app.command("demo")(demo.command)
    app.command("sandbox")(sandbox.command)
    return app


_HELP = {"help_option_names": ["-h", "--help"]}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"phoned {version('phoned')}")
        raise typer.Exit


def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and end.", callback=_version, is_eager=True
    ),
) -> None:
    """Options before the command."""


def main() -> None:
    """The entry point. Ends the process."""
    try:
        build()()
    except ConfigError as error:
        sys.exit(fail("bad configuration", *map(str, error.problems), status=EXIT_STATUS))
    except PhonedError as error:
        sys.exit(fail(error.detail or error.code))
    except OSError as error:
        sys.exit(fail(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)
