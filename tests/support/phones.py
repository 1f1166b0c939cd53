"""Whole phones for integration tests: daemons without services against an exchange in the same process, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api.asyncapi import model_of
from phoned.config.load import load_config
from phoned.daemon import Daemon
from phoned.events import Event, Subscription, envelope
from phoned.sandbox.server import Sandbox
from phoned.service import ServicePlugin

BUDGET_S = 20.0
NO_PLUGINS: Mapping[str, ServicePlugin] = {}


class Watch:
    """A daemon's events in order; `until` returns the next one that fits and was not returned before."""

    def __init__(self, subscription: Subscription) -> None:
        self.seen: list[Event] = []
        self._subscription = subscription
        self._events = aiter(subscription)

    async def until(self, type_: str, fits: Callable[[Any], bool] = lambda data: True) -> Event:
        """Raises TimeoutError with what was seen instead."""
        try:
            async with asyncio.timeout(BUDGET_S):
                async for event in self._events:
                    self.seen.append(event)
                    if event.type == type_ and fits(event.data):
                        return event
        except TimeoutError:
            raise TimeoutError(f"no {type_}; seen: {[event.type for event in self.seen]}") from None
        raise AssertionError("the bus is closed")

    async def all_of(self, *types: str) -> dict[str, Event]:
        """The next event of each of these types, in whatever order they come."""
        found: dict[str, Event] = {}
        async with asyncio.timeout(BUDGET_S):
            async for event in self._events:
                self.seen.append(event)
                if event.type in types and event.type not in found:
                    found[event.type] = event
                if len(found) == len(types):
                    return found
        raise AssertionError("the bus is closed")

    def described(self) -> None:
        """Every event seen was as AsyncAPI says."""
        for event in self.seen:
            model_of(event.type).model_validate(envelope(event))

    def types(self, call: str | None = None) -> list[str]:
        """Types seen so far, of one call when named, without the ever-repeated ``call.updated``."""
        return [
            event.type
            for event in self.seen
            if event.type != "call.updated" and (call is None or getattr(event.data.get("call"), "id", None) == call)
        ]


class _Watched(Daemon):
    """Heard from its first event on: a call of before may be back before `start` returns."""

    watch: Watch

    async def _start_phone(self) -> None:
        self.watch = Watch(self.bus.subscribe(capacity=10_000))
        await super()._start_phone()


class Phones:
    """An exchange and the phones at it. Use as an async context; everything in it is stopped at the end."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = AsyncExitStack()
        self.exchange = Sandbox()
        self.url = ""
        self._watches: list[Watch] = []

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_debug(
            False
        )  # would double what a call costs: these phones make sound in real time
        self.url = await self.exchange.start()
        self._stack.push_async_callback(self.exchange.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for watch in self._watches:
            watch.described()

    async def phone(
        self,
        user: str = "alice",
        *,
        extra: str = "",
        account: str = "",
        media: str = "",
        password: str | None = None,
        plugins: Mapping[str, ServicePlugin] = NO_PLUGINS,
    ) -> tuple[Daemon, Watch]:
        """A running daemon whose account is called like its user. ``account`` and ``media``: more keys of the
        tables; ``extra``: more TOML."""
        home = self._home / user
        home.mkdir(exist_ok=True)
        secret = home / "secret"
        secret.touch(mode=0o600)
        secret.write_text(self.exchange.users[user] if password is None else password)
        config = home / "phoned.toml"
        config.write_text(
            f"""
[phone]
state_dir = "state"
[media]
allow_loopback = true
{media}
[[accounts]]
id = "{user}"
aor = "sip:{user}@{self.exchange.domain}"
password_file = "secret"
outbound_proxy = "{self.url}"
{account}
{extra}
"""
        )
        environ = {"RUNTIME_DIRECTORY": str(home / "run"), "HOME": str(home)}
        models = {name: plugin.config_model for name, plugin in plugins.items()}
        daemon = _Watched(load_config(config, models=models, environ=environ), plugins=plugins)
        await daemon.start()
        self._watches.append(daemon.watch)
        self._stack.push_async_callback(daemon.stop)
        return daemon, daemon.watch

    async def online(self, user: str = "alice", **settings: Any) -> tuple[Daemon, Watch]:
        """The same, once it is registered."""
        daemon, watch = await self.phone(user, **settings)
        await watch.until("account.registered")
        return daemon, watch
