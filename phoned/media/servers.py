"""What is known about STUN and TURN servers, for all calls: a dead one must not delay every offer by its budget."""

from __future__ import annotations

import asyncio
import socket

DEAD_SERVER_S = 60.0
"""How long a STUN or TURN server that did not answer is left out of gathering."""


class ServerMemory:
    """What is known about STUN and TURN servers: resolved addresses, and those that did not answer lately."""

    def __init__(self) -> None:
        self._resolved: dict[str, str] = {}
        self._dead_until: dict[tuple[str, int], float] = {}

    async def resolve(self, host: str) -> str:
        """The server's address, from memory when it was resolved before."""
        if host not in self._resolved:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            self._resolved[host] = str(found[0][4][0])
        return self._resolved[host]

    def usable(self, server: tuple[str, int]) -> bool:
        """False for a server that did not answer within the last minute."""
        return self._dead_until.get(server, 0.0) <= asyncio.get_running_loop().time()

    def failed(self, server: tuple[str, int]) -> None:
        """It did not answer: leave it out for a while, and resolve it anew then."""
        self._dead_until[server] = asyncio.get_running_loop().time() + DEAD_SERVER_S
        self._resolved.pop(server[0], None)
