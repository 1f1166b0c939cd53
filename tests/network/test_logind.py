"""logind's word of sleep, from a bus that the test plays itself, and from a real one where it is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from phoned.network.dbus import FIXED_HEADER, Field, Message, MessageType, Value, length_of, read
from phoned.network.logind import LogindWatch
from phoned.tasks import Tasks

PATIENCE_S = 10.0


def signal(member: str, *body: Value) -> bytes:
    return Message(
        type=MessageType.SIGNAL,
        serial=5,
        fields={
            Field.PATH: "/org/freedesktop/login1",
            Field.INTERFACE: "org.freedesktop.login1.Manager",
            Field.MEMBER: member,
        },
        body=body,
    ).write()


async def next_message(reader: asyncio.StreamReader) -> Message:
    start = await reader.readexactly(FIXED_HEADER)
    return read(start + await reader.readexactly(length_of(start) - FIXED_HEADER))


@asynccontextmanager
async def watching(socket: Path) -> AsyncIterator[asyncio.Semaphore]:
    """The watch, beside the test; what it yields is released at each word of an awakening."""
    awake = asyncio.Semaphore(0)
    crashes: list[BaseException] = []
    tasks = Tasks("test", lambda _name, error: crashes.append(error))
    tasks.spawn("logind", LogindWatch(awake.release, socket=str(socket)).run())
    try:
        yield awake
    finally:
        await tasks.close()
    assert not crashes


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def bus(socket: Path, script: Script) -> AsyncIterator[list[bytes]]:
    """A bus that lets everybody in, reads what they want and goes on by the script."""
    greetings: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            greetings.append(await reader.readline())
            await script(reader, writer)
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield greetings
    finally:
        server.close()


async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[Message]:
    writer.write(b"OK 0123456789abcdef\r\n")
    assert await reader.readline() == b"BEGIN\r\n"
    return [await next_message(reader), await next_message(reader)]


async def test_the_end_of_a_sleep_is_told_and_nothing_else(tmp_path: Path) -> None:
    asked: list[Message] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await let_in(reader, writer))
        containers = signal("PropertiesChanged", "x").replace(b"\x01s\x00\x00", b"\x01a\x00\x00")
        for data in (signal("SessionNew", "7"), containers, signal("PrepareForSleep", True)):
            writer.write(data)
        writer.write(signal("PrepareForSleep", False))

    async with bus(tmp_path / "bus", script) as greetings, watching(tmp_path / "bus") as awake:
        async with asyncio.timeout(PATIENCE_S):
            await awake.acquire()
        assert awake.locked(), "told once"
    assert greetings == [b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n"]
    assert [message.fields[Field.MEMBER] for message in asked] == ["Hello", "AddMatch"]
    assert "sender='org.freedesktop.login1'" in str(asked[1].body[0])


async def test_without_a_bus_there_is_nothing_to_do(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await LogindWatch(lambda: None, socket=str(tmp_path / "none")).run()


@pytest.mark.parametrize("answer", [b"REJECTED EXTERNAL\r\n", b"OK 1\r\nnonsense that is no message", b""])
async def test_a_bus_that_refuses_or_talks_nonsense_is_left_alone(tmp_path: Path, answer: bytes) -> None:
    left = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not answer:
            writer.close()
        await reader.read()
        left.set()

    async with bus(tmp_path / "bus", script) as greetings, watching(tmp_path / "bus"):
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        assert len(greetings) == 1, "and not called again at once"


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")
async def test_a_real_bus_carries_the_word(tmp_path: Path) -> None:
    socket = tmp_path / "bus"
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", "--session", "--nofork", f"--address=unix:path={socket}", "--print-address=1",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert daemon.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await daemon.stdout.readline()
            async with watching(socket) as awake:
                await play_logind(socket, awake)
    finally:
        daemon.terminate()
        await daemon.wait()


async def play_logind(socket: Path, awake: asyncio.Semaphore) -> None:
    """Own logind's name and say that the machine is awake until somebody heard it."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    assert (await reader.readline()).startswith(b"OK")
    bus_fields: dict[int, Value] = {
        Field.PATH: "/org/freedesktop/DBus",
        Field.INTERFACE: "org.freedesktop.DBus",
        Field.DESTINATION: "org.freedesktop.DBus",
    }
    calls: list[tuple[str, tuple[Value, ...]]] = [("Hello", ()), ("RequestName", ("org.freedesktop.login1", 4))]
    writer.write(b"BEGIN\r\n")
    for serial, (member, body) in enumerate(calls, start=1):
        fields = {**bus_fields, Field.MEMBER: member}
        writer.write(Message(type=MessageType.METHOD_CALL, serial=serial, fields=fields, body=body).write())
    heard = False
    while not heard:
        writer.write(signal("PrepareForSleep", True) + signal("PrepareForSleep", False))
        try:
            async with asyncio.timeout(0.1):
                heard = await awake.acquire()
        except TimeoutError:
            continue  # it has not joined the bus yet
    writer.close()
