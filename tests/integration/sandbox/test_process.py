"""`phoned sandbox` and `phoned demo` as processes."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from phoned.config.load import load_config
from phoned.daemon import Daemon
from tests.support.phones import Watch

BUDGET_S = 60


@asynccontextmanager
async def phoned(*arguments: str, stdin: int = PIPE) -> AsyncIterator[Process]:
    """``phoned …`` as a process, which is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "phoned.cli", *arguments), stdin=stdin, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(BUDGET_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(await process.stdout.readline())


async def order(process: Process, text: str) -> Any:
    assert process.stdin is not None
    process.stdin.write(text.encode() + b"\n")
    return await line(process)


async def test_the_exchange_takes_orders_and_leaves_with_who_gave_them(tmp_path: Path) -> None:
    async with phoned("sandbox", "--json") as process:
        hello = await line(process)
        assert hello["url"].startswith("ws://127.0.0.1:")
        assert "echo" in hello["lines"]
        assert hello["users"]["alice"]

        secret = tmp_path / "secret"
        secret.touch(mode=0o600)
        secret.write_text(hello["users"]["alice"])
        config = tmp_path / "phoned.toml"
        config.write_text(
            f'[phone]\nstate_dir = "state"\n[[accounts]]\nid = "a"\naor = "sip:alice@{hello["domain"]}"\n'
            f'password_file = "secret"\noutbound_proxy = "{hello["url"]}"\n'
        )
        environ = {"RUNTIME_DIRECTORY": str(tmp_path / "run"), "HOME": str(tmp_path)}
        daemon = Daemon(load_config(config, environ=environ), plugins={})
        await daemon.start()
        watch = Watch(daemon.bus.subscribe(capacity=1000))
        await watch.until("account.registered")
        assert await order(process, '{"fault":"close"}') == {"ok": True, "fault": "close"}
        assert (await watch.until("account.reconnecting")).data["cause"] == "closed"
        await watch.until("account.reconnected")
        await daemon.stop()

        for nonsense in ("[]", "{", '{"fault":"fire"}', "x" * 100_000, "[" * 30_000):
            assert not (await order(process, nonsense))["ok"]
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0


async def test_the_exchange_without_an_input_runs_until_it_is_told_to_stop() -> None:
    async with phoned("sandbox", stdin=DEVNULL) as process:
        assert process.stdout is not None
        greeting = b""
        while b"faults as JSON" not in greeting:
            greeting += await process.stdout.readline()
        assert b"echo" in greeting
        process.terminate()
        assert await process.wait() == 0


async def test_a_listener_that_cannot_be_is_said_in_one_line() -> None:
    for listen, status in (("127.0.0.1:99999", 2), ("192.0.2.1:5060", 1)):
        async with phoned("sandbox", "--listen", listen) as process:
            _, errors = await process.communicate()
            assert process.returncode == status
            assert errors.count(b"\n") == 1


async def test_the_demo_hears_its_echo() -> None:
    async with phoned("demo", "--once", "--json") as process:
        out, errors = await process.communicate()
    report = json.loads(out)
    assert report["ok"], (report, errors)
    assert process.returncode == 0
    assert report["echo_correlation"] > 0.8
    assert report["error"] is None
    for figure in ("registered_ms", "setup_ms", "first_audio_ms", "recovered_ms"):
        assert 0 <= report[figure] < 15_000
    assert await asyncio.to_thread(Path(report["recording"]).exists)


@pytest.mark.long
async def test_the_demo_tells_a_person_what_happened() -> None:
    async with phoned("demo", "--once") as process:
        out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0
    assert "ok: the call survived" in text
    for step in ("registered", "call.answered", "call.dialog_verified", "call.ended"):
        assert step in text
