"""The files of the console: a page of plain HTML, CSS and ES modules beside this module, read once and kept.

What may be asked for is exactly the list of files that were found at the first request: a name is looked up, never
opened, so there is no path to walk out of.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "console"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served; a file with another ending is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleFile:
    """One file. ``etag`` is made of its content."""

    content: bytes
    media_type: str
    etag: str


def read_files(folder: Path = FOLDER) -> dict[str, ConsoleFile]:
    """Every file that is served, by its name below ``folder``. Blocks."""
    found: dict[str, ConsoleFile] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES and path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            name = path.relative_to(folder).as_posix()
            found[name] = ConsoleFile(content=content, media_type=TYPES[path.suffix], etag=etag)
    return found


class ConsoleFiles:
    """Reads them when the first one is asked for: a daemon whose console nobody opens does not pay for it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._files: Mapping[str, ConsoleFile] | None = None

    async def find(self, name: str) -> ConsoleFile | None:
        """The file of this name; the page itself for no name."""
        if self._files is None:
            self._files = await asyncio.to_thread(read_files, self._folder)
        return self._files.get(name or INDEX)


def unchanged(etag: str, if_none_match: str | None) -> bool:
    """Whether the client has it already (RFC 9110 13.1.2; the comparison is the weak one)."""
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in known or "*" in known
