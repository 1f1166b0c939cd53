"""Line numbers of TOML keys, against awkward texts and against `tomllib`."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.config.lines import key_lines
from phoned.config.merge import _toml_value
from phoned.config.report import dotted, nearest

TEXT = """\
top = 1 # [not.a.table]
"quoted key" = 2
dotted . "in side".x = [ # comment ] "
  "a]", '''
x = 5
''', {y = 1},
]
[a.b]
text = \"\"\"
[fake]
key = "\\\\\\""
\"\"\"
lit = '\\'
[[list]]
one = 1
[list.sub]
two = 2
[[list.deep]]
[[list]]
[list.sub]
three = \"\"\"x\"\"\"\"\"
"""


def test_every_key_has_its_line() -> None:
    tomllib.loads(TEXT)
    assert key_lines(TEXT) == {
        ("top",): 1,
        ("quoted key",): 2,
        ("dotted",): 3,
        ("dotted", "in side"): 3,
        ("dotted", "in side", "x"): 3,
        ("a", "b"): 8,
        ("a", "b", "text"): 9,
        ("a", "b", "lit"): 13,
        ("list", 0): 14,
        ("list", 0, "one"): 15,
        ("list", 0, "sub"): 16,
        ("list", 0, "sub", "two"): 17,
        ("list", 0, "deep", 0): 18,
        ("list", 1): 19,
        ("list", 1, "sub"): 20,
        ("list", 1, "sub", "three"): 21,
    }


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\n\r\nb = '''\r\n'''\r\nc = 1") == {("a",): 1, ("b",): 3, ("c",): 5}


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers(0, 9), max_size=6))
def test_whatever_toml_takes_is_walked_to_its_end(table: dict[str, Any]) -> None:
    import json

    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]
    text = "\n".join(lines)
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # JSON escapes lone surrogates and DEL in ways that TOML does not take
    assert set(key_lines(text)) == {(key,) for key in parsed}


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("true", True), ("[1]", [1]), ("plain", "plain"), ("1\nx = 2", "1\nx = 2"), ("", "")]
)
def test_environment_values(text: str, value: object) -> None:
    assert _toml_value(text) == value


def test_places_are_written_as_people_do() -> None:
    assert dotted(("accounts", 0, "tls", "ca_file")) == "accounts[0].tls.ca_file"
    assert dotted(()) == ""
    assert nearest("zzz", ["abc"]) == ""
