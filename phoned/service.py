"""The plug-in face of phoned: what a package that registers under the entry points ``phoned.services`` must have.

A service is an object ``{name, config_model, create(ctx)}``. Its configuration table is ``[name]``, validated by its
own model. `Context` gives it protocols only, never an adapter; there is nothing else of phoned that a service may hold.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from inspect import ismethod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from phoned.events import EventBus
from phoned.phone import PhoneControl


class KeyValue(Protocol):
    """Small durable values of one service, kept in the state directory."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes) -> None: ...

    async def delete(self, key: str) -> None: ...


class Secrets(Protocol):
    """Secret material by file or systemd credential; never printed, never kept by the caller longer than needed."""

    def read(self, name: str) -> bytes:
        """The secret called ``name``; `phoned.errors.NotFound` when there is none."""
        ...


class Context(Protocol):
    """What a service is given."""

    @property
    def phone(self) -> PhoneControl: ...

    @property
    def bus(self) -> EventBus: ...

    @property
    def keys(self) -> KeyValue: ...

    @property
    def secrets(self) -> Secrets: ...

    @property
    def config(self) -> Any:
        """An instance of the service's own ``config_model``."""
        ...

    @property
    def state_dir(self) -> Path: ...

    @property
    def runtime_dir(self) -> Path: ...


@runtime_checkable
class Service(Protocol):
    """A running service. `stop` returns within its budget, whatever its clients do."""

    async def start(self) -> None: ...

    async def stop(self, budget_s: float) -> None: ...


@runtime_checkable
class ServicePlugin(Protocol):
    """What an entry point names: an object like this, a class with a class method ``create``, or one that makes one."""

    name: str
    config_model: type[BaseModel]
    default: bool
    """True: created even when its configuration table is absent."""

    def create(self, context: Context) -> Service: ...


ENTRY_POINTS = "phoned.services"


def installed_services() -> dict[str, ServicePlugin]:
    """The plug-ins of this environment by name. One that cannot be imported raises: a half phone helps nobody."""
    found = (entry.load() for entry in entry_points(group=ENTRY_POINTS))
    return {plugin.name: plugin for plugin in map(_as_plugin, found)}


def _as_plugin(named: Any) -> ServicePlugin:
    """A class whose ``create`` is a class method is a plug-in as it is; any other class makes one."""
    plugin: ServicePlugin = (
        named() if isinstance(named, type) and not ismethod(getattr(named, "create", None)) else named
    )
    return plugin
