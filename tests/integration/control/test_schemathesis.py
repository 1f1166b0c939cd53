"""The served description against the daemon that serves it: schemathesis, all its checks, stateful too.

A short form runs with the other tests; the long one has 200 examples an operation. How the statuses of the document are
to be read: each operation lists all that it may answer. 501 to 504 are outcomes (of a body's part that is not built, of
the far end, of the moment) where they are listed; 500 never is, and is always a fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.child import free_ports
from tests.support.exchange import Exchange, Phone

HERE = Path(__file__).parent
SEED = 20261121


@pytest.fixture(scope="module")
def served(exchange: Exchange) -> Iterator[Phone]:
    """A daemon with a TCP port, whose calls cost nothing."""
    [port] = free_ports(1)
    with Phone(
        exchange,
        api={"port": port, "rate_per_s": 10_000},
        dial={"max_concurrent": 40, "max_per_minute": 10_000, "max_duration_s": 20},
    ) as phone:
        phone.start()
        phone.wait_ready()
        yield phone


@contextmanager
def news(phone: Phone) -> Iterator[None]:
    """Two events a second. Who is given the stream of events reads two of them, and nothing may happen by itself."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(1.0):
            phone.http.post("/v1/do-not-disturb").raise_for_status()
            phone.http.delete("/v1/do-not-disturb").raise_for_status()

    teller = threading.Thread(target=tell, name="news")
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def tried(phone: Phone, tmp_path: Path, *options: str, patience_s: float) -> tuple[int, str]:
    """schemathesis' exit status and its words."""
    base = f"http://127.0.0.1:{phone.api_port}"
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(phone.get("/openapi.json")))
    with news(phone):
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(HERE / "schemathesis.toml")),
                *(
                    "run",
                    str(document),
                    "--url",
                    base,
                    "--checks",
                    "all",
                    "--exclude-checks",
                    "ignored_auth",
                    "--no-color",
                    "--seed",
                    str(SEED),
                    *options,
                ),
            ],
            env={
                **os.environ,
                "PHONED_TOKEN": phone.token("admin"),
                "PHONED_BASE": base,
                "SCHEMATHESIS_HOOKS": "tests.integration.control.hooks",
                "PYTHONPATH": str(HERE.parents[2]),
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=patience_s,
        )
    return done.returncode, done.stdout


def judged(phone: Phone, outcome: tuple[int, str]) -> None:
    status, words = outcome
    assert status == 0, words[-20_000:]
    assert "Traceback" not in phone.log, phone.log[-6000:]
    assert phone.http.get("/healthz").status_code == 200


def test_a_phone_describes_its_events(served: Phone) -> None:
    document = served.get("/asyncapi.json")
    assert document["info"]["version"] == served.get("/v1")["version"]
    assert "call.answered" in json.dumps(document)


def test_the_description_is_kept(served: Phone, tmp_path: Path) -> None:
    judged(
        served,
        tried(served, tmp_path, "--max-examples", "2", "--phases", "examples,fuzzing,stateful", patience_s=300.0),
    )


@pytest.mark.long
def test_the_description_is_kept_200_times(served: Phone, tmp_path: Path) -> None:
    judged(served, tried(served, tmp_path, "--max-examples", "200", patience_s=3 * 3600.0))
