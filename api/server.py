"""The running API: it owns the listeners and uvicorn; the rest is behind `build_app`. Loaded when `service` starts it.

uvicorn runs inside the daemon's loop, with its signal handling, its own sockets and its ticking main loop left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from uvicorn import Config, Server

from api.access import Access
from api.app import build_app
from api.config import ApiConfig
from api.deps import Services
from api.gate import Gate
from api.http import KEEP_ALIVE_S, HttpProtocol, WebSocketProtocol
from api.idempotency import Idempotency
from api.listeners import BACKLOG, Listeners, open_listeners
from api.metrics import Metrics
from api.security import MAX_BODY, MAX_HEAD, Policy
from phoned.errors import NotFound
from phoned.events import Subscription
from phoned.service import Context, PhoneControl
from phoned.store.tokens import TokenStore

log = logging.getLogger(__name__)

PING_S = 20.0
CHANGEABLE = frozenset({"allowed_hosts", "allowed_origins", "rate_per_s", "stream_urls"})
"""What of ``[api]`` may be another thing without a restart."""


class RunningApi:
    """One running API. Driven by `ApiService`: `start`, `stop`."""

    def __init__(self, context: Context, config: ApiConfig, events: Subscription) -> None:
        self._context = context
        self._config = config
        self._events = events
        self.services: Services | None = None
        """What the routes share, while it runs."""
        self._gate: Gate | None = None
        self._server: _Server | None = None
        self._listeners: Listeners | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that are listened on."""
        return self._listeners.ports if self._listeners else ()

    async def start(self) -> None:
        """Listen. Raises `InvalidValue` for a bind that is not allowed, `ListenFailed` for one that cannot be had."""
        context, config = self._context, self._config
        self._listeners = open_listeners(config, context.runtime_dir, os.environ)
        access = Access(TokenStore(context.state_dir), rate_per_s=config.rate_per_s, twilio=lambda: context.twilio)
        metrics = Metrics(context.phone, context.bus, self._events, lambda: context.webhooks)
        metrics.start()
        idempotency = Idempotency(context.keys, partial(_is_known, context.phone))
        await idempotency.load()
        self.services = Services(
            phone=context.phone,
            bus=context.bus,
            access=access,
            metrics=metrics,
            audit=context.audit,
            webhooks=lambda: context.webhooks,
            idempotency=idempotency,
            stream_urls=self._config.stream_urls,
            twilio=lambda: context.twilio,
        )
        version = context.phone.status().version
        self._gate = await asyncio.to_thread(build_app, self.services, self._policy(), version=version)
        self._server = _Server(self._gate)
        try:
            await self._server.open(self._listeners)
        except BaseException:
            self._listeners.close()
            await metrics.stop()
            raise
        where = ", ".join(_name(name) for name in (sock.getsockname() for sock in self._listeners.sockets))
        log.info("control API on %s", where)

    def _policy(self) -> Policy:
        config = self._config
        return Policy(ports=self.ports, hosts=config.allowed_hosts, origins=config.allowed_origins)

    def reconfigure(self, config: ApiConfig) -> list[str]:
        """See `phoned.service.Reconfigurable`."""
        fixed = [name for name in ApiConfig.model_fields if name not in CHANGEABLE]
        kept = {
            name: getattr(self._config, name) for name in fixed if getattr(self._config, name) != getattr(config, name)
        }
        self._config = config.model_copy(update=kept)
        if self._gate is not None and self.services is not None:
            self._gate.policy = self._policy()
            self.services.access.rate.change(config.rate_per_s)
            self.services.stream_urls = config.stream_urls
        return list(kept)

    async def stop(self, budget_s: float) -> None:
        """End the event streams, let running requests finish within the budget, then cut them off."""
        if self._server is None or self.services is None or self._listeners is None:
            return
        self.services.stopping = True
        for stream in tuple(self.services.streams):
            stream.close()
        server, self._server = self._server, None
        await server.close(budget_s)
        await self.services.metrics.stop()
        self._listeners.close()


def _is_known(phone: PhoneControl, call: str) -> bool:
    try:
        phone.call(call)
    except NotFound:
        return False
    return True


def _name(address: object) -> str:
    return f"http://{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


class _Server(Server):
    """uvicorn without a main loop: nothing wakes up while nobody calls."""

    def __init__(self, app: Gate) -> None:
        super().__init__(
            Config(
                app,
                http=HttpProtocol,
                ws=WebSocketProtocol,
                ws_max_size=MAX_BODY,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                ws_per_message_deflate=False,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=KEEP_ALIVE_S,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
            )
        )

    async def open(self, listeners: Listeners) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=list(listeners.sockets))

    async def close(self, budget_s: float) -> None:
        """Like uvicorn's own shutdown, without its polling and with an end."""
        ends = asyncio.get_running_loop().time() + budget_s
        tasks = set(self.server_state.tasks)
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, budget_s - 1.0))
        for task in self.server_state.tasks:
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=max(0.1, ends - asyncio.get_running_loop().time()))
        for connection in list(self.server_state.connections):
            connection.transport.abort()
