"""Logging: one handler behind a bounded queue, in one of three forms, with secrets removed at every level.

The form follows where stderr goes: native fields for journald, coloured lines for a terminal, JSON lines for anything
else. Writing happens in a thread, so that a full pipe never stops the loop; what the queue cannot hold is dropped and
counted. It owns the root logger of the process from `start` to `close`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import logging.handlers
import os
import queue
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from phoned.clock import rfc3339
from phoned.redaction import Redactor, one_entry, visible

Form = Literal["journald", "console", "json"]

JOURNAL_SOCKET = "/run/systemd/journal/socket"
_CAPACITY = 10_000
_JOURNAL_MAX = 48 * 1024
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_COLOUR = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


class RedactionFilter(logging.Filter):
    """Removes secrets from the message, the traceback and extra fields of every record that passes."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor(record.exc_text)
        record.exc_info = None
        for name, value in _extra(record).items():
            if isinstance(value, str):
                setattr(record, name, self._redactor(value))
        return True


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


class ConsoleFormatter(logging.Formatter):
    """``12:00:00.123 WARNING phoned.accounts: text``, for eyes."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        text = record.getMessage() + (f"\n{record.exc_text}" if record.exc_text else "")
        line = one_entry(
            f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03} {record.levelname:7} {record.name}: {text}"
        )
        code = _COLOUR.get(record.levelno, "") if self._colour else ""
        return f"{code}{line}\x1b[0m" if code else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines. Extra fields stand beside the usual ones."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": visible(record.getMessage()),
        }
        if record.exc_text:
            document["traceback"] = visible(record.exc_text)
        for name, value in _extra(record).items():
            document.setdefault(name, value)
        return json.dumps(document, default=str)


class JournalHandler(logging.Handler):
    """journald's native protocol: one datagram of fields an entry (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    def __init__(self, address: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage() + (f"\n{record.exc_text}" if record.exc_text else "")
        fields = {
            "MESSAGE": visible(text),
            "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "phoned",
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        for name, value in _extra(record).items():
            if name.isidentifier() and name.isascii():
                fields.setdefault(name.upper().lstrip("_"), visible(str(value)))
        try:
            self._socket.sendto(b"".join(_journal_field(*field) for field in fields.items()), self._address)
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _journal_field(name: str, value: str) -> bytes:
    """Length-prefixed, so that line ends in a value stay inside it."""
    data = value.encode("utf-8", "replace")[:_JOURNAL_MAX]
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


class _DroppingQueueHandler(logging.handlers.QueueHandler):
    """Hands records to the writer's thread, or counts them as lost."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self.lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None  # the arguments may change before they are written
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None  # frames would be kept alive
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.lost and self._waiting.qsize() < self._waiting.maxsize // 2:
            lost, self.lost = self.lost, 0
            self._waiting.put_nowait(
                logging.makeLogRecord(
                    {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": f"{lost} lines lost"}
                )
            )
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self.lost += 1


class Logs:
    """The process's logging while it runs. Made by `start`."""

    def __init__(self, handler: logging.Handler, redactor: Redactor, level: int) -> None:
        handler.addFilter(RedactionFilter(redactor))
        self.redactor = redactor
        waiting: queue.Queue[logging.LogRecord] = queue.Queue(_CAPACITY)
        self._front = _DroppingQueueHandler(waiting)
        self._listener = logging.handlers.QueueListener(waiting, handler)
        self._handler = handler
        root = logging.getLogger()
        root.addHandler(self._front)
        self._old_level = root.level
        root.setLevel(level)
        self._listener.start()

    def close(self) -> None:
        """Write what is queued and give the root logger back."""
        root = logging.getLogger()
        root.removeHandler(self._front)
        root.setLevel(self._old_level)
        self._listener.stop()
        self._handler.close()


def start(
    level: int = logging.INFO,
    *,
    form: Form | None = None,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    redactor: Redactor | None = None,
) -> Logs:
    """Take over the root logger. ``form`` None: as `choose_form` says."""
    stream = stream or sys.stderr
    environ = os.environ if environ is None else environ
    return Logs(_handler(form or choose_form(stream, environ), stream, environ), redactor or Redactor(), level)


def _handler(form: Form, stream: TextIO, environ: Mapping[str, str]) -> logging.Handler:
    if form == "journald":
        return JournalHandler()
    handler = logging.StreamHandler(stream)
    colour = stream.isatty() and not environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter(colour=colour))
    return handler


def choose_form(stream: TextIO, environ: Mapping[str, str]) -> Form:
    """journald when ``stream`` is the stream that it opened (``$JOURNAL_STREAM``), else by terminal."""
    with contextlib.suppress(OSError, ValueError):
        facts = os.fstat(stream.fileno())
        if environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}":
            return "journald"
    return "console" if stream.isatty() else "json"


class Limited:
    """One line per cause and period; the next one tells how many were held back."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        period_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        causes: int = 1024,
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._causes = causes
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def log(self, level: int, cause: str, message: str, *args: object) -> bool:
        """Log, unless ``cause`` had a line within the period. True when it was logged."""
        now = self._clock()
        last, held_back = self._seen.get(cause, (None, 0))
        if last is not None and now - last < self._period_s:
            self._seen[cause] = (last, held_back + 1)
            return False
        self._seen[cause] = (now, 0)
        self._seen.move_to_end(cause)
        if len(self._seen) > self._causes:
            self._seen.popitem(last=False)
        if held_back:
            message += f" ({held_back} more like it since)"
        self._logger.log(level, message, *args, stacklevel=2)
        return True
