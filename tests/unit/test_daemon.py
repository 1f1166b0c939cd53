"""The whole daemon with a fake network: built in order, stopped in order, and nothing left when it fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel

from phoned.config.load import LoadedConfig, load_config
from phoned.daemon import Daemon
from phoned.ids import new_id
from phoned.model import AccountState, CallRequest, Cause
from phoned.recording import wav
from phoned.service import Context, ServicePlugin
from phoned.store.audit import check
from phoned.tasks import Tasks
from phoned.transport.flow import FlowError
from tests.support.flows import FakeDialer
from tests.support.media import until


class Table(BaseModel):
    """The table of the service under test."""


class FakeService:
    """A plug-in and its service in one: it does what the test wants."""

    config_model: type[BaseModel] = Table
    default = True

    def __init__(
        self, name: str, log: list[str], *, fails: str = "", hangs: bool = False, default: bool = True
    ) -> None:
        self.name = name
        self.default = default
        self._log = log
        self._fails = fails
        self._hangs = hangs
        self.context: Context | None = None

    def create(self, context: Context) -> FakeService:
        self.context = context
        return self

    async def start(self) -> None:
        self._log.append(f"start {self.name}")
        if self._fails == "start":
            raise OSError("no port")

    async def stop(self, budget_s: float) -> None:
        self._log.append(f"stop {self.name}")
        if self._fails == "stop":
            raise OSError("no")
        if self._hangs:
            await asyncio.sleep(3600)


def config(home: Path, extra: str = "") -> LoadedConfig:
    secret = home / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cret")
    file = home / "phoned.toml"
    file.write_text(
        f"""
[phone]
state_dir = "state"
[[accounts]]
id = "a"
aor = "sip:a@example.org"
password_file = "secret"
outbound_proxy = "ws://proxy.invalid/"
{extra}
"""
    )
    return load_config(file, environ={"RUNTIME_DIRECTORY": str(home / "run"), "HOME": str(home)})


def daemon_of(
    home: Path, *services: FakeService, dialer: FakeDialer | None = None, extra: str = ""
) -> tuple[Daemon, FakeDialer]:
    used = dialer or FakeDialer(always=FlowError(Cause.REFUSED, "nobody there"))
    plugins: dict[str, ServicePlugin] = {service.name: service for service in services}
    return Daemon(config(home, extra), plugins=plugins, dialer=used), used


def left() -> tuple[set[str], set[str]]:
    """Tasks and threads beside the test's own."""
    current = asyncio.current_task()
    tasks = {task.get_name() for task in asyncio.all_tasks() if task is not current}
    return tasks, {thread.name for thread in threading.enumerate() if not thread.name.startswith(("Main", "asyncio"))}


async def test_services_start_in_order_and_stop_the_other_way_round(tmp_path: Path) -> None:
    log: list[str] = []
    absent = FakeService("absent", log, default=False)
    daemon, dialer = daemon_of(tmp_path, FakeService("one", log), FakeService("two", log), absent)
    before = left()
    await daemon.start()
    subscription = daemon.bus.subscribe()
    assert daemon.phone.status().accounts[0].id == "a"
    await until(lambda: bool(dialer.dialled_at))
    await daemon.stop()
    await daemon.stop()
    assert log == ["start one", "start two", "stop two", "stop one"]
    subscription.close()
    types = [event.type async for event in subscription]
    assert types[0] == "system.started"
    assert types.count("system.stopping") == 1
    assert absent.context is None
    await until(lambda: left() == before)


async def test_an_idle_phone_stops_at_once(tmp_path: Path) -> None:
    daemon, _ = daemon_of(tmp_path)
    await daemon.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await daemon.stop()
    assert loop.time() - began < 0.5


async def test_a_service_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    daemon, dialer = daemon_of(tmp_path, FakeService("good", log), FakeService("bad", log, fails="start"))
    before = left()
    with pytest.raises(OSError, match="no port"):
        await daemon.start()
    assert log == ["start good", "start bad", "stop bad", "stop good"]
    await until(lambda: left() == before)
    assert not dialer.dialled_at
    await daemon.stop()


async def test_a_state_directory_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    daemon, _ = daemon_of(tmp_path)
    (tmp_path / "state").write_text("a file")
    before = left()
    with pytest.raises(OSError, match="state"):
        await daemon.start()
    await daemon.stop()
    await until(lambda: left() == before)


async def test_a_service_that_does_not_stop_holds_up_nobody(tmp_path: Path) -> None:
    log: list[str] = []
    daemon, _ = daemon_of(tmp_path, FakeService("good", log), FakeService("bad", log, fails="stop"))
    before = left()
    await daemon.start()
    await daemon.stop()
    assert log[-2:] == ["stop bad", "stop good"]
    await until(lambda: left() == before)


async def test_a_hand_over_says_nothing_about_the_registration_and_leaves_nothing(tmp_path: Path) -> None:
    daemon, dialer = daemon_of(tmp_path, dialer=FakeDialer())
    before = left()
    await daemon.start()
    await until(lambda: bool(dialer.flows and dialer.flows[0].sent))
    said = list(dialer.flows[0].sent)
    await daemon.stop(hand_over=True)
    assert dialer.flows[0].sent == said
    assert not dialer.flows[0].is_open
    assert len(dialer.flows) == 1
    await until(lambda: left() == before)


