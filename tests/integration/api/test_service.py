"""The service as the daemon sees it: its sockets, its start and its end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.config import ApiConfig
from api.listeners import ListenFailed, inherited
from api.service import ApiService
from phoned.errors import InvalidValue
from phoned.events import EventBus, MemoryEventLog
from phoned.service import ServicePlugin
from tests.integration.api.conftest import FakeContext, Running
from tests.support.fake_phone import FakePhone


def make(tmp_path: Path, **config: Any) -> ApiService:
    bus = EventBus(MemoryEventLog(), node="test")
    return ApiService.create(
        FakeContext(
            phone=FakePhone(bus),
            bus=bus,
            config=ApiConfig(**{"port": 0, **config}),
            state_dir=tmp_path / "state",
            runtime_dir=tmp_path / "run",
        )
    )


def exists(path: Path) -> bool:
    return path.exists()


def test_it_is_a_plug_in_that_runs_by_default() -> None:
    assert isinstance(ApiService, ServicePlugin)
    assert (ApiService.name, ApiService.default) == ("api", True)


async def test_the_socket_is_for_us_and_our_group(running: Running) -> None:
    assert stat.S_IMODE(os.stat(running.socket).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(running.socket.parent).st_mode) == 0o750


async def test_tcp_listens_on_loopback_only(running: Running) -> None:
    assert running.service.ports == (running.port,)
    addresses = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        if address.startswith("127."):
            continue
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            await asyncio.open_connection(address, running.port)


async def test_it_starts_within_a_second_of_processor_time(tmp_path: Path) -> None:
    service = make(tmp_path)
    began = time.process_time()
    await service.start()
    assert time.process_time() - began < 1.0
    await service.stop(1.0)


async def test_stop_removes_the_socket_and_may_be_repeated(tmp_path: Path) -> None:
    service = make(tmp_path)
    await service.stop(1.0)
    await service.start()
    assert exists(tmp_path / "run" / "api.sock")
    await service.stop(1.0)
    await service.stop(1.0)
    assert not exists(tmp_path / "run" / "api.sock")


async def test_stop_keeps_its_budget_whatever_clients_do(running: Running) -> None:
    client = running.unix()
    waiting = asyncio.gather(
        client.post("/v1/calls", json={"account": "front", "to": "200", "wait": "answered"}), return_exceptions=True
    )
    _, idle = await running.connect()
    await running.phone.first_call()
    began = asyncio.get_running_loop().time()
    await running.service.stop(1.5)
    assert asyncio.get_running_loop().time() - began < 2.5
    await waiting
    idle.close()


async def test_a_running_request_is_finished_before_the_end(running: Running) -> None:
    client = running.unix()
    waiting = asyncio.gather(client.post("/v1/calls", json={"account": "front", "to": "200", "wait": "answered"}))
    call = await running.phone.first_call()
    stopping = asyncio.gather(running.service.stop(5.0))
    await running.phone.remote_answers(call)
    [response] = await waiting
    assert response.status_code == 201
    await stopping


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "api.sock"
    os.makedirs(path.parent)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    service = make(tmp_path)
    await service.start()
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as client:
        assert (await client.get("/healthz")).status_code == 200
    await service.stop(1.0)


async def test_a_second_daemon_is_refused_and_the_first_keeps_its_socket(running: Running, tmp_path: Path) -> None:
    second = make(tmp_path)
    with pytest.raises(ListenFailed, match="another phoned answers"):
        await second.start()
    assert (await running.unix().get("/healthz")).status_code == 200


async def test_a_file_in_the_place_of_the_socket_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(ListenFailed, match="is no socket"):
        await make(tmp_path, socket=str(tmp_path / "precious")).start()
    assert (tmp_path / "precious").read_text() == "data"


async def test_a_port_in_use_is_named_with_its_fix(running: Running, tmp_path: Path) -> None:
    other = make(tmp_path / "other", port=running.port)
    with pytest.raises(ListenFailed, match=rf"{running.port}.*Fix: \[api\] port"):
        await other.start()
    assert not exists(tmp_path / "other" / "run" / "api.sock")


async def test_a_path_that_is_too_long_is_named_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match="shorter path"):
        await make(tmp_path, socket="x" * 150).start()


async def test_somebody_elses_directory_keeps_its_mode(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    service = make(tmp_path, socket=str(home / "api.sock"))
    await service.start()
    assert stat.S_IMODE(os.stat(home).st_mode) == 0o755
    await service.stop(1.0)


# -- socket activation

ACTIVATED = """
import os, socket, sys
from api.listeners import inherited
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    found = inherited(os.environ)
except Exception as error:
    print(type(error).__name__)
else:
    print([sock.family.name for sock in found])
"""


def activated(*sockets: socket.socket) -> str:
    """What the service finds when systemd passes these as descriptors 3, 4, ..."""
    program = "import os,sys\n"
    for place, sock in enumerate(sockets):
        program += f"os.dup2({sock.fileno()}, {100 + place})\n"
    for place in range(len(sockets)):
        program += f"os.dup2({100 + place}, {3 + place})\n"
    done = subprocess.run(
        [sys.executable, "-c", program + ACTIVATED],
        env={**os.environ, "LISTEN_FDS": str(len(sockets) or 1)},
        pass_fds=[sock.fileno() for sock in sockets],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    return done.stdout.strip()


def test_sockets_of_systemd_are_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as tcp:
        unix.bind(str(tmp_path / "s"))
        tcp.bind(("127.0.0.1", 0))
        assert activated(unix, tcp) == "['AF_UNIX', 'AF_INET']"


def test_a_socket_of_systemd_that_is_not_local_is_refused() -> None:
    with socket.socket() as tcp:
        tcp.bind(("0.0.0.0", 0))
        assert activated(tcp) == "InvalidValue"


def test_a_datagram_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        assert activated(udp) == "InvalidValue"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_sockets_that_are_not_for_us_are_left_alone(environ: dict[str, str]) -> None:
    assert inherited(environ) == ()


def test_a_descriptor_that_is_no_socket_is_reported() -> None:
    with open(os.devnull) as file, pytest.raises(ListenFailed, match="no socket"):
        inherited({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}, first=file.fileno())


# -- configuration


@pytest.mark.parametrize(
    "table",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.2"},
        {"host": "localhost"},
        {"port": 70000},
        {"rate_per_s": 0},
        {"allowed_hosts": ["*"]},
        {"allowed_hosts": [""]},
        {"allowed_origins": ["null"]},
        {"allowed_origins": ["*"]},
        {"allowed_origins": ["https://x/path"]},
        {"allow_remote": True},
        {"socket": ""},
    ],
)
def test_tables_that_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ApiConfig"):
        ApiConfig(**table)


def test_names_and_origins_are_compared_in_lower_case() -> None:
    config = ApiConfig(
        allowed_hosts=("Phone.Example.Org",), allowed_origins=("HTTPS://Desk.Example.Org".replace("HTTPS", "https"),)
    )
    assert config.allowed_hosts == ("phone.example.org",)
    assert config.allowed_origins == ("https://desk.example.org",)


def test_a_bind_is_checked_again_where_it_is_made(tmp_path: Path) -> None:
    from api.listeners import tcp_listener

    with pytest.raises(InvalidValue):
        tcp_listener("0.0.0.0", 0)
    with tcp_listener("::1", 0) if socket.has_dualstack_ipv6() else tcp_listener("127.0.0.1", 0) as sock:
        assert sock.getsockname()[1] > 0
