"""The sockets that the API listens on, made here because uvicorn would make the unix one open to everybody (0666).

Knows file modes, groups and systemd's socket activation (sd_listen_fds(3)); knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import grp
import ipaddress
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api.access import GROUP
from api.config import ApiConfig
from phoned.errors import InvalidValue, UnavailableError

FIRST_FD = 3
BACKLOG = 128


class ListenFailed(UnavailableError):
    """A listener cannot be had: the port or the socket is in use, or the right to it is missing."""

    code = "listen_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Bound sockets, and what is ours to unlink at the end."""

    sockets: tuple[socket.socket, ...]
    ports: tuple[int, ...]
    unix_path: Path | None = None

    def close(self) -> None:
        """Close all, and remove the unix socket that we made."""
        for sock in self.sockets:
            sock.close()
        if self.unix_path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.unix_path.unlink()


def open_listeners(config: ApiConfig, runtime_dir: Path, environ: Mapping[str, str]) -> Listeners:
    """Take what systemd passes, make the rest. Raises `InvalidValue` for a bind that is not allowed, `ListenFailed`."""
    given = inherited(environ)
    has_unix = any(sock.family == socket.AF_UNIX for sock in given)
    has_tcp = any(sock.family != socket.AF_UNIX for sock in given)
    made: list[socket.socket] = []
    path: Path | None = None
    try:
        if not has_unix:
            path = runtime_dir / config.socket
            _make_directory(path.parent, ours=path.parent == runtime_dir)
            made.append(unix_listener(path))
        if not has_tcp and config.port:
            made.append(tcp_listener(config.host, config.port))
    except BaseException:
        Listeners(sockets=(*given, *made), ports=(), unix_path=path if made else None).close()
        raise
    sockets = (*given, *made)
    ports = tuple(sock.getsockname()[1] for sock in sockets if sock.family != socket.AF_UNIX)
    return Listeners(sockets=sockets, ports=ports, unix_path=path)


def inherited(environ: Mapping[str, str], first: int = FIRST_FD) -> tuple[socket.socket, ...]:
    """The sockets of socket activation: unix or loopback stream sockets only."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    count = environ.get("LISTEN_FDS", "")
    if not count.isdigit():
        return ()
    found: list[socket.socket] = []
    for descriptor in range(first, first + int(count)):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ListenFailed(f"LISTEN_FDS names descriptor {descriptor}, which is no socket: {error}") from error
        found.append(sock)
        if sock.type != socket.SOCK_STREAM or not _local(sock):
            for opened in found:
                opened.close()
            raise InvalidValue(
                "socket activation passed a socket that is neither a unix socket nor a loopback one;"
                " correct ListenStream= in phoned-api.socket",
                pointer="/api",
            )
        sock.setblocking(False)
    return tuple(found)


def _local(sock: socket.socket) -> bool:
    if sock.family == socket.AF_UNIX:
        return True
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return ipaddress.ip_address(str(sock.getsockname()[0]).partition("%")[0]).is_loopback


def tcp_listener(host: str, port: int) -> socket.socket:
    """A loopback listener; anything else is refused here once more, whatever the configuration let through."""
    if not ipaddress.ip_address(host).is_loopback:
        raise InvalidValue(f"the control API does not listen on {host}", pointer="/api/host")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"{host}:{port}: {error.strerror}. Fix: [api] port = another one, or 0 for none") from error
    return sock


def unix_listener(path: Path) -> socket.socket:
    """A unix socket 0660, of the group ``phoned`` where there is one, in a directory that exists."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        # nobody can connect before listen, so there is no moment with a looser mode
        os.chmod(path, 0o660)
        _give_to_group(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        raise ListenFailed(f"{path}: {reason}. Fix: [api] socket = a shorter path or another directory") from error
    return sock


def _make_directory(directory: Path, *, ours: bool) -> None:
    """0750 for the runtime directory and for what we make; somebody else's directory stays as it is."""
    try:
        made = not directory.exists()
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if made or (ours and directory.stat().st_uid == os.geteuid()):
            directory.chmod(0o750)
            _give_to_group(directory)
    except OSError as error:
        raise ListenFailed(f"{directory}: {error.strerror}") from error


def _give_to_group(path: Path) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
    except (KeyError, PermissionError):
        pass  # no such group, or we are not in it: then the owner alone has the socket


def _remove_stale(path: Path) -> None:
    """A socket that nobody answers on is left from a crash; one that answers belongs to another daemon."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenFailed(f"{path} exists and is no socket. Fix: remove it, or change [api] socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ListenFailed(f"{path}: {error.strerror or error}") from error
    raise ListenFailed(f"{path}: another phoned answers there. Fix: stop it, or change [api] socket")