async def test_stopping_while_the_server_keeps_mute_about_the_registration(tmp_path: Path) -> None:
    daemon, dialer = daemon_of(tmp_path, dialer=FakeDialer())
    await daemon.start()
    await until(lambda: bool(dialer.flows and dialer.flows[0].sent))
    assert daemon.phone.account("a").state is AccountState.REGISTERING
    await daemon.stop()
    assert daemon.phone.account("a").state is AccountState.OFF
    assert not dialer.flows[0].is_open


@pytest.mark.behaviour("P1")
@pytest.mark.parametrize("asked", ["to register", "to call"])
async def test_an_account_on_demand_waits_to_be_asked(tmp_path: Path, asked: str) -> None:
    daemon, dialer = daemon_of(tmp_path, extra='[accounts.recovery]\nconnect = "on_demand"\n')
    await daemon.start()
    assert daemon.phone.account("a").state is AccountState.OFF
    assert not dialer.dialled_at
    if asked == "to call":
        await daemon.phone.place_call(CallRequest(account="a", to="200"))
    else:
        await daemon.phone.register("a")
    await until(lambda: bool(dialer.dialled_at))
    await daemon.stop()


async def test_recordings_of_a_crash_are_finished_and_told_whole(tmp_path: Path) -> None:
    daemon, _ = daemon_of(tmp_path)
    recordings = tmp_path / "state" / "recordings"
    recordings.mkdir(parents=True)
    (recordings / "rec_1.wav.part").write_bytes(wav.header(rate=8000, channels=2, data_bytes=0) + bytes(32_000))
    await daemon.start()
    await daemon.bus.flush()
    page = await daemon.bus.log.after(0, 10)
    await daemon.stop()
    assert page
    told = page[0].data["recording"]
    assert page[0].type == "recording.recovered"
    assert {key: told[key] for key in ("file", "state", "recovered", "duration_s")} == {
        "file": "rec_1.wav",
        "state": "finished",
        "recovered": True,
        "duration_s": 1.0,
    }


async def test_recordings_that_are_too_old_or_too_much_go_and_that_is_told_and_noted(tmp_path: Path) -> None:
    daemon, _ = daemon_of(tmp_path, extra="[media]\nrecordings_keep_days = 7\n")
    recordings = tmp_path / "state" / "recordings"
    recordings.mkdir(parents=True)
    old, young = (recordings / f"{new_id('call')}-{new_id('rec')}.wav" for _ in range(2))
    for path in (old, young):
        path.write_bytes(wav.header(rate=8000, channels=2, data_bytes=1_600_000) + bytes(1_600_000))
    os.utime(old, (0, 0))
    await daemon.start()
    await daemon.retention.look()
    assert os.listdir(recordings) == [young.name]
    config(tmp_path, "[media]\nrecordings_max_mb = 1\n")
    await daemon.phone.reload()
    await daemon.retention.look()
    await daemon.bus.flush()
    told = [event.data for event in await daemon.bus.log.after(0, 100) or () if event.type == "recording.deleted"]
    assert [(data["recording"]["file"], data["recording"]["duration_s"], data["reason"]) for data in told] == [
        (old.name, 50.0, "age"),
        (young.name, 50.0, "size"),
    ]
    await daemon.stop()
    assert os.listdir(recordings) == []
    noted = [json.loads(line.text) for line in check(tmp_path / "state")]
    assert [(entry["who"], entry["what"], entry["reason"]) for entry in noted] == [
        ("retention", "delete recording", "age"),
        ("retention", "delete recording", "size"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
async def test_a_signal_ends_the_daemon_with_0(tmp_path: Path, number: signal.Signals) -> None:
    log: list[str] = []
    daemon, _ = daemon_of(tmp_path, FakeService("one", log))
    serving = Tasks("t", lambda name, error: None).spawn("serve", daemon.serve())
    await until(lambda: "start one" in log)
    os.kill(os.getpid(), number)
    assert await serving == 0


async def test_a_second_signal_ends_the_patience(tmp_path: Path) -> None:
    log: list[str] = []
    daemon, _ = daemon_of(tmp_path, FakeService("one", log, hangs=True))
    loop = asyncio.get_running_loop()
    serving = Tasks("t", lambda name, error: None).spawn("serve", daemon.serve())
    await until(lambda: "start one" in log)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: "stop one" in log)
    began = loop.time()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    assert loop.time() - began < 1.5


async def test_a_crash_of_what_nothing_works_without_ends_the_daemon_with_1(tmp_path: Path) -> None:
    log: list[str] = []
    daemon, _ = daemon_of(tmp_path, FakeService("one", log))
    serving = Tasks("t", lambda name, error: None).spawn("serve", daemon.serve())
    await until(lambda: "start one" in log)

    async def break_down() -> None:
        raise RuntimeError("the bus is broken")

    daemon.spawn("bus", break_down())
    daemon.spawn("bus", break_down())
    assert await serving == 1
    assert log == ["start one", "stop one"]


async def test_the_proxys_credential_is_read(tmp_path: Path) -> None:
    credential = tmp_path / "proxy.secret"
    credential.touch(mode=0o600)
    credential.write_text("user:pw")
    daemon, dialer = daemon_of(
        tmp_path,
        extra='http_proxy = "http://proxy.example:3128"\nhttp_proxy_credential_file = "proxy.secret"\n',
    )
    await daemon.start()
    await until(lambda: bool(dialer.targets))
    await daemon.stop()
    proxy = dialer.targets[0].http_proxy
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.username, proxy.password) == ("proxy.example", 3128, "user", "pw")
