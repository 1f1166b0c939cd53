"""`phoned sandbox` and `phoned demo` as processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from phoned.config.load import load_config
from phoned.daemon import Daemon
from phoned.sandbox import command, demo
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


def test_the_demo_tells_a_person_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(once=True, as_json=False) == 0
    text = capsys.readouterr().out
    assert "ok: the call survived" in text
    for step in ("registered", "call.answered", "call.dialog_verified", "call.ended"):
        assert step in text


@pytest.mark.parametrize("as_json", [True, False])
def test_orders_are_read_to_the_end_of_the_pipe(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"fault":"delay","ms":5}\n[1]\n' + b"x" * 5 + b"\n")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert command.run(listen="127.0.0.1:0", as_json=as_json) == 0
    *greeting, first, second, third = capsys.readouterr().out.splitlines()
    assert "ws://127.0.0.1:" in greeting[0]
    assert "'ok': True" in first.replace('"ok": true', "'ok': True")
    for answer in (second, third):
        assert "rror" in answer


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(listen="nonsense", as_json=True) == 2
    assert command.run(listen="192.0.2.1:5060", as_json=True) == 1
    assert "cannot listen on 192.0.2.1:5060" in capsys.readouterr().err
