"""What the service manager is told: datagrams to ``$NOTIFY_SOCKET`` as sd_notify(3) describes them.

Owns the socket's address, the watchdog's period and what could not be sent yet. It knows nothing of phones, and without
``$NOTIFY_SOCKET`` it does nothing. It never blocks and never raises: a manager that does not read costs a late message,
not the phone. What did not fit is kept, newest value of each variable, and goes with the next message.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

MAX_STATUS = 500
"""Characters of a STATUS line; `systemctl status` shows one line."""


class Notifier:
    """The way to the service manager. Driven by `phoned.lifecycle`, from one thread."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._pending: dict[str, str] = {}
        self._status: str | None = None
        self._complained = False
        self.watchdog_s = _watchdog_s(environ) if self._address else None
        """Seconds within which the manager wants to hear `watchdog`; None when it does not care."""

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Started, or loaded again: what waits for this unit may go on."""
        self._pending.pop("RELOADING", None)
        self._send(READY="1", **self._status_of(status))

    def status(self, text: str) -> None:
        """One line for people. Nothing is sent when it says what it said last."""
        fields = self._status_of(text)
        if fields or self._pending:
            self._send(**fields)

    def watchdog(self) -> None:
        """Still alive and well."""
        self._send(WATCHDOG="1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it. The time stamp is what systemd 253 and later want."""
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def stopping(self, status: str) -> None:
        """The end has begun."""
        for late in ("READY", "RELOADING"):
            self._pending.pop(late, None)
        self._send(STOPPING="1", **self._status_of(status))

    def _status_of(self, text: str) -> dict[str, str]:
        line = " ".join(text.split())[:MAX_STATUS]  # a line break would begin another variable
        if line == self._status:
            return {}
        self._status = line
        return {"STATUS": line}

    def _send(self, **variables: str) -> None:
        if self._address is None:
            return
        self._pending |= variables
        message = "\n".join(f"{name}={value}" for name, value in self._pending.items()).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message, self._address)
        except OSError as error:
            if not self._complained:
                log.warning("the service manager did not take a message (%s): tried again with the next", error)
            self._complained = True
        else:
            self._pending.clear()
            self._complained = False


def _address(value: str) -> str | None:
    """A path, or ``@name`` for an abstract socket; anything else (``vsock:``) is not spoken here."""
    if value.startswith("@"):
        return "\0" + value[1:]
    if value.startswith("/"):
        return value
    if value:
        log.warning(
            "NOTIFY_SOCKET=%s is neither a path nor an abstract socket: the service manager hears nothing", value
        )
    return None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """``$WATCHDOG_USEC``, when it is meant for this process (sd_watchdog_enabled(3))."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    period = environ.get("WATCHDOG_USEC", "")
    return int(period) / 1e6 if period.isascii() and period.isdigit() and int(period) > 0 else None
