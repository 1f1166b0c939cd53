"""The whole phone."""

from __future__ import annotations

from dataclasses import dataclass

from phoned.model.accounts import AccountView
from phoned.model.network import NetworkView


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneStatus:
    """The whole phone at a glance."""

    version: str
    node: str
    uptime_s: float
    draining: bool
    accounts: tuple[AccountView, ...]
    calls_active: int
    calls_capacity: int
    event_seq: int
    network: NetworkView | None = None
