"""A relay in front of a unix socket that cuts each connection after so many bytes of what the server says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Cutter:
    """``allowance``: asked once for each connection; None cuts nothing. Use as a context."""

    def __init__(self, path: Path, server: Path, allowance: Callable[[], int | None]) -> None:
        self.path = path
        self._server = server
        self._allowance = allowance
        self._listening = socket.socket(socket.AF_UNIX)
        self._open: set[socket.socket] = set()
        self.cuts = 0
        """Connections that were cut; those that the server ended are none."""

    def __enter__(self) -> Self:
        self._listening.bind(str(self.path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listening)
        for sock in tuple(self._open):
            _end(sock)
        self.path.unlink()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        self._open |= {client, server}
        try:
            server.connect(str(self._server))
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            left = self._allowance()
            while data := server.recv(65536):
                if left is not None and len(data) >= left:
                    client.sendall(data[:left])
                    self.cuts += 1
                    return
                client.sendall(data)
                left = None if left is None else left - len(data)
        except OSError:
            pass  # the daemon is away, or the client has had enough
        finally:
            for sock in (client, server):
                _end(sock)
                self._open.discard(sock)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes who reads it in another thread
    sock.close()
