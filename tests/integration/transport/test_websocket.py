"""WebSocket flows against real and misbehaving servers on loopback."""

from __future__ import annotations

import asyncio
import socket

import pytest
from websockets.asyncio.server import ServerConnection

from phoned.model import Cause
from phoned.transport import websocket
from phoned.transport.flow import Flow, FlowListener, FlowTarget
from tests.integration.transport.servers import (
    Ear,
    accept_upgrade,
    dialer,
    frame,
    mute,
    raw_server,
    sip_server,
)

OPTIONS = b"OPTIONS sip:a@example.org SIP/2.0\r\n\r\n"


async def dial(url: str, ear: FlowListener, deadline_s: float = 5.0) -> Flow:
    return await dialer().dial(FlowTarget(url=url), ear, deadline_s=deadline_s)


async def test_messages_pass_both_ways_as_text_and_as_binary() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    ear = Ear()
    async with sip_server(echo) as url:
        flow = await dial(url, ear)
        assert (flow.transport, flow.generation, flow.is_open) == ("WS", 1, True)
        assert flow.local.host == flow.remote.host == "127.0.0.1"
        assert flow.send(OPTIONS)
        assert flow.send("SUBJECT: \u00fc".encode())
        assert flow.send(b"latin \xfc")
        assert [await ear.message() for _ in range(3)] == [OPTIONS, "SUBJECT: \u00fc".encode(), b"latin \xfc"]
        flow.abort()
        await ear.end()


async def test_a_message_that_is_no_utf8_is_sent_as_a_binary_frame() -> None:
    seen: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def note(connection: ServerConnection) -> None:
        async for message in connection:
            seen.put_nowait(message)

    async with sip_server(note) as url:
        flow = await dial(url, Ear())
        flow.send(b"ascii")
        flow.send(b"\xfc")
        assert [await seen.get(), await seen.get()] == ["ascii", b"\xfc"]
        flow.abort()


async def test_double_crlf_is_answered_with_crlf_and_not_passed_up() -> None:
    answers: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def keep_alive(connection: ServerConnection) -> None:
        await connection.send("\r\n\r\n")
        answers.put_nowait(await connection.recv())
        await connection.send("\r\n")
        await connection.send("")
        await connection.send("after")
        await connection.wait_closed()

    ear = Ear()
    async with sip_server(keep_alive) as url:
        flow = await dial(url, ear)
        assert await answers.get() == "\r\n"
        assert await ear.message() == b"after"
        flow.abort()


async def test_messages_in_the_segment_of_the_upgrade_come_after_dial_returned() -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer, more=frame(1, b"first") + frame(2, b"second"))
        await mute(reader, writer)

    ear = Ear()
    async with raw_server(eager) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        assert ear.messages.empty()
        assert [await ear.message(), await ear.message()] == [b"first", b"second"]
        flow.abort()


async def test_fragments_are_joined() -> None:
    async def pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = frame(1, b"one ", fin=False) + frame(0, b"two ", fin=False) + frame(9, b"ping") + frame(0, b"three")
        await accept_upgrade(reader, writer, more=parts)
        await mute(reader, writer)

    ear = Ear()
    async with raw_server(pieces) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        assert await ear.message() == b"one two three"
        flow.abort()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(frame(1, b"x" * 65_537), 1009, id="oversize"),
        pytest.param(frame(1, b"x" * 65_000, fin=False) + frame(0, b"x" * 1_000), 1009, id="oversize-in-fragments"),
        pytest.param(frame(1, b"\xff\xfe"), 1007, id="text-that-is-no-utf8"),
        pytest.param(frame(3, b""), 1002, id="reserved-opcode"),
        pytest.param(frame(0, b"stray"), 1002, id="continuation-without-start"),
    ],
)
async def test_a_broken_frame_ends_the_flow_with_its_code_and_is_not_passed_up(frames: bytes, code: int) -> None:
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await reader.readexactly(8)  # "go", masked
        writer.write(frames)
        close = await reader.readexactly(8)  # head, length, mask, code
        told.put_nowait(bytes(byte ^ close[2 + index] for index, byte in enumerate(close[6:8])))

    ear = Ear()
    async with raw_server(breaking) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        flow.send(b"go")
        cause, detail = await ear.end()
        assert cause is Cause.CLOSED
        assert str(code) in detail
        assert int.from_bytes(await told.get(), "big") == code
        assert ear.messages.empty()
        assert not flow.is_open
        assert not flow.send(OPTIONS)


async def test_a_message_of_exactly_64_kib_passes() -> None:
    async def big(connection: ServerConnection) -> None:
        await connection.send("x" * 65_536)
        await connection.wait_closed()

    ear = Ear()
    async with sip_server(big) as url:
        flow = await dial(url, ear)
        assert len(await ear.message()) == 65_536
        flow.abort()


async def test_the_servers_close_is_told_once_with_its_code() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("last")
        await connection.close(1001, "going away")

    ear = Ear()
    async with sip_server(leave) as url:
        flow = await dial(url, ear)
        flow.send(OPTIONS)
        assert await ear.end() == (Cause.CLOSED, "the server closed with 1001 'going away'")
        assert await ear.message() == b"last"
        assert ear.after_end == 0
        assert not flow.is_open
        flow.abort()
        flow.close()
        flow.set_user_timeout(1)
        with pytest.raises(Exception, match="1001"):
            await flow.ping(1)
    assert len(ear.ends) == 1


@pytest.mark.parametrize("how", ["reset", "half-close"])
async def test_a_connection_that_breaks_is_told_once(how: str) -> None:
    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await reader.read(1)
        if how == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        else:
            writer.write_eof()
            await reader.read()

    ear = Ear()
    async with raw_server(vanish) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        flow.send(OPTIONS)
        cause, _ = await ear.end()
        assert cause is Cause.CLOSED


