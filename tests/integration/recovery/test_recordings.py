"""What becomes of a recording: the network goes away under it, or the daemon is killed."""

from __future__ import annotations

import os
import signal
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray

from phoned.model import RecordRequest
from tests.support.exchange import Exchange, Phone
from tests.support.media import level_dbov

README = Path(__file__).parents[3] / "README.md"
FORMATS = get_args(get_type_hints(RecordRequest)["format"])
UNWRITTEN_S = 1.0
"""So much of a recording may be lost in a crash."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running


@pytest.fixture(scope="module")
def phone(exchange: Exchange) -> Iterator[Phone]:
    with Phone(exchange) as made:
        made.start()
        yield made


def sound(path: Path) -> tuple[NDArray[np.int16], int]:
    """Samples by channel, and their rate."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


def recording(phone: Phone, number: str) -> dict[str, Any]:
    return phone.get(f"/v1/recordings/{number}")


@pytest.mark.behaviour("P11")
def test_a_recording_goes_on_while_the_far_end_is_lost_and_says_where(exchange: Exchange, phone: Phone) -> None:
    call = phone.calling("tone")
    number = phone.verb(call, "record", status=201)["id"]
    began = time.monotonic()
    phone.until(lambda: recording(phone, number)["duration_s"] >= 1.0, "a second of sound")
    os.kill(exchange.process.pid, signal.SIGSTOP)
    try:
        lost = recording(phone, number)["duration_s"]
        phone.wait_call(call, "told", lambda view: view["media"]["state"] != "flowing")
        # the clock of the recording does not stop with the network
        phone.until(lambda: recording(phone, number)["duration_s"] > lost + 1.5, "time without sound")
    finally:
        os.kill(exchange.process.pid, signal.SIGCONT)
    phone.wait_call(call, "sound", lambda view: view["media"]["state"] == "flowing", timeout_s=20.0)
    phone.until(lambda: recording(phone, number)["gaps"], "the end of the gap")
    back = recording(phone, number)["duration_s"]
    phone.until(lambda: recording(phone, number)["duration_s"] >= back + 0.6, "sound again")
    took = time.monotonic() - began
    phone.verb(call, "hangup")
    ended = phone.events.wait_for("recording.finished", lambda data: data["recording"]["id"] == number)
    view = ended.data["recording"]

    assert view["duration_s"] == pytest.approx(took, abs=0.5)
    start, end = max(view["gaps"], key=lambda gap: gap[1] - gap[0])
    assert start == pytest.approx(lost, abs=0.7)
    assert end - start >= 0.9
    samples, rate = sound(phone.recordings / view["file"])
    assert len(samples) / rate == pytest.approx(view["duration_s"], abs=0.02)
    far = samples[:, 1]

    def level(since: float, until: float) -> float:
        return level_dbov(far[int(since * rate) : int(until * rate)])

    assert level(start - 0.6, start - 0.4) > -30
    assert level(start + 0.1, end - 0.1) < -60
    assert level(end + 0.2, end + 0.5) > -30


def kinds() -> list[dict[str, str]]:
    return [{"format": kind, "channels": channels} for kind in FORMATS for channels in ("stereo", "mixed")]


@pytest.mark.behaviour("P13")
@pytest.mark.behaviour("P15")
def test_every_kind_of_recording_is_finished_after_a_kill_and_its_user_is_told(phone: Phone) -> None:
    call = phone.calling("tone")
    running: dict[str, dict[str, str]] = {}
    for kind in kinds():
        answer = phone.http.post(f"/v1/calls/{call}/record", json=kind)
        assert answer.status_code == 201, answer.text
        running[answer.json()["id"]] = kind
    phone.until(lambda: min(view["duration_s"] for view in views(phone, running)) >= 1.5, "sound")
    before = {view["id"]: view["duration_s"] for view in views(phone, running)}
    after = phone.events.seen[-1]
    phone.die()
    phone.again()
    for number in running:
        told = phone.events.wait_for("recording.recovered", is_of(number), after=after)
        view = told.data["recording"]
        assert (view["call"], view["state"], view["recovered"]) == (call, "finished", True)
        assert (view["format"], view["channels"]) == (running[number]["format"], running[number]["channels"])
        assert view["duration_s"] > before[number] - UNWRITTEN_S
        assert (phone.recordings / view["file"]).stat().st_size > {"wav": 10_000, "opus": 2_000}[view["format"]]
        assert not list(phone.recordings.glob(f"*{number}*.part"))
    wait_gone(phone, call)


@pytest.mark.behaviour("P15")
def test_what_can_be_recovered_is_written_where_users_look() -> None:
    text = README.read_text()
    paragraph = next(part for part in text.split("\n\n") if "recording.recovered" in part)
    for word in ("every recording", "last second", "paused", "kept nowhere"):
        assert word in paragraph.lower(), word


def is_of(number: str) -> Callable[[dict[str, Any]], bool]:
    return lambda data: bool(data["recording"]["id"] == number)


def views(phone: Phone, numbers: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    return [recording(phone, number) for number in numbers]


def wait_gone(phone: Phone, call: str) -> None:
    phone.wait_ready()
    if phone.call(call)["state"] != "ended":
        phone.verb(call, "hangup")
