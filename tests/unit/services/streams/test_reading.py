from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.services.streams.protocol import MAX_MESSAGE
from phoned.services.streams.reading import MAX_DEPTH, MAX_NAME, read_object, readable


def nested(depth: int) -> str:
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def test_an_object_is_read() -> None:
    assert read_object('{"a": [1, 2.5, null], "b": {"c": "d"}}') == {"a": [1, 2.5, None], "b": {"c": "d"}}


def test_depth_has_a_limit_and_brackets_in_texts_do_not_count() -> None:
    assert read_object(nested(MAX_DEPTH)) != "too_deep"
    assert read_object(nested(MAX_DEPTH + 1)) == "too_deep"
    assert read_object(json.dumps({"a": "[" * 100})) == {"a": "[" * 100}
    assert read_object('{"a":"' + "[" * 100) == "not_json"
    assert read_object("[]" * 100) == "not_json"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "too_complex"),
        ('{"a":' * 100_000, "too_complex"),
        ("[" + "[]," * 100_000, "too_complex"),
        ("[" + "1," * 100_000, "too_complex"),
        ('"' * 100_000, "too_complex"),
        ('{"a":' + "1" * 100_000 + "}", "not_json"),
        ('{"a":1.' + "1" * 100_000 + "}", "not_json"),
        ('{"a":-Infinity}', "not_json"),
        ("\ud800", "not_json"),
        (" " * (MAX_MESSAGE + 1), "too_large"),
    ],
    ids=lambda value: str(value)[:10].encode("ascii", "replace").decode(),
)
def test_what_would_cost_time_is_passed_over(text: str, why: str) -> None:
    assert read_object(text) == why


_values = st.integers(-(10**15), 10**15) | st.text() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=5), _values))
def test_what_is_written_as_json_is_read(value: dict[str, object]) -> None:
    assert read_object(json.dumps(value)) == value


def test_a_name_has_a_text_and_a_limit() -> None:
    assert readable("a")
    assert readable("ä" * (MAX_NAME // 2))
    assert not readable("ä" * (MAX_NAME // 2) + "a")
    assert not readable("")
    assert not readable("\ud800")
