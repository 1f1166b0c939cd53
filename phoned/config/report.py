"""Problems of a configuration, told so that a person can fix them: file, line, key, what is wrong, the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from phoned.errors import UsageError

Location = tuple[str | int, ...]
"""Where a value stands in the merged configuration: ``("accounts", 0, "aor")``."""

EXIT_STATUS = 78
"""EX_CONFIG of sysexits.h: what the process ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from."""

    source: str
    """A file's path, ``environment PHONED_...``, ``profile ...`` or ``default``."""
    line: int | None = None
    base: Path | None = None
    """What relative paths in it are relative to."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin(source="default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to fix."""

    origin: Origin
    key: str
    message: str
    secret_fix: str | None = None
    """A secret's file or credential cannot be used: what helps. None: it is the value that is wrong."""

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.origin), self.key, self.message) if part)


class ConfigError(UsageError):
    """A configuration that cannot be used, with everything that is wrong with it."""

    code = "bad_configuration"

    def __init__(self, problems: Iterable[Problem], *, absent: bool = False) -> None:
        self.problems = tuple(problems)
        self.absent = absent
        """There is no file at all."""
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(location: Location) -> str:
    """``accounts[0].recovery.keepalive_s``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, known: Sequence[str]) -> str:
    """``: did you mean 'x'?`` or nothing."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f": did you mean {found[0]!r}?" if found else ""
