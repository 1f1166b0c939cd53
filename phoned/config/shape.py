"""Reading models: what a field holds, which keys a table knows, and making the paths in raw data absolute.

Works on any pydantic model that uses the field types of `types`, so that tables of services get the same treatment
and the same error messages as the core's own.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo

from phoned.config.report import Location, Origin, Problem, dotted, nearest
from phoned.config.types import Holds, Root


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands behind a field's annotation."""

    root: Root | None = None
    is_secret: bool = False
    model: type[BaseModel] | None = None


def shape_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    """The markers and the model inside ``annotation``, through Optional, Annotated, list, tuple and dict."""
    root = next((mark for mark in metadata if isinstance(mark, Root)), None)
    secret = any(isinstance(mark, Holds) for mark in metadata)
    model: type[BaseModel] | None = None
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return _joined(Shape(root, secret), shape_of(inner, tuple(marks)))
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, dict):
        joined = Shape(root, secret)
        for argument in get_args(annotation):
            joined = _joined(joined, shape_of(argument))
        return joined
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        model = annotation
    return Shape(root, secret, model)


def _joined(one: Shape, other: Shape) -> Shape:
    return Shape(one.root or other.root, one.is_secret or other.is_secret, one.model or other.model)


def _field_shape(field: FieldInfo) -> Shape:
    return shape_of(field.annotation, tuple(field.metadata))


def model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model of the table that stands at ``location`` inside ``model``."""
    current: type[BaseModel] | None = model
    for part in location:
        while current is not None and issubclass(current, RootModel):
            current = _field_shape(current.model_fields["root"]).model
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _field_shape(field).model if field else None
    while current is not None and issubclass(current, RootModel):
        current = _field_shape(current.model_fields["root"]).model
    return current


# ---------------------------------------------------------------- paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The directories that relative paths hang on, but for those that hang on the file that names them."""

    state: Path
    runtime: Path


def absolute_paths(
    model: type[BaseModel], data: Any, at: Location, origin: Callable[[Location], Origin], places: Places
) -> Iterator[tuple[Location, Path]]:
    """Make every marked path in ``data`` absolute, in place, and fill in defaults that hang on a place. Yields the
    secret files that were met."""
    if issubclass(model, RootModel):
        inner = _field_shape(model.model_fields["root"]).model
        if inner is not None:
            yield from _inside(inner, data, at, origin, places)
        return
    if not isinstance(data, dict):
        return
    for name, field in model.model_fields.items():
        shape = _field_shape(field)
        here = (*at, name)
        if shape.model is not None:
            if name not in data and not field.is_required() and isinstance(field.default, shape.model):
                fresh: dict[str, Any] = {}
                yield from absolute_paths(shape.model, fresh, here, origin, places)
                if fresh:
                    data[name] = fresh
            elif name in data:
                yield from _inside(shape.model, data[name], here, origin, places)
        elif shape.root is not None:
            value = data.get(name, field.default if isinstance(field.default, Path) else None)
            if isinstance(value, (str, Path)) and str(value):
                path = _absolute(Path(value), shape.root, origin(here), places)
                data[name] = path
                if shape.is_secret:
                    yield here, path


def _inside(
    model: type[BaseModel], data: Any, at: Location, origin: Callable[[Location], Origin], places: Places
) -> Iterator[tuple[Location, Path]]:
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from absolute_paths(model, item, (*at, index), origin, places)
    else:
        yield from absolute_paths(model, data, at, origin, places)


def _absolute(path: Path, root: Root, origin: Origin, places: Places) -> Path:
    if path.parts[:1] == ("~",):
        path = path.expanduser()
    base = {"state": places.state, "runtime": places.runtime, "file": origin.base or Path.cwd()}[root.place]
    return base / path


# ---------------------------------------------------------------- errors


def findings_of(
    error: ValidationError, model: type[BaseModel], more_names: Mapping[Location, tuple[str, ...]] | None = None
) -> Iterator[tuple[Location, str]]:
    """pydantic's findings, with their places, in the words of a person who writes a configuration. ``more_names``: keys
    that a table takes beside those of its model."""
    for finding in error.errors(include_url=False, include_input=False):
        at: Location = finding["loc"]
        match finding["type"]:
            case "extra_forbidden":
                table = model_at(model, at[:-1])
                known = tuple(table.model_fields) if table else ()
                known += (more_names or {}).get(at[:-1], ())
                message = f"unknown key{nearest(str(at[-1]), known)}"
            case "missing":
                message = "missing"
            case "literal_error":
                message = f"must be {finding['ctx']['expected']}"
            case "value_error":
                message = str(finding["ctx"]["error"])
            case _:
                text = finding["msg"]
                message = (text[:1].lower() + text[1:]).replace("input should", "should")
        yield at, message


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    at: Location,
    origin: Callable[[Location], Origin],
    more_names: Mapping[Location, tuple[str, ...]] | None = None,
) -> Iterator[Problem]:
    """The findings as problems of the files that were read."""
    for inner, message in findings_of(error, model, more_names):
        location = (*at, *inner)
        yield Problem(origin=origin(location), key=dotted(location), message=message)
