"""What others wrote for Twilio and Vonage, at the bot protocols and at the REST API: nothing of it is changed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from phoned.services.streams.protocol import Clear, Mark, Play, StreamInfo, StreamProtocol
from phoned.services.streams.protocols import new_protocol
from phoned.tasks import Tasks
from phoned.twilio import call_of_sid, call_sid, stream_sid
from tests.peers.conftest import StartPhone, show
from tests.peers.harness.bots import ACCOUNT_SID, TOKEN, PipecatBot, Serializer, run_client, twilio_variables
from tests.peers.harness.exchange import ExchangeProcess
from tests.peers.harness.sound import Sound
from tests.support.child import free_ports, until
from tests.support.daemon import PhonedProcess

SPOKEN_HZ, BOT_HZ = 440.0, 700.0
INFO = StreamInfo(
    id="str_" + "5e" * 16,
    call="call_" + "c1" * 16,
    account="front",
    direction="out",
    from_number="alice",
    to_number="echo",
    account_sid=ACCOUNT_SID,
    parameters={"greeting": "hello"},
)


class Leg:
    """A call's end of the protocol: a tone is said, what the bot plays is kept, each 20 ms."""

    def __init__(self, connection: ClientConnection, protocol: StreamProtocol) -> None:
        self._connection = connection
        self.protocol = protocol
        self._queue: deque[bytes] = deque()
        self._heard = bytearray()
        self.cleared = 0
        self.closed = asyncio.Event()

    async def send(self, messages: list[str | bytes]) -> None:
        for message in messages:
            await self._connection.send(message)

    async def run(self) -> None:
        """Until the bot closes."""
        try:
            async for message in self._connection:
                for action in self.protocol.receive(message):
                    match action:
                        case Play(pcm=pcm):
                            self._heard += pcm
                        case Clear():
                            self.cleared += 1
                            await self.send(self.protocol.cleared())
                        case Mark(name=name):
                            await self.send(self.protocol.played(name))
        except ConnectionClosed:
            pass  # the bot's way to say that it is over
        finally:
            self.closed.set()

    async def speak(self) -> None:
        """A tone, as the clock goes."""
        rate = self.protocol.rate
        samples = (np.sin(np.arange(rate) * 2 * np.pi * SPOKEN_HZ / rate) * 12_000).astype(np.int16)
        frames = [frame.tobytes() for frame in np.split(samples, 50)]
        loop = asyncio.get_running_loop()
        start, n = loop.time(), 0
        while not self.closed.is_set():
            try:
                await self.send(self.protocol.audio(frames[n % 50], "inbound"))
            except ConnectionClosed:
                return
            n += 1
            await asyncio.sleep(start + n * 0.02 - loop.time())

    async def hears(self, frequency_hz: float, timeout_s: float = 10.0) -> Sound:
        """Until half a second of this tone has come."""
        async with asyncio.timeout(timeout_s):
            while True:
                await asyncio.sleep(0.1)
                sound = Sound.from_pcm16(bytes(self._heard[-self.protocol.rate :]), self.protocol.rate)
                if sound.duration_s >= 0.5 and sound.tone().frequency_hz == pytest.approx(frequency_hz, abs=5):
                    return sound


@asynccontextmanager
async def leg(url: str, protocol: StreamProtocol, info: StreamInfo) -> AsyncIterator[Leg]:
    def crashed(name: str, error: BaseException) -> None:
        raise error

    tasks = Tasks("leg", crashed)
    async with connect(url, compression=None) as connection:
        made = Leg(connection, protocol)
        await made.send(protocol.start(info))
        tasks.spawn("hears", made.run())
        tasks.spawn("speaks", made.speak())
        try:
            yield made
        finally:
            await tasks.close()


@pytest.fixture(params=[("twilio", 8000), ("vonage", 16000)], ids=lambda param: str(param[0]))
def bot(request: pytest.FixtureRequest) -> Iterator[tuple[PipecatBot, StreamProtocol]]:
    serializer: Serializer
    serializer, rate = request.param
    variables = twilio_variables("http://127.0.0.1:9", ACCOUNT_SID, TOKEN)
    with PipecatBot(serializer, rate, variables) as process:
        yield process, new_protocol("twilio" if serializer == "twilio" else "l16", sample_rate=rate)
        show("pipecat", process.log)


async def test_it_hears_and_is_heard_takes_digits_and_clears(bot: tuple[PipecatBot, StreamProtocol]) -> None:
    process, protocol = bot
    async with leg(process.url, protocol, INFO) as line:
        heard = await line.hears(SPOKEN_HZ)
        assert heard.level_dbfs > -20
        assert heard.tone().purity > 0.9
        await line.send(protocol.dtmf("5", 100))
        await line.hears(BOT_HZ)
        await line.send(protocol.dtmf("0", 100))
        await line.hears(SPOKEN_HZ)
        assert line.cleared >= 1
        assert not protocol.ignored
    assert [each["digit"] for each in process.told("dtmf")] == ["5", "0"]
    process.wait("over")
    if protocol.rate == 8000:
        connected = process.told("connected")[0]
        assert (connected["kind"], connected["stream"]) == ("twilio", stream_sid(INFO.id))
        assert (connected["call"], connected["body"]) == (call_sid(INFO.call), {"greeting": "hello"})


@pytest.fixture
def phone(exchange: ExchangeProcess, start_phone: StartPhone) -> tuple[PhonedProcess, dict[str, str]]:
    """A daemon whose API is Twilio's, too, and what a bot has to know of that."""
    (port,) = free_ports(1)
    twilio = {"account_sid": ACCOUNT_SID, "auth_token_file": "twilio.token"}
    configuration = {"accounts": [exchange.account("alice")], "api": {"port": port}, "twilio": twilio}
    process = start_phone(PhonedProcess(configuration, secrets={**exchange.users, "twilio.token": TOKEN}))
    process.wait_ready()
    return process, twilio_variables(f"http://127.0.0.1:{port}", ACCOUNT_SID, TOKEN)


async def test_it_hangs_up_over_the_rest_api(phone: tuple[PhonedProcess, dict[str, str]]) -> None:
    process, variables = phone
    call = process.place("alice", "echo", wait="answered")
    with PipecatBot("twilio", 8000, variables) as bot:
        async with leg(bot.url, new_protocol("twilio"), replace(INFO, call=call)) as line:
            await line.hears(SPOKEN_HZ)
            await line.send(line.protocol.dtmf("#", 100))
            await asyncio.wait_for(line.closed.wait(), 15.0)
        until(lambda: "Successfully terminated Twilio call" in bot.log, "the bot has hung up")
        show("pipecat", bot.log)
    end = process.call(call)["end"]
    assert (end["cause"], end["by"]) == ("completed", "local")


def test_twilios_own_library_places_reads_and_ends_calls(phone: tuple[PhonedProcess, dict[str, str]]) -> None:
    process, variables = phone
    seen = run_client(variables, "alice", "echo")
    call = str(call_of_sid(seen.pop("sid")))
    assert seen.pop("canceled") in ("canceled", "completed", "in-progress")  # the echo may have answered meanwhile
    assert seen == {
        "placed": "queued",
        "direction": "outbound-api",
        "up": "in-progress",
        "from": "alice",
        "to": "echo",
        "started": True,
        "listed": True,
        "ended": "completed",
        "duration": seen["duration"],
        "end_time": True,
        "again": "completed",
        "unknown": [404, 20404],
        "emergency": [403, 21215],
        "nobody": [400, 21212],
        "stranger": [401, 20003],
    }
    assert process.call(call)["end"]["by"] == "local"
