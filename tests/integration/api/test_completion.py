"""Completion of the shell: commands by themselves, ids asked from the daemon, and nothing when it is away."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from phoned.model import RecordRequest
from tests.integration.api.conftest import Running

PHONECTL = str(Path(sys.executable).parent / "phonectl")


async def offered(line: str, *, shell: str = "bash", **environ: str) -> list[str]:
    """What the shell is given for this line; its last word is completed."""
    words = line.split(" ")
    base = {name: value for name, value in os.environ.items() if not name.startswith(("PHONED_", "XDG_"))}
    process = await asyncio.create_subprocess_exec(
        PHONECTL,
        env={
            **base,
            "_PHONECTL_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            **environ,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert err == b""
    return [line for line in out.decode().splitlines() if line]


async def test_calls_accounts_and_recordings_of_the_daemon(running: Running) -> None:
    running.phone.add_account("back")
    call = await running.phone.remote_calls()
    await running.phone.answer(call.id)
    ended = await running.phone.remote_calls()
    await running.phone.remote_hangs_up(ended.id)
    socket = {"PHONED_SOCKET": str(running.socket)}
    assert await offered("phonectl hangup ", **socket) == [call.id]
    assert await offered(f"phonectl hangup {call.id[:8]}", **socket) == [call.id]
    assert await offered("phonectl hangup call_x", **socket) == []
    assert set(await offered("phonectl stats ", **socket)) == {call.id, ended.id}
    assert set(await offered("phonectl register ", **socket)) == {"front", "back"}
    assert await offered("phonectl call --account b", **socket) == ["back"]
    assert await offered("phonectl transfer --replaces ", **socket) == [call.id]
    assert await offered(f"phonectl --socket {running.socket} retry f") == ["front"]
    [shown] = await offered("phonectl hangup ", shell="fish", **socket, _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert shown.split("\t")[0] == call.id
    assert "in active 200" in shown


@pytest.mark.parametrize("line", ["phonectl hangup ", "phonectl register ", "phonectl record --stop "])
async def test_nothing_is_offered_and_nothing_said_without_a_daemon(tmp_path: Path, line: str) -> None:
    assert await offered(line, PHONED_SOCKET=str(tmp_path / "none")) == []


async def test_a_daemon_that_does_not_answer_costs_a_second_at_most(tmp_path: Path) -> None:
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "s")
    assert await offered("phonectl hangup ", PHONED_SOCKET=str(tmp_path / "s")) == []
    assert asked
    server.close()


async def test_commands_complete_without_a_daemon() -> None:
    assert "hangup" in await offered("phonectl h")
    assert {"top", "transfer", "trace"} <= set(await offered("phonectl t"))


async def test_a_running_recording_is_offered_for_its_end(running: Running) -> None:
    call = await running.phone.remote_calls()
    await running.phone.answer(call.id)
    recording = await running.phone.record(call.id, RecordRequest())
    assert await offered("phonectl record --stop ", PHONED_SOCKET=str(running.socket)) == [recording.id]
