"""What people set about sound while the phone runs: devices, volume, gain, mute. It lasts over restarts.

A device that was chosen so counts instead of the configuration's until it is given back; the rest begins as configured.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from phoned.model import DeviceRole, RoleChange
from phoned.service import KeyValue

log = logging.getLogger(__name__)

KEY = "roles"
ROLES: tuple[DeviceRole, ...] = ("input", "output", "ring")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSetting:
    """One role's; None is the configuration's."""

    device: str | None = None
    muted: bool = False
    gain_db: float | None = None
    volume_pct: int = 100

    def changed(self, change: RoleChange) -> RoleSetting:
        """With what the order says."""
        return replace(
            self,
            device=self.device if change.device is None else (change.device or None),
            muted=self.muted if change.muted is None else change.muted,
            gain_db=self.gain_db if change.gain_db is None else change.gain_db,
            volume_pct=self.volume_pct if change.volume_pct is None else change.volume_pct,
        )


@dataclass(slots=True)
class Settings:
    """All roles', kept by `save`."""

    keys: KeyValue
    roles: dict[DeviceRole, RoleSetting] = field(default_factory=lambda: {role: RoleSetting() for role in ROLES})

    async def load(self) -> None:
        """What was set before. Nonsense is as good as nothing."""
        kept = await self.keys.get(KEY)
        if kept is None:
            return
        try:
            document: Mapping[str, Any] = json.loads(kept)
            self.roles = {role: RoleSetting(**document.get(role, {})) for role in ROLES}
        except (ValueError, TypeError, AttributeError):
            log.warning("what was set about sound cannot be read; it begins as configured")

    async def save(self) -> None:
        """Keep it."""
        await self.keys.set(KEY, json.dumps({role: asdict(setting) for role, setting in self.roles.items()}).encode())
