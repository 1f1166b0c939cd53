"""Sound from a URL: from where the guard allows, bounded in time and size, and played in a real call."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from phoned.audio import fetch
from phoned.audio.fetch import SoundFetcher, Spool
from phoned.errors import (
    AtCapacity,
    DeadlineExceeded,
    Denied,
    DiskFull,
    FetchFailed,
    Gone,
    InvalidValue,
    PhonedError,
    UnavailableError,
)
from phoned.media.desk import MAX_PLAYBACKS
from phoned.media.events import PlaybackFinished
from phoned.model import PlaybackView, PlayRequest
from phoned.urls import Reach, UrlGuard
from tests.support.media import call, frequency, until
from tests.support.sounds import encoded

LOCAL = ("127.0.0.0/8",)


class Server:
    """Answers each path with the bytes that are there for it, and then says no more."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self.pages = dict(pages)
        self.port = 0
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            answer = self.pages[head.split()[1].decode()]
            writer.write(answer)
            await writer.drain()
            while not answer.endswith(b"\r\n0\r\n\r\n") and b"ontent-Length" not in answer:
                if b"chunked" in answer:
                    writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                    await writer.drain()
                else:
                    await reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has enough
        finally:
            writer.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def page(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def server(**pages: bytes) -> AsyncIterator[Server]:
    made = Server({f"/{name}": answer for name, answer in pages.items()})
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()


def fetcher(*, allow: Sequence[str] = LOCAL, deadline_s: float = 5.0) -> SoundFetcher:
    async def resolve(host: str, port: int, deadline_s: float) -> Sequence[str]:
        return (host if host[0].isdigit() else "127.0.0.1",)

    return SoundFetcher(UrlGuard(Reach(allow), resolve), agent="phoned/test", deadline_s=deadline_s)


async def test_what_a_url_gives_is_heard_and_given_back(tmp_path: Path) -> None:
    sound = encoded(tmp_path / "a.mp3", 900, 0.6).read_bytes()
    through = fetcher()
    async with server(news=page(sound)) as far, call(fetch=through.fetch) as pair:
        far.pages["/news?token=secret"] = far.pages["/news"]
        url = far.url("/news?token=secret")
        view = await pair.a.session.play(PlayRequest(url=url, loop=2))
        assert view.url == far.url("/news")
        assert "secret" not in repr(PlayRequest(url=url))
        assert through.held == len(sound)
        await pair.b.listen(0.2)
        assert frequency(await pair.b.listen(0.3), 16000) == pytest.approx(900, abs=8)
        finished = (await pair.a.wait(PlaybackFinished)).playback
        assert finished.state == "finished"
        assert finished.position_s == pytest.approx(1.2, abs=0.05)
        await until(lambda: through.held == 0)
        (asked,) = far.asked
        assert b"User-Agent: phoned/test" in asked
        assert f"Host: 127.0.0.1:{far.port}".encode() in asked

        far.pages["/news"] = page(b"<html>no sound</html>")
        with pytest.raises(InvalidValue, match="no WAV, Ogg, FLAC or MP3") as refused:
            await pair.a.session.play(PlayRequest(url=far.url("/news")))
        assert refused.value.pointer == "/url"
        await until(lambda: through.held == 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (page(b"", "Location: http://169.254.169.254/", status="302 Found"), "redirect"),
        (page(b"gone", status="404 Not Found"), "HTTP 404"),
        (page(b"", status="206 Partial Content"), "HTTP 206"),
        (page(b"packed", "Content-Encoding: gzip"), "Content-Encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 33554433\r\n\r\n", "more than 32 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "more than 32 MiB|no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "more than 1 MiB"),
        (b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", "no HTTP|broke"),
    ],
)
async def test_an_answer_that_is_no_sound_is_told(monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str) -> None:
    if why == "more than 1 MiB":
        monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 20)
    through = fetcher()
    async with server(x=answer) as far:
        with pytest.raises(FetchFailed, match=why):
            await through.fetch(far.url("/x"))
    await until(lambda: through.held == 0)


