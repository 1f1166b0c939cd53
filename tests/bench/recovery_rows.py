"""What `bench_recovery` does to a phone, row by row, and what each must take at most.

A row is one function: it gets a `Scene`, makes a fresh phone (and call) in it, does one thing to it, and returns the
figures in milliseconds. Each call has a playback, a recording and a bot, and a row fails unless they outlive it.
Targets are those of the recovery page at 50 ms round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.network.harness.company import accompanied
from tests.network.harness.scene import USER, Gaps, Scene, Story
from tests.support.child import until

Figures = dict[str, float]
PATIENCE_S = 30.0
AWAY_S, STOPPED_S = 10.0, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a figure must not exceed, in milliseconds."""

    p50: float
    p95: float


LIMITS: Mapping[str, Limit] = {
    "ws_kill_registered_ms": Limit(p50=300, p95=600),
    "handover_gap_ms": Limit(p50=450, p95=900),
    "media_dead_gap_ms": Limit(p50=1000, p95=1500),
    "silent_ws_call_ms": Limit(p50=4000, p95=5000),
    "silent_ws_idle_ms": Limit(p50=20_000, p95=20_000),
    "server_back_ms": Limit(p50=700, p95=1300),
    "server_back_idle_ms": Limit(p50=2500, p95=15_000),
    "server_stopped_ms": Limit(p50=2000, p95=4000),
    "proxy_failover_ms": Limit(p50=1000, p95=2000),
    "daemon_killed_gap_ms": Limit(p50=3000, p95=5000),
    # "audio gap 0": no more than a packet that is late
    "ws_kill_audio_gap_ms": Limit(p50=60, p95=100),
    "silent_ws_call_audio_gap_ms": Limit(p50=60, p95=100),
}


def ws_kill(scene: Scene) -> Figures:
    """The server closes the WebSocket of a call, and stays up."""
    with accompanied(scene) as (story, company):
        mark, at = story.mark(), time.monotonic()
        assert scene.server.close_connections(USER)
        registered = story.registered_after(mark, PATIENCE_S)
        gaps = story.hear_again(at, PATIENCE_S)
        _one_binding(story)
        company.goes_on()
        return {"ws_kill_registered_ms": _ms(registered - at), "ws_kill_audio_gap_ms": _ms(gaps.longest)}


def handover(scene: Scene) -> Figures:
    """Wifi goes at the moment in which lte comes, under a call."""
    with accompanied(scene) as (story, company):
        mark, at = story.mark(), scene.lab.handover("lte")
        registered = story.registered_after(mark, PATIENCE_S)
        gaps = story.hear_again(at, PATIENCE_S)
        _one_binding(story)
        company.goes_on()
        return _both_ends("handover_gap_ms", gaps) | {"handover_registered_ms": _ms(registered - at)}


def media_dead(scene: Scene) -> Figures:
    """UDP dies on wifi, nothing else does; lte is there as well."""
    with accompanied(scene, both_uplinks=True) as (story, company):
        at = scene.lab.drop("wifi", protocol="udp")
        gaps = story.hear_again(at, PATIENCE_S)
        company.goes_on()
        return _both_ends("media_dead_gap_ms", gaps)


def silent_ws_call(scene: Scene) -> Figures:
    """The packets of the WebSocket vanish under a call; a new WebSocket would work."""
    with accompanied(scene) as (story, company):
        mark, at = story.mark(), scene.silence()
        registered = story.registered_after(mark, PATIENCE_S)
        gaps = story.hear_again(at, PATIENCE_S)
        _one_binding(story)
        company.goes_on()
        return {"silent_ws_call_ms": _ms(registered - at), "silent_ws_call_audio_gap_ms": _ms(gaps.longest)}


def silent_ws_idle(scene: Scene) -> Figures:
    """The same without a call."""
    with scene.story(call=False) as story:
        mark, at = story.mark(), scene.silence()
        return {"silent_ws_idle_ms": _ms(story.registered_after(mark, PATIENCE_S) - at)}


def server_back(scene: Scene) -> Figures:
    """The server is away for 10 s under a call: how long after it listens again."""
    with accompanied(scene) as (story, company):
        registered = _away(scene, story)
        story.hear_again(time.monotonic(), PATIENCE_S)
        _one_binding(story)
        company.goes_on()
        return {"server_back_ms": registered}


def server_back_idle(scene: Scene) -> Figures:
    """The same without a call."""
    with scene.story(call=False) as story:
        return {"server_back_idle_ms": _away(scene, story)}


def server_stopped(scene: Scene) -> Figures:
    """The server accepts connections and says nothing for 12 s, under a call: how long after it goes on."""
    with accompanied(scene) as (story, company):
        mark = story.mark()
        scene.server.pause()
        time.sleep(STOPPED_S)
        at = time.monotonic()
        scene.server.resume()
        online = story.online_after(mark, PATIENCE_S)
        story.hear_again(at, PATIENCE_S)
        _one_binding(story)
        company.goes_on()
        return {"server_stopped_ms": _ms(max(0.0, online - at))}


def proxy_failover(scene: Scene) -> Figures:
    """The primary outbound proxy ends and refuses connections: registered at the backup."""
    with scene.story(call=False, outbound_proxy_backup=scene.backup.ws_url) as story:
        mark, at = story.mark(), time.monotonic()
        scene.server.kill()
        registered = story.registered_after(mark, PATIENCE_S)
        assert len(scene.backup.contacts(USER)) == 1
        return {"proxy_failover_ms": _ms(registered - at)}


def daemon_killed(scene: Scene) -> Figures:
    """SIGKILL under a call, and the next process at once: until the audio is back."""
    with accompanied(scene) as (story, company):
        at = time.monotonic()
        story.restart()
        gaps = story.hear_again(at, PATIENCE_S)
        _one_binding(story)
        company.goes_on_anew(at)
        return _both_ends("daemon_killed_gap_ms", gaps)


ROWS: Mapping[str, Callable[[Scene], Figures]] = {
    "ws_kill": ws_kill,
    "handover": handover,
    "media_dead": media_dead,
    "proxy_failover": proxy_failover,
    "daemon_killed": daemon_killed,
    "silent_ws_call": silent_ws_call,
    "server_back": server_back,
    "server_back_idle": server_back_idle,
    "server_stopped": server_stopped,
    "silent_ws_idle": silent_ws_idle,
}
"""The quick ones first."""


def _away(scene: Scene, story: Story) -> float:
    mark = story.mark()
    scene.server.kill()
    time.sleep(AWAY_S)
    scene.server.start()
    at = time.monotonic()
    # it may have been there a moment before we saw it listen
    return _ms(max(0.0, story.registered_after(mark, PATIENCE_S) - at))


def _one_binding(story: Story) -> None:
    """The registrar holds one binding of the phone: no ghost of the flow before."""
    until(lambda: len(story.contacts()) == 1, "one binding at the registrar", 5)


def _both_ends(name: str, gaps: Gaps) -> Figures:
    stem = name.removesuffix("_gap_ms")
    return {
        name: _ms(gaps.longest),
        f"{stem}_gap_at_phone_ms": _ms(gaps.phone),
        f"{stem}_gap_at_far_end_ms": _ms(gaps.far),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
