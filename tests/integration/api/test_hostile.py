"""Seeded nonsense at every described operation: always a clean answer, never a 5xx that nobody meant."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from api import answers
from tests.integration.api.conftest import Running

MEANT = {501, 502, 503, 504}
SCRAPS: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    "",
    "200",
    "\x00",
    "a\r\nb",
    "é😀",
    "x" * 3000,
    "../../etc/passwd",
    "call_" + "0" * 32,
    [],
    {},
    [[]],
    {"": None},
    {"a": {"b": [1]}},
]
NAMES = [
    "account",
    "to",
    "wait",
    "timeout_s",
    "digits",
    "file",
    "tone",
    "code",
    "reason",
    "tags",
    "on_answer",
    "format",
    "url",
    "events",
    "enabled",
]
PATHS = ["x", "%00", "%2e%2e", "a%2Fb", "é", "call_" + "f" * 32, "-", "x" * 500, "front", "%F0%9F", "'\"<>"]


def body(rng: random.Random) -> bytes:
    match rng.randrange(8):
        case 0:
            return rng.randbytes(rng.randrange(200))
        case 1:
            return json.dumps(rng.choice(SCRAPS)).encode()
        case 2:
            text = bytearray(json.dumps({"account": "front", "to": "200", "wait": "none"}).encode())
            for _ in range(rng.randrange(1, 5)):
                text[rng.randrange(len(text))] = rng.randrange(256)
            return bytes(text)
        case _:
            names = rng.sample(NAMES, rng.randrange(1, 5))
            return json.dumps({name: rng.choice(SCRAPS) for name in names}).encode()


@pytest.mark.parametrize("seed", range(4))
async def test_nonsense_is_answered_cleanly(running: Running, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    client = running.unix()
    document = (await client.get("/openapi.json")).json()
    operations = [(path, method) for path, methods in document["paths"].items() for method in methods]
    calls = [(await running.phone.remote_calls()).id for _ in range(3)]
    for _ in range(150):
        path, method = rng.choice(operations)
        for name in ("account", "call", "recording", "playback", "slug", "webhook", "delivery"):
            path = path.replace(f"{{{name}}}", rng.choice([*PATHS, *calls]))
        query = {name: str(rng.choice(SCRAPS))[:50] for name in rng.sample(["after", "limit", "state", "cursor"], 2)}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        response = await client.request(
            method.upper(), path, params=query, content=body(rng) if method != "get" else None, headers=headers
        )
        where = (method, path, response.status_code, response.text[:300])
        assert response.status_code < 500 or response.status_code in MEANT, where
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json", where
            answers.ProblemDocument.model_validate(response.json())
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert (await client.get("/healthz")).status_code == 200
