"""Where things are when nobody says so. Loads nothing else: `phonectl` asks, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_FILE = Path("/etc/phoned/phoned.toml")


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """``$STATE_DIRECTORY`` (systemd), else XDG state."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "phoned"


def default_runtime_dir(environ: Mapping[str, str], state_dir: Path) -> Path:
    """``$RUNTIME_DIRECTORY`` (systemd), else XDG runtime, else ``/run/phoned`` for root, else below the state."""
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"]) / "phoned"
    return Path("/run/phoned") if os.geteuid() == 0 else state_dir / "run"
