"""A process that really stood still notices it."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

WATCH = """
import asyncio
from phoned.network.suspend import SuspendWatch
async def main():
    print("watching", flush=True)
    await SuspendWatch(lambda gap: print(gap.kind.value, round(gap.seconds), flush=True)).run()
asyncio.run(main())
"""


@pytest.mark.long
async def test_a_stopped_process_tells_of_it_when_it_goes_on() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", WATCH, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await child.stdout.readline() == b"watching\n"
            await asyncio.sleep(1.5)  # real time is what this test is about
            child.send_signal(signal.SIGSTOP)
            await asyncio.sleep(8)
            child.send_signal(signal.SIGCONT)
            kind, seconds = (await child.stdout.readline()).split()
    finally:
        child.kill()
        await child.wait()
    assert kind == b"stalled"
    assert 6 <= int(seconds) <= 9
