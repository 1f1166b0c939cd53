"""phoned as the peers' tests use it: one account at Kamailio, a melody to play, recordings to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.sound import Sound, sine, write_wav
from tests.support.child import until
from tests.support.daemon import PhonedProcess

ACCOUNT = "front"
USER = "alice"
PHONE_HZ = 600.0
"""What the phone plays."""
LONGEST_WINDOW_S = 12.0


def account(
    kamailio: Kamailio, *, secure: bool = False, recovery: Mapping[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """The ``[[accounts]]`` table of `USER`."""
    return {
        "id": ACCOUNT,
        "aor": kamailio.aor(USER),
        "auth_username": USER,
        "password_file": "password",
        "outbound_proxy": kamailio.wss_url if secure else kamailio.ws_url,
        **({"tls": {"ca_file": str(kamailio.ca_file)}} if secure else {}),
        **({"recovery": dict(recovery)} if recovery else {}),
        **fields,
    }


def phoned(table: Mapping[str, Any], **configuration: Any) -> PhonedProcess:
    """A daemon with one account and, in its media directory, the tone ``tone.wav``; not started."""
    process = PhonedProcess({"accounts": [dict(table)], **configuration}, secrets={"password": password(USER)})
    write_wav(process.media / "tone.wav", sine(PHONE_HZ, 2.0))
    return process


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Packets a second, over a window."""

    sent: float
    received: float


def rates(counters: Callable[[], tuple[int, int]], wait: Callable[[], object]) -> Rates:
    """How fast (sent, received) grow while ``wait`` runs."""
    before, start = counters(), time.monotonic()
    wait()
    after, seconds = counters(), time.monotonic() - start
    return Rates(sent=(after[0] - before[0]) / seconds, received=(after[1] - before[1]) / seconds)


def packets(phone: PhonedProcess, call: str) -> tuple[int, int]:
    """The phone's counters of a call: sent, received."""
    stats = phone.stats(call)
    return int(stats["packets_sent"]), int(stats["packets_received"])


def play_tone(phone: PhonedProcess, call: str) -> str:
    """Say `PHONE_HZ` until the call ends; hold and mute silence it. Returns the playback's id."""
    return str(phone.verb(call, "play", status=201, file="tone.wav", loop=True)["id"])


def wait_flowing(phone: PhonedProcess, call: str) -> dict[str, Any]:
    """Until the call's media flow."""
    return phone.wait_call(call, "media flow", lambda view: view["media"]["state"] == "flowing")


def record(phone: PhonedProcess, call: str, seconds: float) -> dict[Literal["local", "remote"], Sound]:
    """What was said and heard from now on: the left channel is ours, the right one the far end's."""
    recording = phone.verb(call, "record", status=201, format="wav", channels="stereo")
    path = f"/v1/recordings/{recording['id']}"
    until(lambda: phone.get(path)["duration_s"] >= seconds, f"{seconds} s are recorded", seconds + 10, 0.1)
    phone.post(f"{path}/stop")
    phone.events.wait_for("recording.finished", lambda data: data["recording"]["id"] == recording["id"])
    local, remote = Sound.from_wav(phone.recordings / recording["file"])
    return {"local": local, "remote": remote}


def ended(phone: PhonedProcess, call: str, timeout_s: float = 10.0) -> dict[str, Any]:
    """Wait for ``call.ended``; returns the call's ``end``."""
    event = phone.events.wait_for("call.ended", lambda data: data["call"]["id"] == call, timeout_s)
    assert event.call["state"] == "ended"
    return dict(event.call["end"])


def assert_tone(sound: Sound, frequency_hz: float, purity: float = 0.9) -> None:
    """It is this tone, loud and clean."""
    tone = sound.tone()
    assert tone.frequency_hz == pytest.approx(frequency_hz, abs=4), tone
    assert tone.level_dbfs > -30, tone
    assert tone.purity > purity, tone


def assert_flows(
    counters: Callable[[], tuple[int, int]],
    wait: Callable[[], object],
    ways: tuple[Literal["sent", "received"], ...] = ("sent", "received"),
) -> None:
    """One packet each 20 ms, from the begin of ``wait`` on. The window grows until it is long enough to tell: what a
    busy machine delayed before it is counted inside it, and weighs less the longer it is. Faster or slower for good
    stays faster or slower."""
    before, start = counters(), time.monotonic()
    wait()
    while True:
        after, seconds = counters(), time.monotonic() - start
        sent, received = ((new - old) / seconds for old, new in zip(before, after, strict=True))
        found = {"sent": sent, "received": received}
        if all(45 <= found[way] <= 55 for way in ways):
            return
        assert seconds < LONGEST_WINDOW_S, f"packets a second over {seconds:.1f} s: {found}"
        time.sleep(0.25)
