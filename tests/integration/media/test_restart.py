"""The call outlives its transport: ICE restarts under a living association, new associations, refusals (rules 1-10)."""

from __future__ import annotations

import asyncio
import re

import pytest

from phoned.errors import DescriptionError, Gone, UnavailableError, WrongState
from phoned.media.events import Flowing, MediaFailed, OfferReason, OfferWanted, PathChanged, RestartFailed
from phoned.media.options import IceOptions, SessionOptions
from phoned.model import MediaState, PlayRequest
from tests.support.media import Call, Party, call, connect_through, until, wire


def field(description: bytes, name: str) -> str:
    found = re.search(rf"^(?:a={name}:|{name}=)(.*?)\r?$".encode(), description, re.MULTILINE)
    assert found is not None, name
    return found[1].decode()


async def longest_gap_ms(pair: Call, during: asyncio.Task[object], settle_s: float = 0.5) -> float:
    """The longest time between two sounding 20 ms frames at b while ``during`` runs, and a while after."""
    port, loop = pair.b.port, asyncio.get_running_loop()
    port.take()
    silent = longest = 0
    end: float | None = None
    while end is None or loop.time() < end:
        for frame in port.take():
            silent = 0 if any(frame.heard) else silent + 20
            longest = max(longest, silent)
        if during.done() and end is None:
            during.result()
            end = loop.time() + settle_s
        await asyncio.sleep(0.01)
    return longest


@pytest.mark.parametrize("who", ["a", "b"])
async def test_an_ice_restart_keeps_association_keys_and_stream(who: str) -> None:
    async with call() as pair:
        first = pair.a.session.current_offer()
        assert first is not None
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        offerer = pair.a if who == "a" else pair.b
        ssrc = pair.b.all(Flowing)[0].ssrc
        during = asyncio.get_running_loop().create_task(pair.exchange(offerer, ice_restart=True))
        gap = await longest_gap_ms(pair, during)
        offer, answer = during.result()
        assert gap <= 60
        ours = offer if who == "a" else answer
        assert field(ours, "ice-ufrag") != field(first, "ice-ufrag")
        assert field(ours, "fingerprint") == field(first, "fingerprint")
        assert field(ours, "tls-id") == field(first, "tls-id")
        flowing = pair.b.all(Flowing)[-1]
        assert (flowing.ssrc, flowing.ice_generation, flowing.dtls_generation) == (ssrc, 2, 1)
        assert pair.b.session.stats().packets_lost == 0
        assert pair.b.session.state is MediaState.FLOWING


async def test_restarts_can_be_repeated_from_both_ends() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        for round_ in range(4):
            await pair.exchange(pair.a if round_ % 2 else pair.b, ice_restart=True)
        assert pair.a.session.stats().ice_generation == 5
        assert pair.a.session.stats().dtls_generation == 1
        assert pair.b.session.stats().packets_lost == 0


async def test_the_old_sockets_close_after_the_swap() -> None:
    async with call() as pair:
        old = pair.a.session.view().local
        await pair.exchange(ice_restart=True)
        assert pair.a.session.view().local != old
        await asyncio.sleep(0.4)
        assert old is not None
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", int(old.rpartition(":")[2]))
        )
        transport.close()


async def test_a_rebuild_makes_a_new_association_and_the_sound_hardly_notices() -> None:
    async with call() as pair:
        first = pair.a.session.current_offer()
        assert first is not None
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        during = asyncio.get_running_loop().create_task(pair.exchange(rebuild=True))
        gap = await longest_gap_ms(pair, during)
        offer, _ = during.result()
        assert field(offer, "fingerprint") != field(first, "fingerprint")
        assert field(offer, "tls-id") != field(first, "tls-id")
        assert field(offer, "setup") == "actpass"
        await until(lambda: pair.a.session.stats().dtls_generation == pair.b.session.stats().dtls_generation == 2)
        assert gap <= 100
        assert pair.a.all(MediaFailed) == []


