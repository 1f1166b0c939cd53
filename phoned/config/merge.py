"""Layers of configuration laid over each other, with the origin of every value.

A layer is one TOML file or the environment. Later layers win: tables merge key by key, arrays of tables merge by
``id`` (an item without one is appended), anything else is replaced as a whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from phoned.config.lines import key_lines
from phoned.config.report import DEFAULT, ConfigError, Location, Origin, Problem

PREFIX = "PHONED_"


class Layers:
    """The merged data and where each value came from."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self._origins: dict[Location, Origin] = {}

    def origin(self, location: Location) -> Origin:
        """Of the value, else of what it stands in."""
        for length in range(len(location), 0, -1):
            found = self._origins.get(location[:length])
            if found is not None:
                return found
        return DEFAULT

    def stated(self, location: Location) -> Origin | None:
        """The origin of a value that somebody wrote; None for a default."""
        return self._origins.get(location)

    def note(self, location: Location, origin: Origin) -> None:
        """Say where a value came from that no layer holds."""
        self._origins[location] = origin

    # ------------------------------------------------------------------ layers

    def add_file(self, path: Path) -> None:
        """Lay a TOML file on top. A file that cannot be read or parsed becomes a problem."""
        self.files.append(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            self.problems.append(Problem(origin=Origin(source=str(path)), key="", message=f"cannot be read: {reason}"))
            return
        try:
            parsed = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message, line = _toml_error(error, text)
            self.problems.append(Problem(origin=Origin(source=str(path), line=line), key="", message=message))
            return
        lines = key_lines(text)
        base = path.resolve().parent

        def origin(location: Location) -> Origin:
            for length in range(len(location), 0, -1):
                if location[:length] in lines:
                    return Origin(source=str(path), line=lines[location[:length]], base=base)
            return Origin(source=str(path), base=base)

        self._merge(self.data, parsed, (), (), origin)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Lay ``PHONED_TABLE__KEY=value`` on top. A value is read as TOML when it is TOML, else as text."""
        for name in sorted(environ):
            if not name.startswith(PREFIX) or "__" not in name:
                continue
            path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
            origin = Origin(source=f"environment {name}", base=Path.cwd())
            if "" in path or isinstance(self.data.get(path[0]), list):
                message = "names no single value: arrays of tables cannot be set from the environment"
                self.problems.append(Problem(origin=origin, key="", message=message))
                continue
            value: Any = _toml_value(environ[name])
            for part in reversed(path):
                value = {part: value}
            self._merge(self.data, value, (), (), lambda location, origin=origin: origin)  # type: ignore[misc]  # bound now

    # ------------------------------------------------------------------ merging

    def _merge(
        self,
        base: dict[str, Any],
        layer: Mapping[str, Any],
        at: Location,
        layer_at: Location,
        origin: Callable[[Location], Origin],
    ) -> None:
        for key, value in layer.items():
            here, there = (*at, key), (*layer_at, key)
            present = base.get(key)
            if isinstance(present, dict) and isinstance(value, dict):
                self._merge(present, value, here, there, origin)
            elif _is_tables(present) and _is_tables(value):
                self._merge_tables(present, value, here, there, origin)
            else:
                for location in [known for known in self._origins if known[: len(here)] == here]:
                    del self._origins[location]
                base[key] = self._place(value, here, there, origin)

    def _merge_tables(
        self,
        present: list[dict[str, Any]],
        tables: list[dict[str, Any]],
        at: Location,
        layer_at: Location,
        origin: Callable[[Location], Origin],
    ) -> None:
        older = {item["id"]: index for index, item in enumerate(present) if isinstance(item.get("id"), str)}
        for index, item in enumerate(tables):
            name = item.get("id")
            target = older.get(name) if isinstance(name, str) else None
            if target is not None:
                self._merge(present[target], item, (*at, target), (*layer_at, index), origin)
            else:
                present.append(self._place(item, (*at, len(present)), (*layer_at, index), origin))

    def _place(self, value: Any, at: Location, layer_at: Location, origin: Callable[[Location], Origin]) -> Any:
        """A copy of ``value`` at ``at``, with the origin of everything in it noted."""
        self._origins[at] = origin(layer_at)
        if isinstance(value, dict):
            return {key: self._place(item, (*at, key), (*layer_at, key), origin) for key, item in value.items()}
        if isinstance(value, list):
            return [self._place(item, (*at, i), (*layer_at, i), origin) for i, item in enumerate(value)]
        return value


def read_layers(main: Path, environ: Mapping[str, str]) -> Layers:
    """The main file, the drop-ins of ``conf.d`` beside it by name, and the environment. Raises `ConfigError` when a
    file is no TOML, with every such file."""
    layers = Layers()
    layers.add_file(main)
    for drop_in in sorted(main.parent.glob("conf.d/*.toml")):
        layers.add_file(drop_in)
    if layers.problems:
        raise ConfigError(layers.problems)
    layers.add_environment(environ)
    return layers


def _is_tables(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _toml_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"v = {text}\n")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["v"] if len(parsed) == 1 else text


def _toml_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int]:
    """The parser's words without its position, and the line."""
    message, _, position = str(error).rpartition(" (at ")
    if position.startswith("line "):
        return message, int(position.removeprefix("line ").partition(",")[0])
    return message or str(error), text.count("\n") + 1  # "(at end of document)"
