from __future__ import annotations

import pytest

from api.bots import matches, pattern


@pytest.mark.parametrize(
    ("wanted", "url", "fits"),
    [
        ("wss://bots.example.org/*", "wss://bots.example.org/ws?x=1", True),
        ("wss://bots.example.org/*", "wss://BOTS.example.org:443/", True),
        ("wss://bots.example.org/*", "wss://bots.example.org:8443/", False),
        ("wss://bots.example.org:*/ws", "wss://bots.example.org:8443/ws", True),
        ("wss://bots.example.org/ws", "wss://bots.example.org/ws?x=1", False),
        ("wss://*.example.org/*", "wss://evil.com/x.example.org/ws", False),
        ("wss://*.example.org/*", "wss://evil.com?a.example.org/", False),
        ("wss://bots.example.org/a/*", "wss://bots.example.org/a/../b", False),
        ("wss://bots.example.org/a/*", "wss://bots.example.org/a/%2e%2e/b", False),
        ("wss://bots.example.org/*", "ws://bots.example.org/", False),
        ("wss://bots.example.org/*", "wss://bots.example.org@evil.com/", False),
        ("ws://[::1]:8080/*", "ws://[::1]:8080/ws", True),
        ("ws://[::1]/*", "ws://[::1]/ws", True),
    ],
)
def test_each_part_is_held_against_its_part(wanted: str, url: str, fits: bool) -> None:
    assert matches(pattern(wanted), url) is fits


@pytest.mark.parametrize("text", ["", "*", "https://bots/*", "wss:///x", "wss://u@bots/*", "wss://bücher/*"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="no pattern"):
        pattern(text)
