"""A service manager's ear: a `$NOTIFY_SOCKET` that keeps what it is told, and when."""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.child import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One datagram: its variables, and when it came (monotonic seconds)."""

    at: float
    variables: dict[str, str]


class NotifySocket:
    """Bound at once. `receive` reads what waits; as a context it reads in a thread, for `until_status` and the like."""

    def __init__(self, *, abstract: bool = False) -> None:
        # not below pytest's tmp_path: the kernel limits the path of a unix socket to 107 bytes
        self._directory = Path(tempfile.mkdtemp(prefix="phoned-notify-"))
        name = f"phoned-notify-{secrets.token_hex(8)}"
        self.address = f"@{name}" if abstract else str(self._directory / "notify")
        """As it stands in ``$NOTIFY_SOCKET``."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}" if abstract else self.address)
        self._socket.setblocking(False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self.seen: list[Notification] = []
        """What the thread has read."""

    def receive(self) -> list[dict[str, str]]:
        """All datagrams that wait."""
        found: list[dict[str, str]] = []
        while True:
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                return found
            found.append(_variables(data))

    def until_status(self, text: str, timeout_s: float = 30.0) -> Notification:
        """The first notification whose STATUS holds ``text``."""
        return self._until(lambda told: text in told.variables.get("STATUS", ""), f"STATUS with {text!r}", timeout_s)

    def until_told(self, name: str, timeout_s: float = 30.0) -> Notification:
        """The first notification that has this variable."""
        return self._until(lambda told: name in told.variables, name, timeout_s)

    def times(self, name: str) -> list[float]:
        """When this variable was told."""
        return [told.at for told in tuple(self.seen) if name in told.variables]

    def _until(self, fits: Callable[[Notification], bool], what: str, timeout_s: float) -> Notification:
        def search() -> Notification | None:
            return next((told for told in tuple(self.seen) if fits(told)), None)

        try:
            found = until(search, what, timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; told: {[told.variables for told in self.seen]}") from None
        assert found is not None
        return found

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                continue
            self.seen.append(Notification(at=time.monotonic(), variables=_variables(data)))

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self._socket.settimeout(0.1)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _variables(data: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in data.decode().splitlines())
