"""Names to addresses, off the loop, with a memory.

`Resolver` owns the lookups: one daemon thread a name at a time (a hung resolver neither blocks the loop nor delays the
end of the process), and the last good answer of each name, which is used when DNS fails or is slow, up to 24 hours old.
It knows nothing of what is dialled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from phoned.model import Cause
from phoned.transport.flow import FlowError

_log = logging.getLogger(__name__)

STALE_S = 86_400.0
"""How long an answer may stand in for a failing resolver."""

IMPATIENT_S = 0.5
"""How long a lookup is awaited when a remembered answer exists."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to try: the family and what `socket.connect` takes."""

    family: socket.AddressFamily
    address: tuple[Any, ...]


Lookup = Callable[[str, int], Sequence[Endpoint]]
"""Blocks; raises `OSError`. Runs in a thread of its own."""


def system_lookup(host: str, port: int) -> list[Endpoint]:
    """getaddrinfo(3), in its order (RFC 6724)."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [Endpoint(family, address) for family, _, _, _, address in found]


class Resolver:
    """Looks names up and remembers. Driven by `resolve`; lives on one loop."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._answers: dict[tuple[str, int], tuple[float, list[Endpoint]]] = {}
        self._running: dict[tuple[str, int], asyncio.Future[list[Endpoint]]] = {}

    async def resolve(self, host: str, port: int, deadline_s: float) -> list[Endpoint]:
        """The addresses of ``host``, at least one. Raises `FlowError` with `Cause.DNS`."""
        with contextlib.suppress(ValueError):
            literal = ip_address(host)
            if literal.version == 6:
                return system_lookup(host, port)  # AI_NUMERICHOST in effect: a literal is never sent to a server
            return [Endpoint(socket.AF_INET, (host, port))]
        key = (host, port)
        loop = asyncio.get_running_loop()
        remembered = self._answers.get(key)
        if remembered is not None and loop.time() - remembered[0] > STALE_S:
            del self._answers[key]
            remembered = None
        patience_s = deadline_s if remembered is None else min(IMPATIENT_S, deadline_s)
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(self._start(key))
        except TimeoutError:
            detail = f"no answer for {host} in {patience_s:.1f} s"
        except OSError as error:
            detail = f"{host}: {error.strerror or error}"
        if remembered is None:
            raise FlowError(Cause.DNS, detail)
        age_s = loop.time() - remembered[0]
        _log.warning("DNS failed (%s): using the answer of %.0f s ago", detail, age_s)
        return remembered[1]

    async def addresses(self, host: str, port: int, deadline_s: float) -> tuple[str, ...]:
        """The addresses alone, each once, for whoever is no flow. Raises `FlowError`, as `resolve`."""
        found = await self.resolve(host, port, deadline_s)
        return tuple(dict.fromkeys(str(endpoint.address[0]) for endpoint in found))

    def _start(self, key: tuple[str, int]) -> asyncio.Future[list[Endpoint]]:
        """The lookup that runs for ``key``; a second caller joins the first."""
        running = self._running.get(key)
        if running is not None:
            return running
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Endpoint]] = loop.create_future()
        self._running[key] = answer

        def finish(found: list[Endpoint], error: OSError | None) -> None:
            del self._running[key]
            if found:
                self._answers[key] = (loop.time(), found)
                answer.set_result(found)
            else:
                answer.set_exception(error or OSError("no address"))
                answer.exception()  # nobody may be waiting any more: that is no leak

        def work() -> None:
            found: list[Endpoint] = []
            failure: OSError | None = None
            try:
                found = list(self._lookup(*key))
            except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA refuses
                failure = error if isinstance(error, OSError) else OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(finish, found, failure)

        threading.Thread(target=work, name=f"dns-{key[0]}", daemon=True).start()
        return answer
