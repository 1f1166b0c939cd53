"""The machine's network as phoned sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceView:
    """A network interface. ``addresses`` as ``192.0.2.2/24``; ``ignored`` by configuration."""

    name: str
    kind: str
    up: bool
    carrier: bool
    addresses: tuple[str, ...] = ()
    ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """A route. ``destination`` is ``default`` or a prefix; without a ``device`` it refuses what it matches."""

    destination: str
    family: Literal["ipv4", "ipv6"]
    device: str | None
    gateway: str | None = None
    source: str | None = None
    metric: int = 0
    table: int = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChangeView:
    """A change of the network that mattered. ``trigger`` says why it was asked for, when it was."""

    generation: int
    at: datetime
    reasons: tuple[str, ...] = ()
    became_unusable: tuple[str, ...] = ()
    trigger: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """The network as phoned sees it; ``generation`` rises by one with each of ``changes`` (the newest last)."""

    generation: int
    source: str
    interfaces: tuple[InterfaceView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    changes: tuple[NetworkChangeView, ...] = ()