async def test_a_reoffer_raises_the_version_and_keeps_the_rest() -> None:
    async with call() as pair:
        first = pair.a.session.current_offer()
        assert first is not None
        offer, _ = await pair.exchange(flow=False)
        name = field(first, "o").split()
        again = field(offer, "o").split()
        assert again[:2] == name[:2]
        assert int(again[2]) == int(name[2]) + 1
        assert field(offer, "ice-ufrag") == field(first, "ice-ufrag")
        assert field(offer, "setup") == "passive"
        assert pair.a.session.current_offer() == offer
        offer, _ = await pair.exchange(pair.b, flow=False)
        assert field(offer, "setup") == "active"
        assert pair.a.session.stats().ice_generation == 1


async def test_a_refused_restart_leaves_everything_running() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        before = pair.a.session.view()
        await pair.a.session.offer(ice_restart=True)
        pair.a.session.rollback()
        await pair.a.session.offer(rebuild=True)
        pair.a.session.rollback()
        await pair.b.listen(0.3)
        assert pair.a.session.view() == before
        assert pair.b.session.stats().packets_lost == 0
        await pair.exchange(ice_restart=True)
        assert pair.a.session.stats().ice_generation == 2


async def test_an_answer_without_candidates_connects_and_asks_for_a_repeated_offer() -> None:
    async with call(connect=False) as pair:
        offer = await pair.a.session.offer()
        answer = await pair.b.session.answer(offer)
        bare = re.sub(rb"a=(candidate|end-of-candidates)[^\r]*\r\n", b"", answer)
        bare = re.sub(rb"m=audio \d+", b"m=audio 9", bare).replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0")
        await pair.a.session.accept_answer(bare)
        await pair.a.wait(Flowing)
        await pair.b.wait(Flowing)
        wanted = await pair.a.wait(OfferWanted)
        assert (wanted.reason, wanted.ice_restart, wanted.rebuild) == (OfferReason.NO_CANDIDATES, False, False)
        again, _ = await pair.exchange(flow=False)
        assert field(again, "ice-ufrag") == field(offer, "ice-ufrag")


async def test_a_path_without_answer_fails_at_the_deadline_and_leaves_the_old_one() -> None:
    quick = IceOptions(addresses=("127.0.0.1",), allow_loopback=True, connect_deadline_s=0.4)
    async with call(SessionOptions(codecs=("pcmu",), ice=quick)) as pair:
        offer = await pair.a.session.offer(ice_restart=True)
        answer = await pair.b.session.answer(offer)
        nowhere = re.sub(rb"m=audio \d+", b"m=audio 9", answer)
        nowhere = re.sub(rb"a=candidate[^\r]*\r\n", b"", nowhere)
        nowhere = re.sub(rb"a=ice-ufrag:[^\r]*", b"a=ice-ufrag:abcdefgh", nowhere)
        await pair.a.session.accept_answer(nowhere)
        failed = await pair.a.wait(RestartFailed)
        assert failed.cause == "ice"
        received = pair.a.session.stats().packets_received
        await pair.a.listen(0.2)
        assert pair.a.session.stats().packets_received > received
        assert pair.a.all(MediaFailed) == []


async def test_a_first_connection_that_never_comes_is_a_failure() -> None:
    quick = IceOptions(addresses=("127.0.0.1",), allow_loopback=True, connect_deadline_s=0.3)
    async with call(SessionOptions(codecs=("pcmu",), ice=quick), connect=False) as pair:
        offer = await pair.a.session.offer()
        answer = await pair.b.session.answer(offer)
        await pair.b.session.close()
        await pair.a.session.accept_answer(answer)
        failed = await pair.a.wait(MediaFailed)
        assert failed.cause == "ice"
        assert pair.a.session.state is MediaState.FAILED


