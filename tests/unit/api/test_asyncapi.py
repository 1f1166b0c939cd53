"""The description of the events against the source, and as a document."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import phoned
from api.asyncapi import EVENTS, SNAPSHOTS, SUBJECTS, document, model_of
from phoned.event_types import EVENT_TYPES

SPEAKERS = ("publish", "tell", "_publish", "_note")
"""Functions of phoned that are given an event's type."""


def told() -> dict[str, set[str]]:
    """Every type that the source can tell, with the fields that it names."""
    found: dict[str, set[str]] = {}
    for file in Path(phoned.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in SPEAKERS or not node.args:
                continue
            types = [
                part.value
                for argument in node.args
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and "." in part.value
            ]
            for type_ in types:
                found.setdefault(type_, set()).update(word.arg for word in node.keywords if word.arg)
    return found


def test_every_event_of_the_source_is_described_with_its_fields() -> None:
    for type_, fields in told().items():
        known = {*EVENTS[type_], *SUBJECTS}
        assert fields <= known, f"{type_} has {sorted(fields - known)} that are not described"


def test_what_may_be_asked_for_is_what_is_described() -> None:
    assert set(EVENT_TYPES) == set(EVENTS)


def test_nothing_is_described_that_nobody_tells() -> None:
    playbacks = {"playback.finished", "playback.failed"}  # told by a name that is worked out
    assert set(EVENTS) - playbacks == set(told()) - playbacks


def test_the_document_is_whole() -> None:
    made = document("1.2.3")
    assert (made["asyncapi"], made["info"]["version"]) == ("3.0.0", "1.2.3")
    assert {channel["address"] for channel in made["channels"].values()} == {"/v1/events", "/v1/events/ws"}
    assert set(made["components"]["messages"]) == {*EVENTS, *SNAPSHOTS}
    for reference in references(made):
        assert resolved(made, reference), reference


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for part in value.values() for found in references(part)]
    return [found for part in value for found in references(part)] if isinstance(value, list) else []


def resolved(document_: dict[str, Any], reference: str) -> Any:
    at: Any = document_
    for part in reference.removeprefix("#/").split("/"):
        at = at.get(part)
    return at


def test_an_envelope_that_is_not_as_described_is_seen() -> None:
    good = {
        "id": "evt_" + "0" * 32,
        "seq": 1,
        "type": "system.draining",
        "time": "2026-11-21T06:00:00.000Z",
        "node": "n",
        "data": {"draining": True},
    }
    model_of("system.draining").model_validate(good)
    spoils: tuple[dict[str, Any], ...] = (
        {"seq": 0},
        {"data": {}},
        {"data": {"draining": True, "more": 1}},
        {"type": "system.started"},
    )
    for wrong in spoils:
        with pytest.raises(ValidationError):
            model_of("system.draining").model_validate({**good, **wrong})
    with pytest.raises(KeyError):
        model_of("system.nonsense")
