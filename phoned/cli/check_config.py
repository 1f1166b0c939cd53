"""`phoned check-config`: what is in force, where each value came from, and everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoned.cli.common import ConfigOption, fail, load

if TYPE_CHECKING:
    from phoned.config.report import Location

_SECRET_WORDS = ("password", "secret", "token", "credential")


def command(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Check the configuration and print the values in force with their origin. Secrets are not shown."""
    import json

    from phoned.config.report import EXIT_STATUS, ConfigError, dotted

    try:
        loaded = load(config)
    except ConfigError as error:
        if not as_json:
            raise
        errors = [
            {"source": p.origin.source, "line": p.origin.line, "key": p.key, "message": p.message}
            for p in error.problems
        ]
        print(json.dumps({"ok": False, "errors": errors}))
        raise typer.Exit(EXIT_STATUS) from None

    values: dict[Location, Any] = dict(leaves(loaded.config.model_dump(mode="json"), ()))
    for name, table in loaded.services.items():
        values.update(leaves(table.model_dump(mode="json"), (name,)))
    for name, raw in loaded.tables.items():
        if name not in loaded.services:
            values.update(leaves(raw, (name,)))
    shown = [(dotted(at), hidden(at, value), str(loaded.origin(at))) for at, value in values.items()]
    if as_json:
        rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in shown]
        files = [str(file) for file in loaded.files]
        warnings = list(loaded.warnings)
        print(json.dumps({"ok": True, "files": files, "warnings": warnings, "values": rows}, default=str))
        return
    texts = [(f"{key} = {json.dumps(value, default=str)}", origin) for key, value, origin in shown]
    width = min(72, max((len(text) for text, _ in texts), default=0))
    for text, origin in texts:
        print(f"{text:{width}}  # {origin}")
    for warning in loaded.warnings:
        fail(f"note: {warning}")


def leaves(value: Any, at: Location) -> Iterator[tuple[Location, Any]]:
    """Every value that is no table, with its place. An array of plain values is one value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*at, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, (*at, index))
    else:
        yield at, value


def hidden(at: Location, value: Any) -> Any:
    """``***`` for what may be a secret: core tables hold none, tables of services might."""
    name = str(next(part for part in reversed(at) if isinstance(part, str)))
    is_secret = any(word in name for word in _SECRET_WORDS) and not name.endswith("_file") and name != "credential"
    return "***" if is_secret and value else value
