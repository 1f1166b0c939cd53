"""Logging: three forms, secrets removed at every level, lost lines counted, floods held back."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from phoned import logs
from phoned.redaction import Redactor

LOG = logging.getLogger("phoned.test")


@contextlib.contextmanager
def logging_to(stream: io.StringIO, **options: object) -> Iterator[logs.Logs]:
    running = logs.start(logging.DEBUG, stream=stream, environ={}, **options)  # type: ignore[arg-type]  # as in start
    try:
        yield running
    finally:
        running.close()


def failing() -> None:
    raise ValueError("password=hush-hush-hush")


def test_json_lines_have_the_facts_and_no_secret() -> None:
    out = io.StringIO()
    with logging_to(out, redactor=Redactor(["canary-secret"])):
        LOG.info("hello %s", "canary-secret", extra={"account": "front", "uri": "wss://u:pw12345@x/", "n": 3})
        LOG.debug("> REGISTER\r\nAuthorization: Digest abcdef\r\n")
        try:
            failing()
        except ValueError:
            LOG.exception("it \x1b[2J failed")
    first, second, third = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["message"] == "hello ***"
    assert (first["level"], first["logger"], first["account"], first["n"]) == ("info", "phoned.test", "front", 3)
    assert first["uri"] == "wss://***@x/"
    assert first["time"].endswith("Z")
    assert "abcdef" not in second["message"]
    assert third["message"] == "it \\x1b[2J failed"
    assert "ValueError" in third["traceback"]
    assert "hush-hush" not in out.getvalue()


def test_console_lines_cannot_be_forged_by_a_peer() -> None:
    out = io.StringIO()
    with logging_to(out, form="console"):
        LOG.warning("peer says %s", "x\n23:59:59.000 ERROR   phoned: fake\x1b[2J")
    first, second = out.getvalue().splitlines()
    assert first.endswith("WARNING phoned.test: peer says x")
    assert second == "    | 23:59:59.000 ERROR   phoned: fake\\x1b[2J"


def test_a_terminal_gets_colour_unless_told_otherwise() -> None:
    record = logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": "x", "name": "n"})
    assert logs.ConsoleFormatter(colour=True).format(record).startswith("\x1b[31m")
    assert "\x1b" not in logs.ConsoleFormatter(colour=False).format(record)


def test_the_form_follows_the_stream() -> None:
    read, write = os.pipe()
    master, slave = pty.openpty()
    with os.fdopen(read), os.fdopen(write, "w") as pipe, os.fdopen(master), os.fdopen(slave, "w") as terminal:
        facts = os.fstat(pipe.fileno())
        journal = {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}
        assert logs.choose_form(pipe, journal) == "journald"
        assert logs.choose_form(pipe, {"JOURNAL_STREAM": "1:1"}) == "json"
        assert logs.choose_form(terminal, journal) == "console"
        assert logs.choose_form(io.StringIO(), journal) == "json"


def fields(datagram: bytes) -> dict[str, str]:
    found = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        found[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        datagram = rest[9 + size :]
    return found


def test_journald_gets_native_fields_that_no_text_can_break(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        handler = logs.JournalHandler(str(tmp_path / "journal"))
        running = logs.Logs(handler, Redactor(), logging.INFO)
        LOG.error("two\nPRIORITY=0\nlines", extra={"account": "front", "_private": 1, "not-a-name": 2})
        try:
            failing()
        except ValueError:
            LOG.exception("with a traceback")
        LOG.info("%s", "x" * 100_000)
        running.close()
        entry, trace, long = (fields(journal.recv(200_000)) for _ in range(3))
    assert entry["MESSAGE"] == "two\nPRIORITY=0\nlines"
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"], entry["LOGGER"]) == ("3", "phoned", "phoned.test")
    assert entry["ACCOUNT"] == "front"
    assert entry["PRIVATE"] == "1"
    assert "ValueError: password=***" in trace["MESSAGE"]
    assert len(long["MESSAGE"]) == 48 * 1024


def test_a_journal_that_is_gone_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    running = logs.Logs(logs.JournalHandler(str(tmp_path / "nothing")), Redactor(), logging.INFO)
    LOG.error("unheard")
    running.close()


def test_journald_is_what_start_uses_under_systemd() -> None:
    running = logs.start(form="journald", environ={})
    assert isinstance(running._handler, logs.JournalHandler)
    running.close()


def test_lines_that_the_queue_cannot_hold_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CAPACITY", 4)

    class Stuck(io.StringIO):
        """A pipe that takes nothing until it is freed."""

    import threading

    free = threading.Event()
    entered = threading.Event()

    class Handler(logging.StreamHandler[io.StringIO]):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            free.wait(5)
            super().emit(record)

    out = io.StringIO()
    running = logs.Logs(Handler(out), Redactor(), logging.INFO)
    LOG.info("first")
    entered.wait(5)
    for index in range(10):
        LOG.info("line %d", index)
    free.set()
    while not running._front.queue.empty():  # type: ignore[attr-defined]  # a queue.Queue
        entered.wait(0.01)
    LOG.info("last")
    running.close()
    assert "6 lines lost" in out.getvalue()
    assert out.getvalue().rstrip().endswith("last")


def test_the_root_logger_is_given_back() -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    with logging_to(io.StringIO()):
        assert logging.getLogger().level == logging.DEBUG
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_one_line_per_cause_and_period_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    limited = logs.Limited(LOG, period_s=10, clock=lambda: now, causes=2)
    with caplog.at_level(logging.INFO):
        assert limited.log(logging.INFO, "dns", "no answer for %s", "a")
        assert not limited.log(logging.INFO, "dns", "no answer for %s", "b")
        assert limited.log(logging.INFO, "tls", "bad name")
        now = 10.0
        assert limited.log(logging.INFO, "dns", "no answer for %s", "c")
        assert limited.log(logging.INFO, "third", "forgets the oldest cause")
        assert limited.log(logging.INFO, "tls", "bad name")
    assert [record.getMessage() for record in caplog.records] == [
        "no answer for a",
        "bad name",
        "no answer for c (1 more like it since)",
        "forgets the oldest cause",
        "bad name",
    ]
    assert caplog.records[0].funcName == "test_one_line_per_cause_and_period_with_a_count"
