"""The lab itself: what it promises to the tests that stand on it."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import netns
from tests.support.netns import CORE_ADDRESS, CORE_ADDRESS_6, SEGMENTS, Lab, LabError, Uplink

PORT = 7000
ECHO = f"""
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind(("::", {PORT}))
print("ready", flush=True)
while True:
    data, sender = server.recvfrom(2000)
    server.sendto(f"{{sender[0]}} {{sender[1]}}".encode(), sender)
"""
ASK = f"""
import json, socket, sys, time
address, source, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.4)
client.bind((source, 6000))
client.connect((address, {PORT}))
answers = []
for _ in range(count):
    began = time.monotonic()
    client.send(b"?")
    try:
        seen = client.recv(2000).decode().split()
        answers.append([seen[0].removeprefix("::ffff:"), int(seen[1]), 1000 * (time.monotonic() - began)])
    except OSError:
        pass
json.dump(answers, sys.stdout)
"""


@contextlib.contextmanager
def echo(lab: Lab) -> Iterator[None]:
    server = lab.spawn("core", [sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == b"ready\n"
        yield


def ask(lab: Lab, address: str = CORE_ADDRESS, *, source: str = "", count: int = 2) -> list[tuple[str, int, float]]:
    """(our address, our port) as the core sees them, and the round trip in ms, of those that were answered."""
    done = lab.run("phone", [sys.executable, "-c", ASK, address, source, str(count)])
    return [tuple(answer) for answer in json.loads(done.stdout)]


def existing() -> set[str]:
    return {entry.name for entry in Path("/run/netns").glob("phoned-*")}


@pytest.mark.usefixtures("namespaces")
def test_everything_is_removed_when_the_test_fails() -> None:
    before = existing()
    lab = Lab(rtt_ms=10)

    def failing_test() -> None:
        with lab:
            started.append(lab.spawn("phone", ["sleep", "600"]).pid)
            started.append(int(lab.run("core", ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"]).stdout))
            assert len(existing() - before) == 4
            raise LookupError("any failure")

    started: list[int] = []
    with pytest.raises(LookupError, match="any failure"):
        failing_test()
    assert existing() <= before
    assert len(started) == 2
    assert not [pid for pid in started if Path("/proc", str(pid), "exe").exists()]


@pytest.mark.usefixtures("namespaces")
def test_a_lab_that_cannot_be_built_leaves_nothing() -> None:
    before = existing()

    class Half(Lab):
        def default_route(self, uplink: Uplink) -> float:
            raise LabError("half way")

    with pytest.raises(LabError, match="half way"), Half():
        pass
    assert existing() <= before


@pytest.mark.usefixtures("namespaces")
def test_labs_of_processes_that_died_are_swept() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = f"phoned-{gone.pid}-0-core"
    subprocess.run(["ip", "netns", "add", left], check=True)
    with Lab():
        assert left not in existing()


@pytest.mark.usefixtures("namespaces")
def test_two_labs_do_not_see_each_other() -> None:
    with Lab() as one, Lab() as other, echo(one):
        assert ask(one)
        assert ask(other, count=1) == []


def test_both_families_reach_the_core_by_the_default_route(lab: Lab) -> None:
    with echo(lab):
        assert [answer[0] for answer in ask(lab)] == [SEGMENTS["wifi"].address] * 2
        assert [answer[0] for answer in ask(lab, CORE_ADDRESS_6)] == [SEGMENTS["wifi"].address_6] * 2
        lab.default_route("lte")
        assert ask(lab)[0][0] == SEGMENTS["lte"].address
        assert ask(lab, source=SEGMENTS["wifi"].address)[0][0] == SEGMENTS["wifi"].address, "bound sockets stay"


def test_a_handover_takes_one_uplink_and_gives_the_other(lab: Lab) -> None:
    with echo(lab):
        targets: list[Uplink] = ["lte", "wifi", "lte"]
        for target in targets:
            lab.handover(target)
            assert ask(lab)[0][0] == SEGMENTS[target].address
            assert ask(lab, CORE_ADDRESS_6)[0][0] == SEGMENTS[target].address_6
        state = lab.run("phone", ["ip", "-json", "address", "show", "wifi"])
        assert "NO-CARRIER" in json.loads(state.stdout)[0]["flags"]


def test_packets_are_dropped_as_asked(lab: Lab) -> None:
    with echo(lab):
        lab.drop("wifi", "in", protocol="udp")
        assert ask(lab, count=1) == []
        lab.drop("wifi", "out", protocol="tcp")
        assert len(ask(lab)) == 2
        lab.drop("wifi", percent=30)
        assert 5 <= len(ask(lab, count=40)) <= 36
        lab.blackhole("wifi")
        assert ask(lab, count=1) == []
        lab.blackhole("wifi", False)
        assert len(ask(lab)) == 2


@pytest.mark.usefixtures("namespaces")
def test_behind_nat_the_core_sees_the_router_and_a_new_port_after_a_rebinding() -> None:
    with Lab(nat=("lte",), start_on="lte") as lab, echo(lab):
        first, again = ask(lab)[0], ask(lab)[0]
        assert first[0] == SEGMENTS["lte"].outside
        assert first[:2] == again[:2], "a binding is kept"
        lab.rebind_nat("lte")
        assert ask(lab)[0][1] != first[1]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("address", [CORE_ADDRESS, CORE_ADDRESS_6])
def test_the_round_trip_is_what_was_asked_for(address: str) -> None:
    with Lab(rtt_ms=50, ipv6=True, start_on="wifi") as lab, echo(lab):
        assert lab.delayed_by in ("netem", "tap")
        for _ in range(2):
            trips = [answer[2] for answer in ask(lab, address, count=20)]
            assert len(trips) == 20
            assert min(trips) >= 50
            assert statistics.median(trips) < 60, trips
            lab.handover("lte")
        lab.impair("lte", rtt_ms=100)
        assert statistics.median(answer[2] for answer in ask(lab, address, count=10)) > 100
        lab.impair("lte", rtt_ms=0, loss_pct=100)
        assert ask(lab, address, count=1) == []


def test_without_root_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert netns.why_not() in ("network namespaces need root", "network namespaces need Linux")
