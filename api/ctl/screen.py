"""A whole terminal for a while: another page, no cursor, single keys. It is given back, whatever ends the program."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_PAGE = "\x1b[H", "\x1b[K", "\x1b[J"
ENDING = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """A context around drawing. On stdout, which must be a terminal; keys are read where stdin is one, too."""

    def __init__(self) -> None:
        self._keys = sys.stdin.isatty()
        self._mode: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in ENDING:
            self._handlers[number] = signal.signal(number, self._on_end)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._on_stop)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def draw(self, lines: Sequence[str]) -> None:
        """These lines and nothing else, as many as there is room for."""
        rows = os.get_terminal_size(sys.stdout.fileno()).lines
        shown = "\r\n".join(line + REST_OF_LINE for line in lines[:rows])
        _write(HOME + shown + REST_OF_PAGE)

    def key(self, timeout_s: float) -> str:
        """The next key within this time; empty when there was none."""
        if not self._keys:
            select.select([], [], [], timeout_s)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
        return os.read(sys.stdin.fileno(), 1).decode("latin-1") if ready else ""

    def _take(self) -> None:
        if self._keys:
            self._mode = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)
        _write(ENTER)

    def _give_back(self) -> None:
        _write(LEAVE)
        if self._mode is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._mode)

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal, and we get it again with ``fg``."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
