"""`phonectl` against the running service: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.ctl import client as ctl
from api.ctl.client import Client, Failure, Target, find_target, usual_sockets
from api.ctl.whole import app
from phoned import errors
from phoned.config.places import default_runtime_dir, default_state_dir
from phoned.model import AccountState, OutboundProxyView
from tests.integration.api.conftest import Running
from tests.unit.api.test_trace import TRACE


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


async def phonectl(running: Running | None, *args: str, **environ: str) -> Done:
    """Run in a thread, as its client blocks."""
    env = {"PHONED_TOKEN": "", "PHONED_URL": "", "XDG_RUNTIME_DIR": "", "PHONED_SOCKET": ""}
    if running is not None:
        env["PHONED_SOCKET"] = str(running.socket)
    result = await asyncio.to_thread(CliRunner().invoke, app, list(args), env={**env, **environ})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


async def test_status_for_people_and_for_programs(running: Running) -> None:
    people = await phonectl(running, "status")
    assert people.code == ctl.OK
    assert "phoned 0.1.0 on test" in people.out
    assert "online" in people.out
    for args in (("--json", "status"), ("status", "--json")):
        programs = await phonectl(running, *args)
        assert json.loads(programs.out)["calls"] == {"active": 0, "capacity": 50}


async def test_a_call_from_end_to_end(running: Running) -> None:
    placed = await phonectl(running, "call", "200", "--json")
    call = json.loads(placed.out)["id"]
    await running.phone.remote_answers(call)
    assert call in (await phonectl(running, "calls")).out
    for args in (
        ("hold",),
        ("unhold",),
        ("mute",),
        ("unmute",),
        ("dtmf", "12#"),
        ("stats",),
        ("play", "a.wav"),
        ("play", "--url", "https://sounds.example.org/news.mp3"),
        ("play", "a.wav", "--then", "b.ogg", "--times", "2", "--duration-ms", "5000"),
        ("collect", "pin.wav"),
    ):
        done = await phonectl(running, *args)
        assert done.code == ctl.OK, (args, done.err)
    assert (await phonectl(running, "play", "--tone", "440", "--json")).code == ctl.OK
    recording = json.loads((await phonectl(running, "record", call, "--json")).out)
    assert recording["state"] == "recording"
    stopped = await phonectl(running, "record", "--stop", recording["id"], "--json")
    assert json.loads(stopped.out)["state"] == "finished"
    assert (await phonectl(running, "hangup")).code == ctl.OK
    assert "no calls" in (await phonectl(running, "calls")).out
    assert "completed by local" in (await phonectl(running, "calls", "--all")).out


async def test_a_trace_is_a_ladder_json_or_a_capture(running: Running, tmp_path: Path) -> None:
    call = json.loads((await phonectl(running, "call", "200", "--json")).out)["id"]
    await running.phone.remote_answers(call)
    running.phone.traces[call] = replace(TRACE, call=call)
    people = await phonectl(running, "trace")
    assert people.out.splitlines()[0] == f"{call}  Call-ID abc"
    assert "INVITE sip:200@example.org" in people.out
    programs = json.loads((await phonectl(running, "trace", call, "--json")).out)
    assert len(programs["messages"]) == 3
    file = tmp_path / "call.pcap"
    assert (await phonectl(running, "trace", "--pcap", str(file))).code == ctl.OK
    assert file.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"
    assert (await phonectl(running, "trace", "--pcap", str(tmp_path / "no" / "such"))).code == ctl.ERROR


async def test_the_way_out_is_shown_and_repaired_by_hand(running: Running) -> None:
    assert "generation 1 (fake)" in (await phonectl(running, "network")).out
    assert "generation 2" in (await phonectl(running, "network", "--changed")).out
    assert json.loads((await phonectl(running, "network", "--json")).out)["generation"] == 2
    assert "online" in (await phonectl(running, "retry")).out
    assert (await phonectl(running, "retry", "nobody")).code == ctl.NOT_FOUND
    call = json.loads((await phonectl(running, "call", "200", "--json")).out)["id"]
    await running.phone.remote_answers(call)
    assert call in (await phonectl(running, "reinvite", "--ice-restart")).out
    assert "draining" in (await phonectl(running, "drain")).out
    assert (await phonectl(running, "call", "200")).code == ctl.ERROR
    assert "draining" not in (await phonectl(running, "drain", "--off")).out


async def test_text_is_sent(running: Running) -> None:
    sent = await phonectl(running, "message", "sip:200@example.org", "hello")
    assert (sent.code, sent.out.split()[0]) == (ctl.OK, "sent")
    assert (await phonectl(running, "message", "112", "help")).code == ctl.NOT_ANSWERED


async def test_incoming_calls(running: Running) -> None:
    await running.phone.remote_calls()
    assert "active" in (await phonectl(running, "answer")).out
    call = await running.phone.remote_calls("sip:\x1b[2Jevil@example.org")
    shown = await phonectl(running, "calls")
    assert "\x1b" not in shown.out
    assert (await phonectl(running, "reject", "--code", "603")).code == ctl.OK
    end = running.phone.call(call.id).end
    assert end is not None
    assert end.sip_code == 603


async def test_accounts(running: Running) -> None:
    assert "sip:front@example.org" in (await phonectl(running, "accounts")).out
    assert "off" in (await phonectl(running, "unregister", "front")).out
    assert "online" in (await phonectl(running, "register", "front")).out


async def test_waiting_for_an_answer(running: Running) -> None:
    calling = asyncio.gather(phonectl(running, "call", "200", "--wait", "answered", "--json"))
    await running.phone.remote_answers(await running.phone.first_call())
    [done] = await calling
    assert (done.code, json.loads(done.out)["state"]) == (ctl.OK, "active")


async def test_exit_6_when_the_call_was_refused(running: Running) -> None:
    calling = asyncio.gather(phonectl(running, "call", "200", "--wait", "answered"))
    await running.phone.remote_refuses(await running.phone.first_call(), 486, "Busy Here")
    [done] = await calling
    assert done.code == ctl.NOT_ANSWERED
    assert "486 Busy Here" in done.err
    assert done.out == ""


async def test_exit_6_when_nobody_answered(running: Running) -> None:
    done = await phonectl(running, "call", "200", "--wait", "answered", "--timeout", "1", "--json")
    assert done.code == ctl.NOT_ANSWERED
    assert done.out == ""
    assert "deadline_exceeded" in done.err


async def test_exit_8_when_the_daemon_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "api.sock"))
        silent.listen()
        client = Client(Target(socket=str(tmp_path / "api.sock")), timeout_s=0.05)
        with contextlib.closing(client), pytest.raises(Failure) as ended:
            client.get("/v1/status")
    assert ended.value.code == ctl.TIMEOUT


async def test_exit_3_without_a_daemon(tmp_path: Path) -> None:
    done = await phonectl(None, "--socket", str(tmp_path / "none"), "status")
    assert done.code == ctl.UNREACHABLE
    assert "phoned run" in done.err
    done = await phonectl(None, "status", PHONED_URL="http://127.0.0.1:9")
    assert done.code == ctl.UNREACHABLE
    done = await phonectl(None, "events", "--follow", PHONED_URL="http://127.0.0.1:9")
    assert done.code == ctl.UNREACHABLE


def test_a_daemon_is_looked_for_where_it_listens_with_and_without_a_session(tmp_path: Path) -> None:
    bare = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    state = default_state_dir(bare)
    assert usual_sockets(bare) == ["/run/phoned/api.sock", str(state / "run" / "api.sock")]
    session = {**bare, "XDG_RUNTIME_DIR": str(tmp_path / "session")}
    assert usual_sockets(session) == [str(default_runtime_dir(session, state) / "api.sock"), *usual_sockets(bare)]
    listening = Path(usual_sockets(session)[0])
    listening.parent.mkdir(parents=True)
    listening.touch()
    assert find_target(None, None, None, session).socket == str(listening)


async def test_exit_4_and_5(running: Running) -> None:
    assert (await phonectl(running, "hangup", "call_none")).code == ctl.NOT_FOUND
    assert (await phonectl(running, "hangup")).code == ctl.NOT_FOUND
    assert (await phonectl(running, "register", "nobody")).code == ctl.NOT_FOUND
    call = await running.phone.remote_calls()
    held = await phonectl(running, "hold", call.id)
    assert held.code == ctl.WRONG_STATE
    assert "works when: active" in held.err
    await running.phone.remote_hangs_up(call.id)
    assert (await phonectl(running, "answer", call.id)).code == ctl.WRONG_STATE


async def test_a_move_to_a_backup_that_there_is_not_says_what_to_give_the_account(running: Running) -> None:
    alone = OutboundProxyView(active="wss://a.example.org/", primary="wss://a.example.org/")
    running.phone.set_account("front", outbound_proxy=alone)
    moved = await phonectl(running, "proxy", "front", "backup")
    assert moved.code == ctl.WRONG_STATE
    assert "outbound_proxy_backup" in moved.err
    assert "phonectl calls" not in moved.err


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("call",),
        ("call", "200", "--wait", "forever"),
        ("call", "200", "--timeout", "0"),
        ("play",),
        ("play", "a.wav", "--tone", "440"),
        ("play", "--url", "https://x.test/a.wav", "--tone", "440"),
        ("play", "--tone", "440", "--then", "b.wav"),
        ("hangup", "../accounts"),
        ("dtmf", "hello", "call_1"),
        ("--socket", "a", "--url", "b", "status"),
        ("--token-file", "/nonexistent", "status"),
        ("--url", "http://[broken", "status"),
        ("--url", "127.0.0.1:8760", "status"),
        ("events", "--after", "-1"),
    ],
)
async def test_exit_2_for_usage(running: Running, args: tuple[str, ...]) -> None:
    done = await phonectl(running, *args)
    assert done.code == ctl.USAGE, done
    assert done.err


async def test_a_choice_is_left_to_the_user(running: Running) -> None:
    running.phone.add_account("back")
    done = await phonectl(running, "call", "200")
    assert (done.code, "front, back" in done.err) == (ctl.USAGE, True)
    assert (await phonectl(running, "call", "200", "--account", "back")).code == ctl.OK
    await running.phone.remote_calls()
    assert (await phonectl(running, "hangup")).code == ctl.USAGE


async def test_exit_7_for_tokens(running: Running, tmp_path: Path) -> None:
    url = ("--url", f"http://127.0.0.1:{running.port}")
    missing = await phonectl(None, *url, "status")
    assert missing.code == ctl.AUTH
    assert "phoned token" in missing.err
    assert (await phonectl(None, *url, "status", PHONED_TOKEN="phoned_x")).code == ctl.AUTH
    assert (await phonectl(None, *url, "status", PHONED_TOKEN="two words")).code == ctl.AUTH
    read = running.token("read")
    assert (await phonectl(None, *url, "call", "200", "--account", "front", PHONED_TOKEN=read)).code == ctl.AUTH
    await asyncio.to_thread((tmp_path / "token").write_text, read + "\n")
    assert (await phonectl(None, *url, "--token-file", str(tmp_path / "token"), "status")).code == ctl.OK


async def test_exit_1_for_everything_else_and_errors_as_json(running: Running) -> None:
    running.phone.set_account("front", state=AccountState.BACKOFF)
    done = await phonectl(running, "call", "200", "--json")
    assert done.code == ctl.ERROR
    problem = json.loads(done.err)
    assert (problem["code"], problem["exit_code"]) == ("not_registered", ctl.ERROR)
    running.phone.set_account("front", state=AccountState.ONLINE)
    assert "emergencies" in (await phonectl(running, "call", "112")).err
    running.phone.refusal = errors.InternalError("x")
    call = await running.phone.remote_calls()
    await running.phone.answer(call.id)
    assert (await phonectl(running, "hold")).code == ctl.ERROR


async def test_events_as_lines(running: Running) -> None:
    call = await running.phone.remote_calls()
    await running.bus.flush()
    people = await phonectl(running, "events")
    assert f"call={call.id}" in people.out
    programs = await phonectl(running, "events", "--json", "--after", "0")
    assert [json.loads(line)["type"] for line in programs.out.splitlines()] == ["call.incoming"]


async def test_following_events_as_ndjson(running: Running) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        # a job in the background of a shell inherits an ignored SIGINT; a person at a terminal does not
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from api.ctl import main; main()",
        "--socket",
        str(running.socket),
        "events",
        "--follow",
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert json.loads(await process.stdout.readline())["type"] == "events.snapshot"
            await running.phone.remote_calls()
            assert json.loads(await process.stdout.readline())["type"] == "call.incoming"
            process.send_signal(signal.SIGINT)
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 130


async def test_another_server_is_recognised(running: Running) -> None:
    async def teapot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\n\r\ntea")
        writer.close()

    server = await asyncio.start_server(teapot, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    done = await phonectl(None, "--url", f"http://127.0.0.1:{port}", "status")
    assert (done.code, "not an answer of phoned" in done.err) == (ctl.ERROR, True)
    server.close()


def printed(program: str) -> str:
    """What a fresh interpreter prints: nothing is loaded that the program has not loaded."""
    command = [sys.executable, "-c", program]
    root = Path(__file__).parents[3]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root).stdout


def test_it_starts_without_the_server() -> None:
    program = (
        "import sys; import api.ctl.commands; "
        "print({'fastapi', 'uvicorn', 'pydantic', 'starlette', 'aiortc'} & set(sys.modules))"
    )
    assert printed(program).strip() == "set()"


def test_a_request_loads_no_terminal_decoration() -> None:
    program = (
        "import sys; from pathlib import Path; from api.ctl.whole import app; from api.ctl import client;"
        "print('httpx' in sys.modules); client.Client(client.Target(url='http://127.0.0.1:1')).close();"
        "print('httpx' in sys.modules, {'rich', 'pygments', 'click'} & set(sys.modules))"
    )
    assert printed(program).splitlines() == ["False", "True set()"]
