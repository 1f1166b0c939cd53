"""How much room recordings leave on their disk, for the phone's own state and for everybody else."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

USUAL_BYTES = 100_000_000
USUAL_SHARE = 20
"""Of a small file system a twentieth stays free, not 100 MB."""


@dataclass(frozen=True, slots=True)
class DiskFloor:
    """``least`` bytes stay free; None: 100 MB or a twentieth of the file system, whichever is less."""

    least: int | None = None

    def check(self, fd: int) -> None:
        """Raises `OSError` (ENOSPC) when less is free where ``fd`` is."""
        status = os.fstatvfs(fd)
        least = self.least
        if least is None:
            least = min(USUAL_BYTES, status.f_blocks * status.f_frsize // USUAL_SHARE)
        free = status.f_bavail * status.f_frsize
        if free < least:
            raise OSError(
                errno.ENOSPC,
                f"only {free / 1e6:.1f} MB are free, recordings leave {least / 1e6:.1f} MB"
                " ([media] recordings_min_free_mb)",
            )


NO_FLOOR = DiskFloor(0)
