"""What commands share: the option ``--config``, the plug-ins' models, and how a failure is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from phoned.config.load import LoadedConfig

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. Default: $XDG_CONFIG_HOME/phoned/phoned.toml, then /etc/phoned/phoned.toml.",
    ),
]

UnusedConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Checked, and otherwise without effect: this brings a configuration of its own.",
    ),
]


def check_unused(path: Path | None) -> None:
    """Refuse a file that was named although nothing of it will be used. Raises `ConfigError`."""
    if path is not None:
        load(path)


def fail(*lines: str, status: int = 1) -> int:
    """Say what is wrong on stderr; returns the exit status."""
    from phoned.redaction import Redactor, visible

    redact = Redactor()
    for index, line in enumerate(lines):
        print(("phoned: " if index == 0 else "  ") + visible(redact(line)), file=sys.stderr)
    return status


def load(path: Path | None) -> LoadedConfig:
    """The configuration, with the tables of the installed services validated in the same go. Raises `ConfigError`."""
    from phoned.config.load import load_config
    from phoned.service import installed_services

    models = {name: plugin.config_model for name, plugin in installed_services().items()}
    return load_config(path, models=models)
