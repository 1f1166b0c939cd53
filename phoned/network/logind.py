"""Hears logind say that the machine is awake again (org.freedesktop.login1(5), ``PrepareForSleep``), if there is one.

A hint that hastens `phoned.network.suspend`, which asks the clocks and alone decides: without a system bus the phone
notices a resume up to a second later and misses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from phoned.network.dbus import FIXED_HEADER, Field, Message, MessageType, Value, WireError, length_of, read

logger = logging.getLogger(__name__)

DEFAULT_SOCKET = "/run/dbus/system_bus_socket"
HELLO_DEADLINE_S = 5.0
RETRY_S, RETRY_CAP_S = 5.0, 300.0

_BUS: dict[int, Value] = {
    Field.PATH: "/org/freedesktop/DBus",
    Field.INTERFACE: "org.freedesktop.DBus",
    Field.DESTINATION: "org.freedesktop.DBus",
}
_SLEEP = {Field.INTERFACE: "org.freedesktop.login1.Manager", Field.MEMBER: "PrepareForSleep"}
_MATCH = (
    "type='signal',sender='org.freedesktop.login1',path='/org/freedesktop/login1',"
    "interface='org.freedesktop.login1.Manager',member='PrepareForSleep'"
)


class LogindWatch:
    """Calls ``on_awake`` when logind announces the end of a sleep. Driven by the bus: its owner spawns `run`."""

    def __init__(self, on_awake: Callable[[], None], *, socket: str = DEFAULT_SOCKET) -> None:
        self._on_awake = on_awake
        self._socket = socket

    async def run(self) -> None:
        """Returns at once where there is no system bus; else never, a lost bus is looked for again."""
        delay_s = RETRY_S
        loop = asyncio.get_running_loop()
        while os.path.exists(self._socket):  # noqa: ASYNC240  # one stat of a local path
            began = loop.time()
            try:
                await self._listen()
            except (OSError, EOFError, ValueError) as error:  # gone, closed, or no D-Bus
                logger.debug("< system bus: %s", error)
            if loop.time() - began > RETRY_CAP_S:
                delay_s = RETRY_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_CAP_S)
        logger.debug("no system bus: the clocks alone tell of sleep")

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                # SASL EXTERNAL: the bus asks the kernel who we are
                writer.write(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
                answer = await reader.readline()
                if not answer.startswith(b"OK"):
                    raise WireError("the bus does not let us in")
                hello = Message(type=MessageType.METHOD_CALL, serial=1, fields={**_BUS, Field.MEMBER: "Hello"})
                match = Message(
                    type=MessageType.METHOD_CALL, serial=2, fields={**_BUS, Field.MEMBER: "AddMatch"}, body=(_MATCH,)
                )
                writer.write(b"BEGIN\r\n" + hello.write() + match.write())
                await writer.drain()
            while True:
                self._on_message(await _receive(reader))
        finally:
            writer.close()

    def _on_message(self, message: Message | None) -> None:
        if message is None or message.type is not MessageType.SIGNAL or not _SLEEP.items() <= message.fields.items():
            return
        asleep = message.body == (True,)
        logger.debug("< logind: %s", "about to sleep" if asleep else "awake again")
        if not asleep:
            self._on_awake()


async def _receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when it holds something that we do not read."""
    start = await reader.readexactly(FIXED_HEADER)
    rest = await reader.readexactly(length_of(start) - FIXED_HEADER)
    try:
        return read(start + rest)
    except WireError as error:
        logger.debug("< system bus: %s", error)
        return None
