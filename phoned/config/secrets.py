"""Secrets from files and systemd credentials, refused when others could read them.

A secret file is a regular file of ours or root's, with mode 0600, 0640 or less. systemd's own directory
(``$CREDENTIALS_DIRECTORY``) is trusted as it is. Never read from argv, the environment or the configuration itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from phoned.config.types import Secret
from phoned.errors import NotFound, UsageError

MAX_BYTES = 65_536
_FORBIDDEN = 0o027
"""Writing by the group, and anything by others."""


class BadSecret(UsageError):
    """A secret that cannot be used. ``fix``: what helps."""

    code = "bad_secret"

    def __init__(self, detail: str, *, fix: str) -> None:
        super().__init__(detail)
        self.fix = fix


def read_secret_file(path: Path) -> Secret:
    """The file's content without its last newline. Blocks; raises `BadSecret`."""
    try:
        # non-blocking, so that a FIFO in its place cannot hang us
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise BadSecret(f"{path}: {error.strerror}", fix=_write(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise BadSecret(f"{path}: not a regular file", fix=_write(path))
        if facts.st_mode & _FORBIDDEN:
            mode = stat.S_IMODE(facts.st_mode)
            detail = f"{path}: mode {mode:04o} lets others at the secret: chmod 600 (or 640)"
            raise BadSecret(detail, fix=f"chmod 600 {path}")
        if facts.st_uid not in (0, os.geteuid()):
            detail = f"{path}: owned by uid {facts.st_uid}, neither us nor root"
            raise BadSecret(detail, fix=f"chown {os.geteuid()} {path}")
        return _checked(str(path), file.read(MAX_BYTES + 1), _write(path))


def read_credential(name: str, environ: Mapping[str, str]) -> Secret:
    """A systemd credential. Blocks; raises `BadSecret`."""
    fix = f"add LoadCredential={name}:PATH to the unit"
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise BadSecret(f"credential {name!r}: no $CREDENTIALS_DIRECTORY: {fix}", fix=fix)
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise BadSecret(f"credential {name!r}: not a name", fix="a credential's name is that of a file")
    try:
        content = (Path(directory) / name).read_bytes()
    except OSError as error:
        raise BadSecret(f"credential {name!r}: {error.strerror}: {fix}", fix=fix) from None
    return _checked(f"credential {name!r}", content, f"write the secret into the file that LoadCredential={name} names")


def _checked(where: str, content: bytes, fix: str) -> Secret:
    value = content.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise BadSecret(f"{where}: empty", fix=fix)
    if len(content) > MAX_BYTES:
        raise BadSecret(f"{where}: larger than {MAX_BYTES} bytes", fix=fix)
    try:
        value.decode()
    except UnicodeDecodeError:
        raise BadSecret(f"{where}: not UTF-8", fix=fix) from None
    return Secret(value)


def _write(path: Path) -> str:
    return f"write the secret into it, for you alone: (umask 077; cat > {path})"


class FileSecrets:
    """What services are given (`phoned.service.Secrets`): absolute paths are files, other names credentials."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def read(self, name: str) -> bytes:
        """The secret, read anew each time so that a rotated one is seen."""
        try:
            if name.startswith("/"):
                return read_secret_file(Path(name)).reveal()
            return read_credential(name, self._environ).reveal()
        except BadSecret as error:
            raise NotFound(error.detail) from None
