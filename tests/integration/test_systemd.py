"""The units as systemd reads them, and a real `phoned run` as systemd would drive it: with a socket to notify, signals,
a lock and listening sockets that were opened for it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from phoned.cli.init import units_state_dir
from phoned.config.load import load_config
from phoned.config.places import SYSTEM_FILE
from phoned.daemon import Daemon
from phoned.service import Context
from phoned.tasks import Tasks
from tests.support import hardened
from tests.support.child import Child, missing, until
from tests.support.daemon import PhonedProcess
from tests.support.notify_socket import NotifySocket

UNITS = Path(__file__).resolve().parents[2] / "systemd"
PHONED = Path(sys.executable).parent / "phoned"
SERVICES = ("phoned.service", "phoned@.service")
READY_S = 3.0


# ---------------------------------------------------------------- the files


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with the one line changed that depends on where phoned is installed."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is not installed: apt-get install --no-install-recommends systemd")
    for unit in UNITS.iterdir():
        text = unit.read_text()
        (tmp_path / unit.name).write_text(re.sub(r"^ExecStart=phoned ", f"ExecStart={PHONED} ", text, flags=re.M))
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("unit", [*SERVICES, "phoned-api.socket"])
def test_systemd_finds_no_fault_in_the_units(installed: Path, unit: str) -> None:
    verdict = analyze("verify", "--man=no", str(installed / unit))
    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_systemd_finds_no_fault_in_the_unit_of_a_session(installed: Path, tmp_path: Path) -> None:
    unit = installed / "user" / "phoned.service"
    unit.parent.mkdir()
    shutil.copy(installed / "phoned-user.service", unit)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", "--no-pager", "verify", "--user", "--man=no", str(unit)]
    verdict = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_the_unit_of_a_session_keeps_the_promises_of_the_systems() -> None:
    mine = settings("phoned-user.service")
    for promise in ("WatchdogSec=30", "Restart=always", "RestartKillSignal=SIGUSR2", "NoNewPrivileges=yes"):
        assert promise in mine


@pytest.mark.parametrize("unit", SERVICES)
@pytest.mark.parametrize("sound", [False, True], ids=["headless", "sound"])
def test_exposure_is_at_most_one_and_a_half(installed: Path, unit: str, sound: bool) -> None:
    if sound:
        drop_ins = installed / f"{unit}.d"
        drop_ins.mkdir()
        shutil.copy(installed / "sound.conf", drop_ins)
    verdict = analyze("security", "--offline=true", "--threshold=15", str(installed / unit))
    assert verdict.returncode == 0, verdict.stdout
    assert "Overall exposure level" in verdict.stdout
    if sound:
        assert "char-alsa" in verdict.stdout  # the drop-in was read


def settings(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_template_is_the_service_with_the_instances_paths() -> None:
    alike = [
        line.replace("/etc/phoned/%i/", "/etc/phoned/").replace("phoned-%i", "phoned").replace(" (%i)", "")
        for line in settings("phoned@.service")
    ]
    assert alike == settings("phoned.service")


@pytest.mark.parametrize("instance", ["", "office"])
def test_init_names_the_state_directory_that_the_unit_has(instance: str) -> None:
    lines = [line.replace("%i", instance) for line in settings(f"phoned{'@' if instance else ''}.service")]
    named = {name: value for name, _, value in (line.partition("=") for line in lines)}
    explicit = named["ExecStart"].partition(" --config ")[2]
    assert units_state_dir(Path(explicit or SYSTEM_FILE)) == Path("/var/lib") / named["StateDirectory"]


def test_a_phone_of_a_session_has_the_state_directory_of_the_commands_in_it() -> None:
    assert not [line for line in settings("phoned-user.service") if line.startswith("StateDirectory")]


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "KillSignal=SIGTERM",
        "RestartKillSignal=SIGUSR2",
        "ExecReload=kill -HUP $MAINPID",
        "RestartPreventExitStatus=78",
        "RuntimeDirectoryMode=0750",
        "User=phoned",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
    ],
)
def test_the_promises_of_the_unit(line: str) -> None:
    assert line in settings("phoned.service")


@pytest.mark.parametrize(
    "name",
    [
        "MemoryDenyWriteExecute",  # breaks the callbacks of DTLS
        "PrivateUsers",  # hides who calls over the control socket
        "ImportCredential",  # systemd 254
        "RestartSteps",  # systemd 254
    ],
)
def test_what_the_unit_must_not_have(name: str) -> None:
    assert not [line for unit in SERVICES for line in settings(unit) if line.startswith(f"{name}=")]
    assert "Type=notify-reload" not in settings("phoned.service")  # systemd 253


def test_user_group_and_directories_are_made(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not (shutil.which("systemd-sysusers") and shutil.which("systemd-tmpfiles")):
        missing("needs root, systemd-sysusers and systemd-tmpfiles: apt-get install --no-install-recommends systemd")
    for directory in ("etc", "run"):
        (tmp_path / directory).mkdir()
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        file = UNITS / f"phoned.{command[0].removeprefix('systemd-')}"
        made = subprocess.run([*command, f"--root={tmp_path}", str(file)], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
    user = (tmp_path / "etc" / "passwd").read_text().strip().split(":")
    assert (user[0], user[5], user[6]) == ("phoned", "/var/lib/phoned", "/usr/sbin/nologin")
    assert (tmp_path / "etc" / "group").read_text().startswith("phoned:")
    runtime = (tmp_path / "run" / "phoned").stat()
    assert (runtime.st_mode & 0o777, runtime.st_uid, runtime.st_gid) == (0o750, int(user[2]), int(user[3]))


# ---------------------------------------------------------------- a process, an exchange and a service manager


class Exchange(Child):
    """`phoned sandbox` as a process of its own; `order` throws its fault switches."""

    def __init__(self) -> None:
        super().__init__("sandbox")
        self.spawn([str(PHONED), "sandbox", "--json"], pipes=True)
        self.facts = self._read()

    def order(self, **order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        assert self._read()["ok"]

    def _read(self) -> dict[str, Any]:
        output = self.process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], 20.0)
        assert readable, self.log
        return dict(json.loads(output.readline()))


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running
        running.order(fault="none")


def phone(exchange: Exchange, user: str = "alice", **phone_table: str) -> PhonedProcess:
    account = {
        "id": user,
        "aor": f"sip:{user}@{exchange.facts['domain']}",
        "password_file": f"{user}.secret",
        "outbound_proxy": exchange.facts["url"],
    }
    configuration = {"phone": phone_table, "accounts": [account]}
    return PhonedProcess(configuration, secrets={f"{user}.secret": exchange.facts["users"][user]})


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    """Its socket stands in the environment, as for a service of Type=notify."""
    with NotifySocket() as listening:
        monkeypatch.setenv("NOTIFY_SOCKET", listening.address)
        yield listening


def run(daemon: PhonedProcess) -> float:
    """Start it without waiting for anything; when."""
    daemon.spawn([str(PHONED), "run", "--config", str(daemon.configuration_file)])
    return time.monotonic()


def test_a_phone_tells_the_truth_and_says_goodbye(exchange: Exchange, manager: NotifySocket) -> None:
    with phone(exchange).start() as daemon:
        manager.until_told("READY")
        manager.until_status("1 of 1 account online, no calls")
        manager.seen.clear()
        exchange.order(fault="refuse", status=503)
        exchange.order(fault="close")
        manager.until_status("0 of 1 account online (alice ")
        manager.seen.clear()
        exchange.order(fault="none")
        daemon.post("/v1/accounts/alice/retry")
        manager.until_status("1 of 1 account online, no calls")
        assert daemon.stop() == 0, daemon.log
        assert manager.until_told("STOPPING").variables["STATUS"].startswith("stopping: ")


def test_ready_comes_within_three_seconds(exchange: Exchange, manager: NotifySocket) -> None:
    needed: list[float] = []
    for _ in range(3):
        with phone(exchange) as daemon:
            started = run(daemon)
            ready = manager.until_told("READY")
            needed.append(ready.at - started - waited_for_a_core(daemon.process.pid))
        manager.seen.clear()
        if needed[-1] < READY_S:
            return
    pytest.fail(f"ready after {needed} s")


def waited_for_a_core(pid: int) -> float:
    """Seconds in which the process could have run, had others not: they are no fault of the start."""
    _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(waited_ns) / 1e9


def test_a_call_stands_in_the_status(exchange: Exchange, manager: NotifySocket) -> None:
    with phone(exchange).start() as daemon:
        manager.until_status("1 of 1 account online")
        call = daemon.place("alice", "echo", wait="answered")
        manager.until_status("1 of 1 account online, 1 call")
        manager.seen.clear()
        daemon.verb(call, "hangup")
        manager.until_status("1 of 1 account online, no calls")


def test_a_reload_is_told_to_have_begun_and_ended_whatever_came_of_it(
    exchange: Exchange, manager: NotifySocket
) -> None:
    with phone(exchange).start() as daemon:
        manager.until_status("1 of 1 account online")
        for spoil in ("", "\ncolour = 5\n"):
            manager.seen.clear()
            daemon.configuration_file.write_text(daemon.configuration_file.read_text() + spoil)
            daemon.process.send_signal(signal.SIGHUP)
            began = manager.until_told("RELOADING")
            assert int(began.variables["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            ready = manager.until_told("READY")
            assert ready.at >= began.at
        assert "not reloaded, everything stays as it was" in daemon.log


def test_ready_does_not_wait_for_a_server_that_is_not_there(exchange: Exchange, manager: NotifySocket) -> None:
    exchange.order(fault="refuse", status=503)
    try:
        with phone(exchange) as daemon:
            run(daemon)
            ready = manager.until_told("READY")
            assert daemon.socket.exists()  # the API listens before READY
            assert ready.variables["STATUS"].startswith("0 of 1 account online")
    finally:
        exchange.order(fault="none")


def test_the_watchdog_starves_while_the_process_is_stopped(
    exchange: Exchange, manager: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with phone(exchange) as daemon:
        run(daemon)
        until(lambda: len(manager.times("WATCHDOG")) >= 4, "the watchdog is fed", 30.0)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        until(lambda: time.monotonic() > stopped + 2.0, "two periods")
        assert not [at for at in manager.times("WATCHDOG") if at > stopped + 0.5]
        os.kill(daemon.process.pid, signal.SIGCONT)
        until(lambda: manager.times("WATCHDOG")[-1] > stopped + 2.0, "the watchdog is fed again", 30.0)


def test_the_watchdogs_abort_shows_where_the_phone_hung(exchange: Exchange, manager: NotifySocket) -> None:
    with phone(exchange) as daemon:
        run(daemon)
        manager.until_told("READY")
        daemon.process.send_signal(signal.SIGABRT)  # WatchdogSignal=
        assert daemon.process.wait(10) == -signal.SIGABRT
        assert "most recent call first" in daemon.log
        assert exchange.facts["users"]["alice"] not in daemon.log


def test_a_second_daemon_in_the_same_state_directory_ends_with_75(exchange: Exchange, manager: NotifySocket) -> None:
    with phone(exchange) as first, phone(exchange, state_dir=str(first.state)) as second:
        run(first)
        manager.until_told("READY")
        run(second)
        assert second.process.wait(60) == 75
        assert f"another phoned (process {first.process.pid}) has the state directory {first.state}" in second.log
        assert "Fix: " in second.log
        assert first.process.poll() is None
        first.process.kill()
        first.process.wait()
        manager.seen.clear()
        run(second)  # a killed one leaves no lock behind
        manager.until_told("READY")


def test_a_wrong_configuration_is_78_which_systemd_does_not_retry(exchange: Exchange, manager: NotifySocket) -> None:
    with phone(exchange, colour="red") as daemon:
        run(daemon)
        assert daemon.process.wait(60) == 78
        assert not manager.times("READY")


def test_a_call_with_sound_and_a_recording_inside_the_units_sandbox(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardened.require()
    monkeypatch.setenv("PYTHONPATH", str(UNITS.parent))
    with NotifySocket(abstract=True) as outside, phone(exchange) as daemon:
        monkeypatch.setenv("NOTIFY_SOCKET", outside.address)
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(daemon.runtime))
        run_phoned = [str(PHONED), "run", "--config", str(daemon.configuration_file)]
        daemon.spawn(hardened.command(UNITS / "phoned.service", daemon.directory, *run_phoned))
        outside.until_status("1 of 1 account online")
        transport = httpx.HTTPTransport(uds=str(daemon.socket))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            order = {
                "account": "alice",
                "to": "echo",
                "wait": "answered",
                "on_answer": [{"play": {"tone": "425", "loop": True}}],
            }
            call = client.post("/v1/calls", json=order).json()["id"]
            recording = client.post(f"/v1/calls/{call}/record", json={}).json()["id"]
            until(lambda: client.get(f"/v1/calls/{call}/stats").json()["packets_received"] > 50, "sound", 30.0)
            assert client.post(f"/v1/recordings/{recording}/stop", json={}).json()["state"] == "finished"
            assert client.post(f"/v1/calls/{call}/hangup", json={}).status_code == 200
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        for line in ("CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            assert line in status
        assert daemon.stop(30) == 0, daemon.log
        refused = re.search("not permitted|denied|Read-only|not supported", daemon.log)
        assert refused is None, daemon.log


# ---------------------------------------------------------------- a blocked loop, in this process


class Nothing(BaseModel):
    """No settings."""


class Blocker:
    """A plug-in with a bug: some time after its start it blocks the loop."""

    name = "blocker"
    config_model: type[BaseModel] = Nothing
    default = True

    def __init__(self, after_s: float, for_s: float) -> None:
        self._after_s, self._for_s = after_s, for_s
        self.blocked_at = 0.0

    def create(self, context: Context) -> Blocker:
        return self

    async def start(self) -> None:
        asyncio.get_running_loop().call_later(self._after_s, self._block)

    async def stop(self, budget_s: float) -> None: ...

    def _block(self) -> None:
        self.blocked_at = time.monotonic()
        time.sleep(self._for_s)


async def test_the_watchdog_starves_while_a_plug_in_blocks_the_loop(
    tmp_path: Path, manager: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    blocker = Blocker(after_s=1.5, for_s=2.0)
    config = tmp_path / "phoned.toml"
    config.write_text('[phone]\nstate_dir = "state"\n')
    loaded = load_config(config, environ={"RUNTIME_DIRECTORY": str(tmp_path / "run"), "HOME": str(tmp_path)})
    tasks = Tasks("test", lambda name, error: None)
    serving = tasks.spawn("serve", Daemon(loaded, plugins={"blocker": blocker}).serve())

    def fed_again() -> bool:
        return bool(blocker.blocked_at) and manager.times("WATCHDOG")[-1] > blocker.blocked_at + 2.0

    await asyncio.to_thread(until, fed_again, "the watchdog is fed again", 30.0)
    fed = manager.times("WATCHDOG")
    assert len([at for at in fed if at < blocker.blocked_at]) >= 1
    assert not [at for at in fed if blocker.blocked_at + 0.5 < at < blocker.blocked_at + 2.0]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    assert manager.times("STOPPING")


# ---------------------------------------------------------------- socket activation


def activated(daemon: PhonedProcess, listening: socket.socket) -> subprocess.Popen[bytes]:
    """Start it as systemd does for phoned-api.socket: the listening socket is descriptor 3."""
    script = 'exec 3<&"$0"; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    command = ["setpriv", "--pdeathsig", "TERM", "--", "bash", "-c", script, str(listening.fileno())]
    with (daemon.directory / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, str(PHONED), "run", "--config", str(daemon.configuration_file)],
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def test_a_client_that_calls_during_a_restart_waits_for_the_next_daemon(
    exchange: Exchange, manager: NotifySocket
) -> None:
    with phone(exchange) as daemon, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(daemon.socket))
        listening.listen()
        transport = httpx.HTTPTransport(uds=str(daemon.socket))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            first = activated(daemon, listening)
            assert client.get("/v1/status").status_code == 200
            first.terminate()
            assert first.wait(60) == 0, daemon.log
            assert daemon.socket.exists()  # not ours to remove
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as early:
            early.settimeout(60)
            early.connect(str(daemon.socket))
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            second = activated(daemon, listening)
            try:
                assert early.recv(65_536).startswith(b"HTTP/1.1 200 ")
            finally:
                second.terminate()
                second.wait(60)
