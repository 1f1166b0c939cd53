"""A call between two sessions: real ICE, DTLS and SRTP on loopback, and what is heard at the other end."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from phoned.audio.tones import sine
from phoned.media import rtcp
from phoned.media.events import CodecChanged, DtmfReceived, DtmfSent, InfoWanted, MediaStateChanged, RemoteHold
from phoned.media.options import SessionOptions
from phoned.model import DtmfRequest, MediaState, PlayRequest
from tests.support.media import LOOPBACK, Relay, call, connect_through, frequency, level_dbov, until, wire


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "g722", "opus"])
async def test_a_tone_is_heard_at_its_level_and_pitch(codec: str) -> None:
    async with call(SessionOptions(codecs=(codec,), ice=LOOPBACK)) as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        heard = await pair.b.listen(0.5)
        assert frequency(heard, 16000) == pytest.approx(1000, abs=5)
        assert level_dbov(heard) == pytest.approx(-15.05, abs=1.0)
        assert pair.b.session.view().codec == codec
        assert pair.b.session.state is MediaState.FLOWING


@pytest.mark.parametrize("rate", [8000, 48000])
async def test_the_graph_runs_at_other_rates(rate: int) -> None:
    async with call(SessionOptions(codecs=("opus",), graph_rate=rate, ice=LOOPBACK)) as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        await pair.b.listen(0.3)
        assert frequency(await pair.b.listen(0.5), rate) == pytest.approx(1000, abs=5)


async def test_sound_runs_both_ways_through_ports() -> None:
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="440", loop=True))
        pair.b.port.write(sine((700,), 16000, 1000))
        await pair.a.listen(0.2)
        assert level_dbov(await pair.a.listen(0.2)) > -20
        assert level_dbov(await pair.b.listen(0.2)) > -20
        stats = pair.a.session.stats()
        assert stats.sent_dbov is not None
        assert stats.received_dbov is not None
        assert -20 < stats.sent_dbov <= 0
        assert -20 < stats.received_dbov <= 0


async def test_mute_sends_silence_and_keeps_packets_coming() -> None:
    async with call() as pair:
        port = pair.a.port
        pair.a.session.mute(True)
        port.write(sine((700,), 16000, 800))
        await pair.b.listen(0.2)
        before = pair.b.session.stats().packets_received
        assert level_dbov(await pair.b.listen(0.2)) < -60
        assert pair.b.session.stats().packets_received > before
        assert pair.a.session.stats().sent_dbov == -127


async def test_hold_is_seen_by_the_peer_and_undone() -> None:
    async with call() as pair:
        pair.a.session.hold(True)
        offer, answer = await pair.exchange(flow=False)
        assert b"a=sendonly" in offer
        assert b"a=recvonly" in answer
        await pair.b.wait(RemoteHold)
        assert pair.b.session.remote_hold
        await until(lambda: pair.a.session.state is MediaState.QUIET)
        sent = pair.b.session.stats().packets_sent
        await pair.b.listen(0.2)
        assert pair.b.session.stats().packets_sent <= sent + 1
        pair.a.session.hold(False)
        offer, answer = await pair.exchange(flow=False)
        assert b"a=sendrecv" in answer
        await until(lambda: pair.a.session.state is MediaState.FLOWING)
        assert pair.b.all(RemoteHold)[-1].on is False


async def test_both_ends_may_hold_at_once() -> None:
    async with call() as pair:
        pair.a.session.hold(True)
        await pair.exchange(flow=False)
        pair.b.session.hold(True)
        offer, answer = await pair.exchange(pair.b, flow=False)
        assert b"a=sendonly" in offer
        assert b"a=inactive" in answer
        pair.a.session.hold(False)
        offer, answer = await pair.exchange(flow=False)
        assert b"a=recvonly" in answer or b"a=sendonly" in answer
        assert pair.a.session.remote_hold


@pytest.mark.parametrize("codec", ["pcmu", "opus"])
async def test_digits_arrive_once_each_in_order(codec: str) -> None:
    async with call(SessionOptions(codecs=(codec,), ice=LOOPBACK)) as pair:
        pair.a.session.dtmf(DtmfRequest(digits="12#D"))
        pair.b.session.dtmf(DtmfRequest(digits="9", duration_ms=60))
        await pair.b.wait(DtmfReceived, 4)
        await pair.a.wait(DtmfReceived)
        await pair.a.wait(DtmfSent, 4)
        assert [event.digit for event in pair.b.all(DtmfReceived)] == ["1", "2", "#", "D"]
        assert all(event.method == "rfc4733" for event in pair.b.all(DtmfReceived))
        assert pair.b.all(DtmfReceived)[0].duration_ms == pytest.approx(100, abs=20)
        assert [event.digit for event in pair.a.all(DtmfSent)] == ["1", "2", "#", "D"]


async def test_digits_in_the_audio_are_detected_when_asked_for() -> None:
    options = SessionOptions(codecs=("pcmu",), ice=LOOPBACK, detect_inband_dtmf=True)
    async with call(options) as pair:
        pair.a.session.dtmf(DtmfRequest(digits="5w0", method="inband"))
        await pair.b.wait(DtmfReceived, 2)
        assert [(e.digit, e.method) for e in pair.b.all(DtmfReceived)] == [("5", "inband"), ("0", "inband")]


async def test_digits_by_info_are_handed_to_the_call_layer_and_taken_from_it() -> None:
    async with call() as pair:
        pair.a.session.dtmf(DtmfRequest(digits="4w2", method="info"))
        await pair.a.wait(InfoWanted, 2)
        assert [event.digit for event in pair.a.all(InfoWanted)] == ["4", "2"]
        pair.b.session.info_digit("4", 160)
        received = await pair.b.wait(DtmfReceived)
        assert (received.digit, received.method, received.duration_ms) == ("4", "info", 160)


async def test_one_lost_packet_is_concealed_and_costs_no_delay() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        await pair.a.session.play(PlayRequest(tone="400", loop=True))
        await pair.b.listen(0.5)
        pair.b.port.take()
        lose = iter([False] * 5 + [True])
        towards_a: Relay = halves[0]
        towards_a.drop = lambda data: 127 < data[0] < 192 and not 192 <= data[1] < 224 and next(lose, False)
        heard = await pair.b.listen(0.6)
        assert pair.b.session.stats().packets_lost == 1
        assert pair.b.session.stats().concealed_ms == 20
        # no hole: every 10 ms of it sounds
        assert all(level_dbov(heard[at : at + 160]) > -30 for at in range(0, len(heard) - 160, 160))


async def test_a_reoffer_switches_the_codec_and_the_sound_goes_on() -> None:
    async with call(SessionOptions(codecs=("opus", "pcmu"), ice=LOOPBACK)) as pair:
        await pair.a.session.play(PlayRequest(tone="1000", loop=True))
        pair.a.session.prefer(("pcmu", "opus"))
        await pair.exchange(flow=False)
        assert pair.a.session.view().codec == "pcmu"
        await pair.b.wait(CodecChanged, 2)
        assert [event.codec for event in pair.b.all(CodecChanged)] == ["opus", "pcmu"]
        await pair.b.listen(0.4)
        heard = await pair.b.listen(0.4)
        assert frequency(heard, 16000) == pytest.approx(1000, abs=5)
        assert level_dbov(heard) == pytest.approx(-15.05, abs=1.0)


async def test_stats_tell_what_happened() -> None:
    async with call() as pair:
        await pair.a.listen(1.5)
        stats = pair.a.session.stats()
        assert stats.packets_sent > 60
        assert stats.packets_received > 60
        assert stats.bytes_received == stats.packets_received * 172
        assert stats.packets_lost == 0
        assert stats.rtt_ms is not None
        assert stats.mos is not None
        assert stats.mos > 4
        assert stats.local == pair.b.session.stats().remote


async def test_states_are_reported_in_order() -> None:
    async with call() as pair:
        assert [(event.old, event.new) for event in pair.a.all(MediaStateChanged)] == [
            (MediaState.NEGOTIATING, MediaState.CONNECTING_MEDIA),
            (MediaState.CONNECTING_MEDIA, MediaState.FLOWING),
        ]


async def test_silence_on_the_wire_is_a_stall_and_heals() -> None:
    async with wire() as halves, call(connect=False) as pair:
        await connect_through(pair, halves)
        halves[0].drop = lambda data: data[0] > 127
        await until(lambda: pair.b.session.state is MediaState.STALLED)
        assert pair.a.session.state is MediaState.FLOWING
        halves[0].drop = lambda data: False
        await until(lambda: pair.b.session.state is MediaState.FLOWING)


async def test_close_leaves_nothing_behind() -> None:
    before = threading.active_count()
    async with call() as pair:
        await pair.a.session.play(PlayRequest(tone="440", loop=True))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() == before


async def test_loss_that_the_far_end_reports_brings_copies_and_its_goodbye_ends_nothing() -> None:
    async with call(SessionOptions(codecs=("opus",), ice=LOOPBACK)) as pair:
        sender, far = pair.a.session.sender, pair.b.session
        assert (sender.loss_pct, sender.discontinuous) == (0, False)
        block = rtcp.ReportBlock(ssrc=sender.ssrc, fraction_lost=26, lost=9, extended_sequence=1, jitter=0)
        far.transport.send_rtcp(rtcp.build(rtcp.ReceiverReport(ssrc=far.sender.ssrc, blocks=(block,))))
        await until(lambda: sender.loss_pct > 0)
        assert sender.loss_pct == 11
        goodbye = rtcp.Goodbye(ssrcs=(far.sender.ssrc,), reason="gone")
        far.transport.send_rtcp(rtcp.build(rtcp.ReceiverReport(ssrc=far.sender.ssrc), goodbye))
        await far.play(PlayRequest(tone="440", loop=True))
        await pair.a.listen(0.3)
        assert level_dbov(await pair.a.listen(0.3)) > -20
        assert pair.a.session.state is MediaState.FLOWING


async def test_dtx_that_is_asked_for_thins_the_stream_out_and_is_no_stall() -> None:
    quiet = SessionOptions(codecs=("opus",), ice=LOOPBACK, opus_dtx=True)
    async with call(quiet) as pair:
        assert pair.a.session.sender.discontinuous
        await pair.b.listen(0.6)  # silence, until the encoder believes it
        before = pair.a.session.sender.packets
        heard = await pair.b.listen(1.0)
        assert pair.a.session.sender.packets - before < 15
        assert level_dbov(heard) < -60
        assert pair.b.session.stats().concealed_ms <= 60
        assert pair.b.session.state is MediaState.FLOWING
        assert not pair.a.session.pulse().sends


async def test_a_port_of_another_rate_hears_and_speaks_through_restart_and_rebuild_and_gets_silence_on_hold() -> None:
    async with call(SessionOptions(codecs=("opus",), ice=LOOPBACK)) as pair:
        bot, ear = pair.a.session.port(24000, both=True), pair.b.port
        bot.write(sine((1000,), 24000, 6000))
        await pair.b.session.play(PlayRequest(tone="700", loop=True))
        for restart in (True, False):
            await pair.exchange(ice_restart=restart, rebuild=not restart)
            bot.take()
            heard, said = b"", b""
            async for frame in bot:
                heard, said = heard + frame.heard, said + (frame.said or b"")
                if len(heard) == 24000:  # 0.5 s
                    break
            assert frequency(np.frombuffer(heard, np.int16), 24000) == pytest.approx(700, abs=5)
            assert frequency(np.frombuffer(said, np.int16), 24000) == pytest.approx(1000, abs=5)
            assert frequency(await pair.b.listen(0.4), ear.rate) == pytest.approx(1000, abs=5)
        pair.a.session.hold(True)
        bot.take()
        frames = [await anext(bot) for _ in range(5)]
        assert not any(any(frame.heard) for frame in frames[2:])  # its clock goes on
        await pair.a.session.close()
        assert bot.closed
        assert [frame async for frame in bot] == []