async def on_the_way_to_nowhere(pair: Call) -> None:
    """Have ``a`` look for a first path that is not there."""
    offer = await pair.a.session.offer()
    answer = await pair.b.session.answer(offer)
    await pair.a.session.accept_answer(re.sub(rb"a=ice-ufrag:[^\r]*", b"a=ice-ufrag:abcdefgh", answer))
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("who", ["a", "b"])
async def test_a_first_connection_that_gives_way_to_another_try_is_no_failure(who: str) -> None:
    async with call(connect=False) as pair:
        await on_the_way_to_nowhere(pair)
        await pair.exchange(pair.a if who == "a" else pair.b, rebuild=True)
        assert pair.a.all(MediaFailed) == []
        assert pair.a.session.state is MediaState.FLOWING


async def test_a_first_connection_that_gave_way_to_a_refused_try_has_failed() -> None:
    async with call(connect=False) as pair:
        await on_the_way_to_nowhere(pair)
        await pair.a.session.offer(rebuild=True)
        await asyncio.sleep(0.05)
        assert pair.a.all(MediaFailed) == []
        pair.a.session.rollback()
        assert (await pair.a.wait(MediaFailed)).cause == "ice"
        assert pair.a.session.state is MediaState.FAILED


async def test_the_peers_own_new_fingerprint_is_followed() -> None:
    async with call() as pair:
        await pair.exchange(pair.b, rebuild=True)
        await until(lambda: pair.a.session.stats().dtls_generation == 2)
        await pair.exchange(pair.a, rebuild=True)
        await until(lambda: pair.b.session.stats().dtls_generation == 3)
        assert pair.a.all(MediaFailed) + pair.b.all(MediaFailed) == []


async def test_a_wrong_fingerprint_fails_and_no_sound_comes_out() -> None:
    async with call(connect=False) as pair:
        offer = await pair.a.session.offer()
        digest = re.search(rb"a=fingerprint:sha-256 (\S+)", offer)
        assert digest is not None
        forged = offer.replace(digest[1], b"AA" + digest[1][2:] if digest[1][:2] != b"AA" else b"BB" + digest[1][2:])
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.a.session.accept_answer(await pair.b.session.answer(forged))
        failed = await pair.b.wait(MediaFailed)
        assert failed.cause == "fingerprint"
        assert pair.b.session.state is MediaState.FAILED
        assert pair.b.session.stats().packets_sent == 0
        assert pair.b.all(Flowing) == []


async def test_sending_pauses_on_a_dead_path_until_the_new_one_is_there() -> None:
    async with call() as pair:
        offer = await pair.a.session.offer(ice_restart=True, pause=True)
        sent = pair.a.session.stats().packets_sent
        await asyncio.sleep(0.1)
        assert pair.a.session.stats().packets_sent == sent
        answer = await pair.b.session.answer(offer)
        await pair.a.session.accept_answer(answer)
        await until(lambda: pair.a.session.stats().packets_sent > sent)
        assert pair.a.all(PathChanged)[-1].ice_generation == 2


async def test_a_probe_tells_a_living_path_from_a_dead_one() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        rtt = await pair.a.session.probe()
        assert rtt is not None
        assert rtt < 0.4
        for half in halves:
            half.drop = lambda data: True
        assert await pair.a.session.probe() is None


async def test_lost_consent_is_reported_and_ends_sending() -> None:
    ice = IceOptions(addresses=("127.0.0.1",), allow_loopback=True, consent_interval_s=0.1, consent_timeout_s=1.0)
    async with wire() as halves, call(SessionOptions(codecs=("pcmu",), ice=ice), connect=False) as pair:
        await connect_through(pair, halves)
        for half in halves:
            half.drop = lambda data: True
        failed = await pair.a.wait(MediaFailed)
        assert failed.cause == "consent"
        sent = pair.a.session.stats().packets_sent
        await asyncio.sleep(0.1)
        assert pair.a.session.stats().packets_sent == sent


async def test_a_forged_early_record_does_not_spoil_the_association_to_come() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        offer = await pair.a.session.offer(rebuild=True)
        # looks like a ClientHello on the old pair, before the answer: kept (rule 4), and found to be nonsense
        halves[0].inject(b"\x16\xfe\xfd" + bytes(8) + b"\x00\x10\x01" + bytes(15))
        await asyncio.sleep(0.05)
        await pair.a.session.accept_answer(await pair.b.session.answer(offer))
        await until(lambda: pair.a.session.stats().dtls_generation == 2)
        assert pair.a.all(MediaFailed) == []


