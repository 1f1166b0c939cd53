"""A program on a pseudo terminal, as a person would use it: what it shows, what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self


class Terminal:
    """Use as a context: the program is ended with it. ``shown`` is every byte so far, as text."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, size: tuple[int, int] = (24, 120)
    ) -> None:
        self.shown = ""
        self._master, self._slave = pty.openpty()
        self.resize(*size)
        self.mode_before = self.mode()
        base = {name: value for name, value in os.environ.items() if not name.startswith(("PHONED_", "XDG_"))}
        self._process = subprocess.Popen(
            command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**base, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
            preexec_fn=_own_terminal,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)
        os.close(self._slave)

    def mode(self) -> list[Any]:
        """The terminal's settings (termios)."""
        return termios.tcgetattr(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """As a window manager does it."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Keys; ``\\x03`` is Ctrl-C."""
        os.write(self._master, text.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self._process.send_signal(number)

    def until(self, text: str, timeout_s: float = 30.0) -> str:
        """Wait until ``text`` has been shown; everything from the last `until` to its end."""
        began = len(self.shown)
        deadline = time.monotonic() + timeout_s
        while text not in self.shown[began:]:
            if not self._read(deadline):
                raise TimeoutError(f"{text!r} was not shown; this was: {self.shown!r}")
        return self.shown[began:]

    def interrupt(self, times: int = 20) -> int:
        """Ctrl-C until it ends, as a person would: CPython misses one that comes while readline draws its prompt."""
        for _ in range(times):
            self.type("\x03")
            try:
                return self.wait(1.0)
            except TimeoutError:
                pass
        return self.wait(1.0)

    def until_hidden(self, timeout_s: float = 30.0) -> None:
        """Wait until what is typed is not shown: what comes before that is thrown away."""
        deadline = time.monotonic() + timeout_s
        while self.mode()[3] & termios.ECHO:
            self._read(time.monotonic() + 0.02)
            if time.monotonic() > deadline:
                raise TimeoutError(f"it shows what is typed; shown: {self.shown!r}")

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit status, once all output is read."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None:
            if not self._read(min(deadline, time.monotonic() + 0.05)) and time.monotonic() > deadline:
                raise TimeoutError(f"it goes on; shown: {self.shown!r}")
        while self._read(time.monotonic() + 0.05):
            pass
        return self._process.returncode

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        self.shown += os.read(self._master, 65536).decode(errors="replace")
        return True


def _own_terminal() -> None:
    # the shell of a test run may ignore SIGINT; a person at a terminal does not
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