async def test_our_close_is_told_to_the_server_and_once_to_the_listener() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def note(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    ear = Ear()
    async with sip_server(note) as url:
        flow = await dial(url, ear)
        flow.close()
        flow.close()
        assert not flow.is_open
        assert ear.ends == []
        assert await ear.end() == (Cause.CLOSED, "closed by us")
        assert await codes.get() == 1000


async def test_close_ends_within_its_second_at_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await mute(reader, writer)

    ear = Ear()
    async with raw_server(silent) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        flow.close()
        assert await ear.end() == (Cause.CLOSED, "closed by us")


async def test_abort_waits_for_nothing_and_calls_back_later_with_the_given_cause() -> None:
    ear = Ear()
    async with sip_server() as url:
        flow = await dial(url, ear)
        flow.abort(Cause.PING, "two pings missed")
        assert not flow.is_open
        assert ear.ends == []
        assert await ear.end() == (Cause.PING, "two pings missed")


async def test_ping_measures_the_round_trip() -> None:
    async with sip_server() as url:
        flow = await dial(url, Ear())
        before = flow.last_received
        first, second = await asyncio.gather(flow.ping(1), flow.ping(1))
        assert 0 < first < 1
        assert 0 < second < 1
        assert flow.last_received > before
        flow.abort()


async def test_a_silent_peer_misses_its_ping_and_the_flow_stays() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await mute(reader, writer)

    ear = Ear()
    async with raw_server(silent) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        with pytest.raises(Exception, match="ping: no pong") as caught:
            await flow.ping(0.02)
        assert getattr(caught.value, "cause", None) is Cause.PING
        assert flow.is_open
        flow.abort()


async def test_a_ping_under_way_hears_of_the_flows_end() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await reader.read(1)

    async with raw_server(silent) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", Ear())
        with pytest.raises(Exception, match="closed") as caught:
            await flow.ping(5)
        assert getattr(caught.value, "cause", None) is Cause.CLOSED


async def test_an_unasked_pong_means_nothing() -> None:
    async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer, more=frame(10, b"unasked") + frame(1, b"then"))
        await mute(reader, writer)

    ear = Ear()
    async with raw_server(pong) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        assert await ear.message() == b"then"
        flow.abort()


async def not_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept_upgrade(reader, writer)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads, too
    await asyncio.Event().wait()


async def test_a_peer_that_does_not_read_ends_the_flow_at_the_bound() -> None:
    ear = Ear()
    async with raw_server(not_reading) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        sent = 0
        while flow.send(b"x" * 60_000):
            sent += 60_000
            assert sent < 64 * 2**20, "the queue has no bound"
        cause, detail = await ear.end()
        assert cause is Cause.TIMEOUT
        assert "does not read" in detail


async def test_a_peer_that_stops_reading_ends_the_flow_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "STALL_S", 0.05)
    monkeypatch.setattr(websocket, "MAX_QUEUED", 2**30)
    ear = Ear()
    async with raw_server(not_reading) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        for _ in range(200):
            flow.send(b"x" * 60_000)
        cause, detail = await ear.end()
        assert cause is Cause.TIMEOUT
        assert "not read" in detail


async def test_a_slow_reader_that_catches_up_keeps_its_flow() -> None:
    go_on = asyncio.Event()
    total = 8 * 65_000
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def slow(connection: ServerConnection) -> None:
        await go_on.wait()
        got = 0
        async for message in connection:
            got += len(message)
            if got == total:
                done.set_result(got)

    async with sip_server(slow) as url:
        flow = await dial(url, Ear())
        for _ in range(8):
            assert flow.send(b"x" * 65_000)
            await asyncio.wait_for(flow.ping(5), 5) if go_on.is_set() else go_on.set()
        assert await asyncio.wait_for(done, 5) == total
        assert flow.is_open
        flow.abort()


async def test_a_listener_that_raises_is_logged_and_the_flow_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Ear):
        def on_message(self, flow: Flow, data: bytes) -> None:
            super().on_message(flow, data)
            raise RuntimeError("clumsy")

        def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
            super().on_closed(flow, cause, detail)
            raise RuntimeError("clumsy again")

    async def two(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("one")
        await connection.send("two")

    ear = Clumsy()
    async with sip_server(two) as url:
        flow = await dial(url, ear)
        flow.send(OPTIONS)
        assert [await ear.message(), await ear.message()] == [b"one", b"two"]
        await ear.end()
    assert "was not handled" in caplog.text


async def test_a_listener_may_abort_inside_its_message_and_hears_no_more() -> None:
    class Leaving(Ear):
        def on_message(self, flow: Flow, data: bytes) -> None:
            super().on_message(flow, data)
            flow.abort(detail="enough")

    async def many(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept_upgrade(reader, writer)
        await reader.read(1)
        writer.write(frame(1, b"one") + frame(1, b"two"))
        await mute(reader, writer)

    ear = Leaving()
    async with raw_server(many) as port:
        flow = await dial(f"ws://127.0.0.1:{port}/", ear)
        flow.send(OPTIONS)
        assert await ear.end() == (Cause.CLOSED, "enough")
        assert await ear.message() == b"one"
        assert ear.messages.empty()


async def test_tcp_is_told_to_send_at_once_and_how_long_to_wait() -> None:
    async with sip_server() as url:
        flow = await dialer().dial(FlowTarget(url=url), Ear(), deadline_s=5)
        flow.set_user_timeout(2.5)
        assert flow._transport is not None
        sock = flow._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500
        assert "open" in repr(flow)
        flow.abort()
