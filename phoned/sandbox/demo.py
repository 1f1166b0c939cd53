"""`phoned demo`: the whole phone against the exchange in a box, measured.

It starts the exchange as a process of its own and the daemon on free loopback ports, registers, calls the echo line,
plays a melody, records both sides, cuts the WebSocket under the call, waits for the repair, hangs up, and says what it
measured. Exit 0 only if the echo was really heard and the call survived.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phoned.config.load import load_config
from phoned.daemon import Daemon
from phoned.errors import PhonedError, UnavailableError
from phoned.events import Event, Subscription
from phoned.model import CallRequest, PlayRequest, RecordRequest
from phoned.sandbox.measure import echo_of, melody, read_stereo, write_wav
from phoned.sandbox.server import DOMAIN, USERS
from phoned.service import installed_services
from phoned.store.logins import CODE_LIFE, console_link, issue_login
from phoned.store.tokens import issue_token

RATE = 16_000
MELODY_S = 7.0
BEFORE_CUT_S, AFTER_REPAIR_S = 2.5, 2.5
LEAST_CORRELATION = 0.8
STEP_BUDGET_S = 15.0
ACCOUNT = "demo"

CONFIG = """\
[phone]
state_dir = "state"
[[accounts]]
id = "demo"
aor = "sip:alice@{domain}"
password_file = "alice.secret"
outbound_proxy = "{url}"
[media]
allow_loopback = true
[api]
port = {port}
"""


@dataclass(slots=True, kw_only=True)
class Report:
    """What is printed: times in milliseconds since the step began."""

    ok: bool = False
    registered_ms: int | None = None
    setup_ms: int | None = None
    first_audio_ms: int | None = None
    echo_level_db: float | None = None
    echo_correlation: float | None = None
    recovered_ms: int | None = None
    audio_gap_ms: int | None = None
    recording: str | None = None
    error: str | None = None


def run(*, once: bool, as_json: bool) -> int:
    """The exit status of `phoned demo`."""
    stay = not once and not as_json and sys.stdout.isatty()
    return asyncio.run(_run(stay, as_json))


async def _run(stay: bool, as_json: bool) -> int:
    report = Report()
    home = Path(tempfile.mkdtemp(prefix="phoned-demo-"))

    def say(text: str) -> None:
        if not as_json:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    async with _exchange() as (url, exchange):
        port = _free_port()
        daemon = Daemon(load_config(_write_config(home, url, port), models=_models(), environ=_environment(home)))
        heard = _Heard()
        try:
            await daemon.start()
            try:
                heard.listen(daemon)
                await _play(daemon, heard, exchange, home, report, say)
            except (PhonedError, TimeoutError) as error:
                report.error = getattr(error, "detail", "") or f"{type(error).__name__}: the step took too long"
            _print(report, heard, as_json)
            if stay:
                await _stay(home, port, say)
        finally:
            heard.close()
            await daemon.stop()
    return 0 if report.ok else 1


async def _play(
    daemon: Daemon, heard: _Heard, exchange: asyncio.subprocess.Process, home: Path, report: Report, say: Any
) -> None:
    loop, phone = asyncio.get_running_loop(), daemon.phone
    began = loop.time()
    await heard.first("account.registered")
    report.registered_ms = _ms(loop.time() - began)
    say(f"registered sip:alice@{DOMAIN} in {report.registered_ms} ms")

    began = loop.time()
    call = await phone.place_call(CallRequest(account=ACCOUNT, to="echo", timeout_s=STEP_BUDGET_S), wait="answered")
    report.setup_ms = _ms(loop.time() - began)
    await heard.first("call.updated", lambda data: data["call"].media.state == "flowing")
    report.first_audio_ms = _ms(loop.time() - began)
    say(f"called the echo line: answered in {report.setup_ms} ms, first audio after {report.first_audio_ms} ms")

    recording = await phone.record(call.id, RecordRequest())
    await phone.play(call.id, PlayRequest(file="melody.wav"))
    say("playing a melody, recording both sides")
    await asyncio.sleep(BEFORE_CUT_S)

    began = loop.time()
    await _order(exchange, {"fault": "close"})
    await heard.first("call.dialog_verified")
    report.recovered_ms = _ms(loop.time() - began)
    say(f"cut the WebSocket under the call: registered and re-INVITEd again in {report.recovered_ms} ms")
    await asyncio.sleep(AFTER_REPAIR_S)

    finished = await phone.control_recording(recording.id, "stop")
    survived = not phone.call(call.id).end
    await phone.hangup(call.id)
    await heard.first("call.ended")
    path = home / "state" / "recordings" / finished.file
    report.recording = str(path)
    said, back, rate = await asyncio.to_thread(read_stereo, path)
    echo = await asyncio.to_thread(echo_of, said, back, rate)
    report.echo_correlation, report.echo_level_db = echo.correlation, echo.level_db
    report.audio_gap_ms = echo.longest_gap_ms
    report.ok = survived and echo.correlation > LEAST_CORRELATION
    if not report.ok:
        report.error = "the call did not survive" if not survived else "the echo was not heard"


class _Heard:
    """The daemon's events, kept in order, for waiting and for the table at the end."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._subscription: Subscription | None = None
        self._more = asyncio.Event()
        self._seen = 0

    def listen(self, daemon: Daemon) -> None:
        self._subscription = daemon.bus.subscribe(capacity=10_000)
        daemon.spawn("demo", self._collect(self._subscription))

    async def _collect(self, subscription: Subscription) -> None:
        async for event in subscription:
            self.events.append(event)
            self._more.set()

    async def first(self, type_: str, matches: Any = lambda data: True) -> Event:
        """The next event of that type that nobody waited for yet. Raises TimeoutError."""
        async with asyncio.timeout(STEP_BUDGET_S):
            while True:
                while self._seen < len(self.events):
                    event = self.events[self._seen]
                    self._seen += 1
                    if event.type == type_ and matches(event.data):
                        return event
                self._more.clear()
                await self._more.wait()

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()


