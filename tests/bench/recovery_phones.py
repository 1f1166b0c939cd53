"""Other phones on the same two uplinks, done the same to: what anybody else's user would have got.

linphone and baresip speak SIP over UDP and plain RTP to a baresip in the core; JsSIP runs in a Chromium of its own and
calls the page that phoned calls. A row is one function as in `recovery_rows`; what does not come back within `LIMIT_S`
counts as that.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from tests.bench.recovery_rows import AWAY_S, Figures
from tests.network.harness.scene import FAR, SETTLED_S, USER, Scene
from tests.peers.harness.baresip import Baresip
from tests.peers.harness.browser import Browser
from tests.peers.harness.linphone import Linphone
from tests.peers.harness.phone import PHONE_HZ
from tests.peers.harness.place import LabPlace
from tests.support.child import APT, until

LIMIT_S = 90.0
PLAIN_FAR = "dave"
PROGRAMS: Mapping[str, str] = {"linphone": "linphone-daemon", "baresip": "baresip", "jssip": "chromium"}


def why_not(phone: str) -> str | None:
    """Why this phone cannot be measured here; None when it can."""
    needed = PROGRAMS[phone]
    if shutil.which(needed) is None:
        return f"{needed} is not installed: apt-get install --no-install-recommends {APT.get(needed, needed)}"
    return None


def handover(scene: Scene, phone: str) -> Figures:
    """Wifi goes at the moment in which lte comes, under a call."""
    with calling(scene, phone):
        before = _registers(scene)
        at = scene.lab.handover("lte")
        return {"handover_gap_ms": _gap(scene, at), "handover_registered_ms": _registered(scene, before, at)}


def media_dead(scene: Scene, phone: str) -> Figures:
    """UDP dies on wifi, nothing else does; lte is there as well."""
    with calling(scene, phone, both_uplinks=True):
        return {"media_dead_gap_ms": _gap(scene, scene.lab.drop("wifi", protocol="udp"))}


def ws_kill(scene: Scene, phone: str) -> Figures:
    """The server closes the WebSocket of a call, and stays up."""
    with calling(scene, phone):
        before, at = _registers(scene), time.monotonic()
        assert scene.server.close_connections(USER)
        registered = _registered(scene, before, at)
        return {"ws_kill_registered_ms": registered, "ws_kill_audio_gap_ms": _gap(scene, at)}


def silent_ws_call(scene: Scene, phone: str) -> Figures:
    """The packets of the WebSocket vanish under a call; a new WebSocket would work."""
    with calling(scene, phone):
        before, at = _registers(scene), scene.silence()
        return {"silent_ws_call_ms": _registered(scene, before, at)}


def server_back(scene: Scene, phone: str) -> Figures:
    """The server is away for 10 s under a call: how long after it listens again."""
    with calling(scene, phone):
        scene.server.kill()
        time.sleep(AWAY_S)
        before = _registers(scene)
        scene.server.start()
        return {"server_back_ms": _registered(scene, before, time.monotonic())}


Row = Callable[[Scene, str], Figures]
BOTH: Mapping[str, Row] = {"handover": handover, "media_dead": media_dead, "server_back": server_back}
ROWS: Mapping[str, Mapping[str, Row]] = {
    "linphone": BOTH,
    "baresip": BOTH,
    "jssip": {**BOTH, "ws_kill": ws_kill, "silent_ws_call": silent_ws_call},
}
"""Which rows apply to a phone: those without a WebSocket cannot lose it."""


@contextmanager
def calling(scene: Scene, phone: str, *, both_uplinks: bool = False) -> Iterator[None]:
    """A call of this phone, heard at both ends."""
    scene.restore(both_uplinks=False)
    scene.forget_phones()
    inside, core = LabPlace(scene.lab, "phone"), LabPlace(scene.lab, "core")
    with ExitStack() as stack:
        stack.callback(scene.restore, both_uplinks=False)
        if phone == "jssip":
            scene.page()
            stack.callback(scene.close_page)
            page = stack.enter_context(Browser(inside)).page(scene.server, USER, tone_hz=PHONE_HZ)
            page.call(FAR)
            page.wait_flowing()
        else:
            stack.enter_context(Baresip(scene.server, PLAIN_FAR, place=core))
            caller: Baresip | Linphone
            if phone == "baresip":
                caller = Baresip(scene.server, USER, tone_hz=PHONE_HZ, place=inside, roams=True)
            else:
                caller = Linphone(scene.server, USER, tone_hz=PHONE_HZ, place=inside)
            stack.enter_context(caller)
            caller.dial(scene.server.aor(PLAIN_FAR))
        until(lambda: _both_hear(scene), f"{phone}: both ends hear each other", 15)
        if both_uplinks:  # not earlier: the call shall be on wifi
            scene.lab.carrier("lte", True)
            scene.lab.address("lte", True)
            time.sleep(SETTLED_S)
        yield


def _both_hear(scene: Scene) -> bool:
    return scene.at_phone.steady("in", SETTLED_S) and scene.at_far.steady("in", SETTLED_S)


def _gap(scene: Scene, since: float) -> float:
    """The longest time without audio at one of the ends, in milliseconds."""

    def good() -> bool:
        return time.monotonic() > since + 2 * SETTLED_S and _both_hear(scene)

    if not _in_time(good, since):
        return LIMIT_S * 1000
    return round(max(tap.gap("in", since) for tap in (scene.at_phone, scene.at_far)) * 1000, 1)


def _registers(scene: Scene) -> int:
    return len([seen for seen in scene.server.requests("REGISTER", USER) if seen.authorised])


def _registered(scene: Scene, before: int, since: float) -> float:
    """When the registrar got another good REGISTER, in milliseconds."""
    if not _in_time(lambda: _registers(scene) > before and bool(scene.server.contacts(USER)), since):
        return LIMIT_S * 1000
    return round((time.monotonic() - since) * 1000, 1)


def _in_time(condition: Callable[[], bool], since: float) -> bool:
    while not condition():
        if time.monotonic() > since + LIMIT_S:
            return False
        time.sleep(0.02)
    return True