@pytest.mark.parametrize(
    ("url", "allow", "why"),
    [
        ("https://127.0.0.1/a.wav", (), "loopback"),
        ("https://sounds.test/a.wav", (), "loopback"),  # a name that leads here
        ("https://169.254.169.254/latest", LOCAL, "link-local"),
        ("https://10.0.0.1/", LOCAL, "private"),
        ("http://93.184.215.14/", LOCAL, "unencrypted"),
    ],
)
async def test_what_may_not_be_reached_is_not_asked(url: str, allow: Sequence[str], why: str) -> None:
    with pytest.raises(Denied, match=why):
        await fetcher(allow=allow).fetch(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/a", "concat:a|b", "https://u:p@x/a", "//x/a", "https://", "https://x/ a"]
)
async def test_what_is_no_url_for_sound(url: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        await fetcher().fetch(url)
    assert refused.value.pointer == "/url"


async def test_nobody_there_and_nobody_who_answers() -> None:
    with pytest.raises(FetchFailed, match="no connection"):
        await fetcher().fetch("http://127.0.0.1:9/")
    with pytest.raises(FetchFailed, match="no connection"):
        await fetcher().fetch("https://127.0.0.1:9/")
    slow = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(300_000)
    async with server(x=slow) as far:
        through = fetcher(deadline_s=0.2)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
            await through.fetch(far.url("/x"))
        await until(lambda: through.held == 0)


async def test_only_so_many_at_once_and_so_much_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "AT_ONCE", 1)
    async with server(x=b"HTTP/1.1 200 OK\r\n\r\n", y=page(bytes(1000))) as far:
        through = fetcher(deadline_s=0.5)
        two = await asyncio.gather(*(through.fetch(far.url("/x")) for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in two] == [DeadlineExceeded, AtCapacity]
        monkeypatch.setattr(fetch, "HELD_BYTES", fetch.MAX_BYTES + 999)
        file, size = await through.fetch(far.url("/y"))
        assert size == 1000
        with pytest.raises(AtCapacity):
            await through.fetch(far.url("/y"))
        assert file.read() == bytes(1000)
        file.close()
        file.close()
        assert through.held == 0
        (await through.fetch(far.url("/y")))[0].close()


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EIO, UnavailableError)])
async def test_a_disk_that_does_not_take_it_is_told(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[PhonedError]
) -> None:
    def fail(file: int, data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    async with server(x=page(bytes(1000))) as far:
        through = fetcher()
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(kind, match="cannot be kept"):
            await through.fetch(far.url("/x"))
        monkeypatch.undo()
    assert through.held == 0


def test_a_file_that_was_closed_takes_no_more() -> None:
    counted: list[int] = []
    spool = Spool(counted.append)
    spool.put(b"abc")
    spool.close()
    spool.put(b"def")
    assert counted == [3, -3]


async def test_a_call_without_a_fetcher_plays_nothing_from_urls() -> None:
    async with call(connect=False) as pair:
        with pytest.raises(UnavailableError):
            await pair.a.session.play(PlayRequest(url="https://x.test/a.wav"))


async def test_a_call_that_ends_meanwhile_plays_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    sound = io.BytesIO(encoded(tmp_path / "a.mp3", 900, 0.2).read_bytes())
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(url: str) -> tuple[BinaryIO, int]:
        asked.set()
        await answered.wait()
        return sound, len(sound.getvalue())

    async def play(name: str) -> PlaybackView:
        return await pair.a.session.play(PlayRequest(url="https://x.test/a.mp3"), name)

    async def end() -> None:
        await asked.wait()
        await pair.a.session.close()
        answered.set()

    async with call(connect=False, fetch=slow) as pair:
        first, second, _ = await asyncio.gather(play("pb_1"), play("pb_1"), end(), return_exceptions=True)
        assert isinstance(first, Gone)
        assert isinstance(second, InvalidValue)
        await until(lambda: sound.closed)


async def test_so_many_playbacks_count_from_when_they_are_asked_for() -> None:
    async def never(url: str) -> tuple[BinaryIO, int]:
        await asyncio.sleep(0)
        raise FetchFailed("no")

    async with call(connect=False, fetch=never) as pair:
        plays = (pair.a.session.play(PlayRequest(url="https://x.test/a")) for _ in range(MAX_PLAYBACKS + 1))
        failed = await asyncio.gather(*plays, return_exceptions=True)
        assert [type(each) for each in failed] == [FetchFailed] * MAX_PLAYBACKS + [AtCapacity]
        await pair.a.session.play(PlayRequest(tone="440"))