@pytest.mark.parametrize("role", ["server", "client"])
async def test_an_association_that_the_peer_starts_on_its_own_is_followed(role: str) -> None:
    """rtpengine without tls-id: close_notify and a new handshake in mid call, nothing in the descriptions (rule 8)."""
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        mover, follower = (pair.b, pair.a) if role == "server" else (pair.a, pair.b)
        peer = mover.session.transport.peer
        assert peer is not None
        during = asyncio.get_running_loop().create_task(renew(mover, role))
        gap = await longest_gap_ms(pair, during)
        await until(lambda: follower.session.stats().dtls_generation == 2)
        assert gap <= 100
        assert pair.a.all(MediaFailed) + pair.b.all(MediaFailed) == []


async def renew(mover: Party, role: str) -> None:
    transport = mover.session.transport
    peer = transport.peer
    assert peer is not None
    if role == "client":  # the mover is the server: its close_notify asks the client for a new association
        await transport.say_goodbye()
    await transport.establish(peer)


async def test_an_answer_of_another_fork_asks_for_a_restart() -> None:
    async with call(connect=False) as pair:
        offer = await pair.a.session.offer()
        answer = await pair.b.session.answer(offer)
        await pair.a.session.accept_answer(answer)
        await pair.a.wait(Flowing)
        await pair.a.session.accept_answer(answer)
        assert pair.a.all(OfferWanted) == []
        other = re.sub(rb"a=ice-ufrag:[^\r]*", b"a=ice-ufrag:other1", answer)
        await pair.a.session.accept_answer(other)
        wanted = await pair.a.wait(OfferWanted)
        assert (wanted.reason, wanted.ice_restart) == (OfferReason.REMOTE_CHANGED, True)


async def test_verbs_in_the_wrong_state_are_refused_and_change_nothing() -> None:
    async with call() as pair:
        with pytest.raises(WrongState):
            await call_without_offer(pair)
        await pair.a.session.offer()
        with pytest.raises(WrongState):
            await pair.a.session.offer()
        offer = await pair.b.session.offer()
        with pytest.raises(WrongState):
            await pair.a.session.answer(offer)
        pair.a.session.rollback()
        pair.b.session.rollback()
        with pytest.raises(DescriptionError) as refused:
            await pair.a.session.answer(b"v=0\r\nnonsense")
        assert refused.value.status in (400, 488)
        with pytest.raises(DescriptionError):
            await pair.a.session.answer(offer.replace(b"PCMU/8000", b"GSM/8000").replace(b"SAVPF 0 ", b"SAVPF 3 "))
        opened = await pair.a.session.offer(ice_restart=True)
        with pytest.raises(DescriptionError):
            await pair.a.session.accept_answer(opened.replace(b"a=setup:passive", b"a=setup:actpass"))
        pair.a.session.rollback()
        await pair.exchange(ice_restart=True)
        assert pair.a.session.state is MediaState.FLOWING
        await pair.a.session.close()
        await pair.a.session.close()
        with pytest.raises(Gone):
            await pair.a.session.offer()


async def call_without_offer(pair: Call) -> None:
    async with call(connect=False) as fresh:
        current = pair.a.session.current_offer()
        assert current is not None
        await fresh.a.session.accept_answer(current.replace(b"setup:actpass", b"setup:active"))


async def test_a_session_without_any_address_says_so() -> None:
    nowhere = SessionOptions(codecs=("pcmu",), ice=IceOptions(addresses=("192.0.2.250",)))
    async with call() as other, call(nowhere, connect=False) as pair:
        with pytest.raises(UnavailableError):
            await pair.a.session.offer()
        offer = await other.a.session.offer()
        with pytest.raises(UnavailableError):
            await pair.a.session.answer(offer)
