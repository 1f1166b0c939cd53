"""The doctor and a phone that is broken in one place: it names that place, its fix, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phoned.doctor.chain import broken
from phoned.transport.resolver import Endpoint
from tests.integration.transport.servers import raw_server, sip_server
from tests.support.certificate import Certificate
from tests.support.child import free_ports, missing
from tests.support.clinic import Clinic, found, not_run, only_broken


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Clinic]:
    async with Clinic(tmp_path) as made:
        yield made


ALL = ["configuration", "secrets", "disk", "opus", "media", "audio", "dns", "tcp", "tls", "websocket", "register"]


async def test_nothing_is_broken_at_a_good_exchange(clinic: Clinic) -> None:
    await clinic.open()
    view = await clinic.examine()
    assert [(check.name, check.ok) for check in view.checks] == [(name, True) for name in [*ALL, "clock"]], view
    assert view.ok
    assert "registered for 60 s and removed" in found(view, "register").detail
    assert "TLSv1.3, certificate until" in found(view, "tls").detail
    assert found(view, "clock").detail == "as that of 127.0.0.1"
    assert (found(view, "tls").account, found(view, "tls").proxy) == ("front", "primary")
    assert clinic.exchange.exchange.binding("alice") is None
    assert sorted(path.name for path in clinic.home.iterdir()) == [
        "alice.secret", "phoned.toml", "server.key", "server.pem",
    ]  # fmt: skip  # nothing was written, not even the state directory


async def test_1_bad_dns(clinic: Clinic) -> None:
    def lookup(host: str, port: int) -> list[Endpoint]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    clinic.around = replace(clinic.around, lookup=lookup)
    clinic.write("wss://edge.example.invalid/ws")
    view = await clinic.examine()
    check = only_broken(view)
    assert (check.name, check.account) == ("dns", "front")
    assert check.detail == "edge.example.invalid: Name or service not known"
    assert check.fix is not None
    assert "getent hosts edge.example.invalid" in check.fix
    assert not_run(view) == ["tcp", "tls", "websocket", "register", "clock"]


async def test_2_refused_port(clinic: Clinic) -> None:
    [port] = free_ports(1)
    clinic.write(f"wss://127.0.0.1:{port}/")
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "tcp"
    assert f"nothing listens at 127.0.0.1:{port}" in (check.fix or "")
    assert not_run(view) == ["tls", "websocket", "register", "clock"]


async def test_3_tls_name_mismatch(clinic: Clinic) -> None:
    await clinic.open(Certificate(clinic.home, "other.example.org", "192.0.2.1", label="other"))
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "tls"
    assert "the certificate is for other.example.org, 192.0.2.1" in (check.fix or "")
    assert not_run(view) == ["websocket", "register", "clock"]


async def test_4_expired_certificate(clinic: Clinic) -> None:
    await clinic.open(Certificate(clinic.home, "127.0.0.1", expired=True, label="old"))
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "tls"
    assert "expired" in check.detail
    ended = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    assert f"renew the certificate of 127.0.0.1 on the server (it ended {ended}" in (check.fix or "")


async def test_4b_a_certificate_of_an_unknown_signer(clinic: Clinic) -> None:
    await clinic.open()
    stranger = Certificate(clinic.home, "127.0.0.1", label="stranger")
    text = await asyncio.to_thread(clinic.config.read_text)
    await asyncio.to_thread(clinic.config.write_text, text.replace("server.pem", stranger.file.name))
    check = only_broken(await clinic.examine())
    assert check.name == "tls"
    assert "ca_file" in (check.fix or "")


async def test_4c_no_tls_at_the_port(clinic: Clinic) -> None:
    await clinic.open(tls=False)
    clinic.write(clinic.url.replace("ws://", "wss://"))
    check = only_broken(await clinic.examine())
    assert check.name == "tls"
    assert "begins with ws://" in (check.fix or "")


async def test_4d_a_pin_that_is_not_the_servers(clinic: Clinic) -> None:
    await clinic.open()
    clinic.write(clinic.url, more=f'pin_sha256 = ["{"ab" * 32}"]')
    check = only_broken(await clinic.examine())
    assert check.name == "tls"
    assert "[accounts.tls] pin_sha256" in (check.fix or "")


async def test_5_no_subprotocol(clinic: Clinic) -> None:
    certificate = Certificate(clinic.home, "localhost", "127.0.0.1")
    async with sip_server(context=certificate.context, subprotocol=None) as url:
        clinic.write(url)
        view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "websocket"
    assert "subprotocol 'sip'" in (check.fix or "")
    assert not_run(view) == ["register"]


@pytest.mark.parametrize(
    ("status", "said"), [(404, "check the path"), (403, "lets nobody in"), (503, "not well"), (426, "no SIP-over-")]
)
async def test_5b_an_upgrade_that_is_refused(clinic: Clinic, status: int, said: str) -> None:
    await clinic.open()
    clinic.exchange.order({"fault": "refuse", "status": status})
    check = only_broken(await clinic.examine())
    assert check.name == "websocket"
    assert said in (check.fix or "")


async def test_6_wrong_password(clinic: Clinic) -> None:
    await clinic.open()
    clinic.write(clinic.url, password="not-hers")
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "register"
    assert "'alice': 403 Forbidden" in check.detail
    assert "wrong password or user name" in (check.fix or "")
    assert "not-hers" not in str(view)
    assert not_run(view) == []


async def test_6b_a_registrar_that_is_silent(clinic: Clinic) -> None:
    await clinic.open()
    clinic.exchange.order({"fault": "mute", "on": True})
    check = only_broken(await clinic.examine())
    assert check.name == "register"
    assert "no answer to REGISTER" in check.detail


async def test_7_dead_stun_and_turn(clinic: Clinic) -> None:
    await clinic.open()
    [dead, relay] = free_ports(2)
    secret = clinic.home / "turn.secret"
    secret.touch(mode=0o600)
    await asyncio.to_thread(secret.write_text, "x")
    clinic.write(
        clinic.url,
        more=f'[media]\nstun = ["stun:127.0.0.1:{dead}"]\n[[media.turn]]\nurl = "turn:127.0.0.1:{relay}"\n'
        'username = "u"\ncredential_file = "turn.secret"\n',
    )
    view = await clinic.examine()
    assert [check.name for check in broken(view.checks)] == ["stun", "turn"]
    assert f"127.0.0.1:{dead}" in found(view, "stun").detail
    assert "[media] stun" in (found(view, "stun").fix or "")
    assert "[media] turn" in (found(view, "turn").fix or "")
    assert not_run(view) == []


async def test_8_no_room_on_the_disk(clinic: Clinic) -> None:
    await clinic.open()
    clinic.around = replace(clinic.around, free_bytes=lambda directory: 5 * 2**20)
    check = only_broken(await clinic.examine())
    assert check.name == "disk"
    assert "5 MiB free" in check.detail
    assert "make room" in (check.fix or "")


async def test_8b_a_state_directory_that_cannot_be(clinic: Clinic) -> None:
    await clinic.open()
    (clinic.home / "state").touch()
    check = only_broken(await clinic.examine())
    assert check.name == "disk"
    assert "is no directory" in check.detail


async def test_9_a_clock_that_is_behind_the_certificate(clinic: Clinic) -> None:
    await clinic.open(Certificate(clinic.home, "127.0.0.1", early=True, label="early"))
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "clock"
    assert "the certificate of 127.0.0.1 is not valid yet (from " in check.detail
    assert "timedatectl set-ntp true" in (check.fix or "")
    assert not_run(view) == ["tls", "websocket", "register"]
    assert "see clock" in found(view, "tls").detail


async def test_9b_a_clock_that_is_far_from_the_servers(clinic: Clinic) -> None:
    await clinic.open()
    clinic.around = replace(clinic.around, clock=lambda: datetime.now(UTC) - timedelta(hours=3))
    check = only_broken(await clinic.examine())
    assert check.name == "clock"
    assert "3 h behind 127.0.0.1" in check.detail
    assert "timedatectl" in (check.fix or "")


async def test_10_missing_opus(clinic: Clinic) -> None:
    await clinic.open()
    clinic.around = replace(clinic.around, opus_version=lambda: None)
    check = only_broken(await clinic.examine())
    assert check.name == "opus"
    assert "apt install libopus0" in (check.fix or "")
    clinic.write(clinic.url, more='[media]\ncodecs = ["pcmu"]')
    view = await clinic.examine()
    assert view.ok  # nobody asked for it
    assert not_run(view) == ["opus"]


async def test_11_a_secret_that_others_can_read(clinic: Clinic) -> None:
    await clinic.open()
    clinic.secret.chmod(0o644)
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "secrets"
    assert check.fix == f"chmod 600 {clinic.secret}"
    assert not_run(view) == ["disk", "audio", "dns", "tcp", "tls", "websocket", "register", "clock"]
    assert found(view, "media").ok  # what needs no configuration is looked at all the same


async def test_12_a_bad_configuration(clinic: Clinic) -> None:
    await clinic.open()
    clinic.write(clinic.url, account="outbond_proxy = 1")
    view = await clinic.examine()
    check = only_broken(view)
    assert check.name == "configuration"
    assert "did you mean 'outbound_proxy'" in check.detail
    assert "check-config" in (check.fix or "")
    assert "secrets" in not_run(view)


async def test_a_server_that_hangs_up_in_the_upgrade(clinic: Clinic) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with raw_server(hang_up) as port:
        clinic.write(f"ws://127.0.0.1:{port}/")
        check = only_broken(await clinic.examine())
    assert check.name == "websocket"
    assert "names its SIP-over-WebSocket port" in (check.fix or "")


async def test_a_check_that_crashes_takes_nothing_down(clinic: Clinic) -> None:
    def crash(account: str) -> None:
        raise RuntimeError("a bug")

    await clinic.open()
    clinic.around = replace(clinic.around, account=crash)
    check = only_broken(await clinic.examine())
    assert (check.name, check.detail) == ("register", "the check itself crashed")


async def test_when_the_time_is_up_the_rest_is_not_run(clinic: Clinic) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(silent) as port:
        clinic.write(f"wss://127.0.0.1:{port}/")
        view = await clinic.examine(deadline_s=0.0)
    assert broken(view.checks) == []
    assert {check.detail for check in view.checks if check.name == "tls"} == {"not run: the time was up"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(os.geteuid() != 0 and not shutil.which("unshare"), reason="needs a mount namespace")
def test_a_disk_that_is_really_full_and_one_that_is_read_only(tmp_path: Path) -> None:
    """The command, in a mount namespace of its own with a small tmpfs as the state directory."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=10, check=False).returncode != 0:
        missing("unshare -m is not allowed here")
    config = tmp_path / "phoned.toml"
    state = tmp_path / "state"
    state.mkdir()
    config.write_text(f'[phone]\nstate_dir = "{state}"\n')
    doctor = f"{sys.executable} -m phoned.cli doctor --config {config}"
    full = (
        f"mount -t tmpfs -o size=64k none {state} && dd if=/dev/zero of={state}/x bs=64k count=1 status=none; {doctor}"
    )
    locked = f"mount -t tmpfs -o ro none {state} && {doctor}"
    for script, said in ((full, "make room"), (locked, "mount it writable")):
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, done
        assert said in done.stdout
        assert "1 thing is broken:\n  disk: " in done.stdout
