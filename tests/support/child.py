"""A process that a test starts: private directory, captured output, ended by its pid, never by its name."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import pytest

T = TypeVar("T")

APT = {
    "kamailio": "kamailio kamailio-websocket-modules kamailio-tls-modules kamailio-outbound-modules",
    "rtpengine": "rtpengine-daemon",
    "chromium": "chromium",
    "node": "nodejs",
    "npm": "npm",
    "baresip": "baresip-core",
    "sipp": "sip-tester",
    "turnserver": "coturn",
    "linphone-daemon": "linphone-cli",
    "pulseaudio": "pulseaudio libportaudio2 libasound2-plugins",
    "pactl": "pulseaudio-utils",
    "pipewire": "pipewire",
    "wireplumber": "wireplumber",
    "pipewire-pulse": "pipewire-pulse",
}
"""Which Debian packages bring a program."""


def missing(why: str) -> None:
    """Skip this test, saying why; where everything is meant to be there (``CI=true``), fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def program(name: str) -> str:
    """The path of a program of the machine. Where it is missing the test is skipped (in CI: fails) with the cure."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        missing(f"{name} is not installed: apt-get install --no-install-recommends {APT.get(name, name)}")
    return str(path)


def until(condition: Callable[[], T], what: str, timeout_s: float = 10.0, poll_s: float = 0.02) -> T:
    """The first true value of ``condition``; `TimeoutError` names ``what`` was waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(poll_s)


def is_free(port: int) -> bool:
    """Whether a loopback port can be bound for UDP and TCP."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Free loopback ports, below the range from which the kernel hands out its own."""
    first, size = 20_000, 12_000
    start = (os.getpid() * 61 + time.monotonic_ns() // 1000) % size
    found: list[int] = []
    for offset in range(size):
        port = first + (start + offset) % size
        if is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports on loopback")


class Child:
    """One process in a session of its own. Its files live in `directory`, which goes with `close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        # the kernel limits the path of a unix socket to 107 bytes: not below pytest's long tmp_path
        self.directory = Path(tempfile.mkdtemp(prefix=f"phoned-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the process has printed."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def spawn(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, pipes: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start it. With ``pipes`` its stdin and stdout are pipes, else stdout goes to the log as stderr does."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # the child goes when the test process goes, however that ends
                ["setpriv", "--pdeathsig", "TERM", "--", *argv],
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return self._process

    def until(self, condition: Callable[[], T], what: str, timeout_s: float = 15.0) -> T:
        """As `until`, but over at once, with the log, when the process ends."""

        def alive() -> T:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log[-4000:]}")
            return condition()

        try:
            return until(alive, f"{self.name}: {what}", timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log[-4000:]}") from None

    def stop(self, grace_s: float = 5.0) -> int | None:
        """SIGTERM, after ``grace_s`` SIGKILL to its session. Returns the exit code, None when it never ran."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.returncode

    def close(self) -> None:
        """Stop it and drop its files."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
