"""`phonectl top` on a terminal, in a pipe and for a program, at the running service."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from api.ctl import client as ctl
from tests.integration.api.conftest import Running
from tests.integration.api.test_phonectl import phonectl
from tests.support.terminal import Terminal

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
PHONECTL = str(Path(sys.executable).parent / "phonectl")


def terminal(running: Running, *more: str) -> Terminal:
    return Terminal([PHONECTL, "--socket", str(running.socket), "top", *more])


async def at(running: Running, work: Callable[[Terminal], None], *more: str) -> Terminal:
    """``work`` in a thread: the service lives on this loop."""
    made = terminal(running, *more)
    with made:
        await asyncio.to_thread(work, made)
    return made


async def test_a_page_that_follows_the_events_and_gives_the_terminal_back(running: Running) -> None:
    loop = asyncio.get_running_loop()

    def happen(coroutine: object) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)  # type: ignore[arg-type]  # of a method

    def work(at: Terminal) -> None:
        at.until("1 of 1 accounts online, 0 calls")
        assert at.mode()[3] != at.mode_before[3]  # keys come one by one, unseen
        happen(running.phone.remote_calls())
        at.until("ringing")
        at.type("x")  # means nothing
        at.type("q")
        assert at.wait() == ctl.OK
        assert at.mode() == at.mode_before

    shown = (await at(running, work)).shown
    assert shown.startswith(ENTER)
    assert shown.rstrip().endswith(LEAVE)
    assert "\x1b[?25l" in shown
    assert "\x1b[?25h" in shown


async def test_ctrl_c_and_sigterm_give_the_terminal_back(running: Running) -> None:
    def interrupted(at: Terminal) -> None:
        at.until("accounts online")
        at.type("\x03")
        assert at.wait() == 130
        assert at.mode() == at.mode_before

    def terminated(at: Terminal) -> None:
        at.until("accounts online")
        at.signal(signal.SIGTERM)
        assert at.wait() == 128 + signal.SIGTERM
        assert at.mode() == at.mode_before

    for work in (interrupted, terminated):
        assert (await at(running, work)).shown.rstrip().endswith(LEAVE)


async def test_as_many_pictures_as_asked_for_and_no_line_more_than_there_is_room(running: Running) -> None:
    for index in range(6):
        running.phone.add_account(f"a{index}")

    def work(at: Terminal) -> None:
        at.resize(4, 100)
        assert at.wait() == ctl.OK

    shown = (await at(running, work, "-n", "2", "--interval", "0.1")).shown
    assert shown.count("7 of 7 accounts online") in (1, 2)  # the first may be drawn before the window is small
    assert "a5" not in shown.rpartition("\x1b[H")[2]


async def test_ndjson_for_programs_and_plain_text_in_a_pipe(running: Running) -> None:
    call = await running.phone.remote_calls()
    await running.bus.flush()
    programs = await phonectl(running, "top", "--json", "--count", "2", "--interval", "0.1")
    assert programs.code == ctl.OK
    first, second = map(json.loads, programs.out.splitlines())
    assert set(first) == {"time", "connected", "accounts", "calls"}
    assert [view["id"] for view in second["calls"]] == [call.id]
    assert second["calls"][0]["quality"] is None
    people = await phonectl(running, "top", "-n", "1")
    assert people.code == ctl.OK
    assert "\x1b" not in people.out
    assert call.id in people.out


async def test_exit_codes(running: Running) -> None:
    assert (await phonectl(None, "top", PHONED_URL="http://127.0.0.1:9")).code == ctl.UNREACHABLE
    assert (await phonectl(running, "top", "--interval", "0")).code == ctl.USAGE
    assert (await phonectl(None, "--url", f"http://127.0.0.1:{running.port}", "top")).code == ctl.AUTH


async def test_a_reader_that_leaves_is_no_error(running: Running) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{PHONECTL} --socket {running.socket} top --json --interval 0.1 | head -n 1; exit ${{PIPESTATUS[0]}}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        executable="/bin/bash",
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["connected"] is True


async def test_a_daemon_that_went_away_is_told_of_and_looked_for(running: Running) -> None:
    loop = asyncio.get_running_loop()

    def work(at: Terminal) -> None:
        at.until("accounts online")
        asyncio.run_coroutine_threadsafe(running.service.stop(1.0), loop).result(20)
        at.until("connection lost, looking for the daemon")
        at.type("q")
        assert at.wait() == ctl.OK

    await at(running, work)


async def test_colours_are_for_terminals_alone(running: Running) -> None:
    def work(at: Terminal) -> None:
        assert at.wait() == ctl.OK

    command = [PHONECTL, "--socket", str(running.socket), "accounts"]
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(command, environment=environment) as coloured_or_not:
            await asyncio.to_thread(work, coloured_or_not)
        assert ("\x1b[32m" in coloured_or_not.shown) is coloured
    assert "\x1b" not in (await phonectl(running, "accounts")).out