@asynccontextmanager
async def _exchange() -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The exchange as a process; gives its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "phoned.cli", "sandbox", "--listen", "127.0.0.1:0", "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(STEP_BUDGET_S):
            line = await process.stdout.readline() if process.stdout else b""
        if not line:
            raise UnavailableError("the exchange did not start")
        yield json.loads(line)["url"], process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _order(exchange: asyncio.subprocess.Process, order: dict[str, object]) -> None:
    if exchange.stdin is None or exchange.stdout is None:
        raise UnavailableError("the exchange takes no orders")
    exchange.stdin.write(json.dumps(order).encode() + b"\n")
    await exchange.stdin.drain()
    async with asyncio.timeout(STEP_BUDGET_S):
        await exchange.stdout.readline()


def _write_config(home: Path, url: str, port: int) -> Path:
    media = home / "state" / "media"
    media.mkdir(parents=True)
    write_wav(media / "melody.wav", melody(RATE, MELODY_S), RATE)
    secret = home / "alice.secret"
    secret.touch(mode=0o600)
    secret.write_text(USERS["alice"])
    config = home / "phoned.toml"
    config.write_text(CONFIG.format(domain=DOMAIN, url=url, port=port))
    return config


def _models() -> dict[str, Any]:
    return {name: plugin.config_model for name, plugin in installed_services().items()}


def _environment(home: Path) -> dict[str, str]:
    return {"RUNTIME_DIRECTORY": str(home / "run"), "HOME": str(home)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _print(report: Report, heard: _Heard, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return
    rows = [
        ("registered", report.registered_ms, "ms"),
        ("call set-up", report.setup_ms, "ms"),
        ("first audio", report.first_audio_ms, "ms"),
        ("echo level", report.echo_level_db, "dB"),
        ("echo correlation", report.echo_correlation, f"(> {LEAST_CORRELATION} is heard)"),
        ("socket lost, dialog verified again", report.recovered_ms, "ms"),
        ("longest hole in the audio", report.audio_gap_ms, "ms"),
        ("recording", report.recording, ""),
    ]
    lines = [f"  {name:<36}{'-' if value is None else value} {unit}\n" for name, value, unit in rows]
    sys.stdout.write("\n" + "".join(lines))
    sys.stdout.write("\nwhat happened\n")
    shown = [event for event in heard.events if event.type != "call.updated"]
    start = shown[0].time if shown else None
    for event in shown:
        facts = {key: value for key, value in event.data.items() if isinstance(value, str | int | float)}
        at = (event.time - start).total_seconds() if start else 0.0
        sys.stdout.write(f"  {at:7.3f} s  {event.type:<24} {' '.join(f'{k}={v}' for k, v in facts.items())}\n")
    sys.stdout.write(f"\n{'ok: the call survived' if report.ok else 'FAILED: ' + str(report.error)}\n")
    sys.stdout.flush()


async def _stay(home: Path, port: int, say: Any) -> None:
    """Keep the phone up for a newcomer to play with, until Ctrl-C."""
    token = await asyncio.to_thread(issue_token, home / "state", "admin")
    code = await asyncio.to_thread(issue_login, home / "state", "admin")
    minutes = round(CODE_LIFE.total_seconds() / 60)
    say(f"\nThe phone stays up. Its console (the link is good once, within {minutes} minutes):\n")
    say(f"  {console_link('127.0.0.1', port, code)}")
    say("\nOr, in another terminal (Ctrl-C here ends it):\n")
    say(f"  phoned token --console --scope admin --config {home}/phoned.toml    # another link")
    say(f"  curl -H 'Authorization: Bearer {token}' http://127.0.0.1:{port}/v1/status")
    say(f"  phonectl --socket {home}/run/api.sock call echo --wait answered")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
