"""What a configuration says of the sound of calls, heard in calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from phoned.daemon import Daemon
from phoned.model import CallRequest, CallView, PlayRequest, RecordRequest
from phoned.sandbox.measure import read_stereo
from tests.support.media import frequency
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


async def talk(alice: Daemon, bob: Daemon, his: Watch) -> tuple[CallView, CallView]:
    """A call between the two, with sound."""
    placed = await alice.phone.place_call(CallRequest(account="alice", to="bob"))
    incoming = (await his.until("call.incoming")).data["call"]
    await bob.phone.answer(incoming.id)
    await his.until("call.updated", lambda data: data["call"].media.state == "flowing")
    return placed, incoming


async def pitch_at(phone: Daemon, call: CallView) -> tuple[float, int]:
    """Of what the far end says, in Hz, and the rate of the recording that it was taken from."""
    recording = await phone.phone.record(call.id, RecordRequest())
    await asyncio.sleep(1.0)  # sound takes its time: this is a measurement, not a wait for an event
    await phone.phone.control_recording(recording.id, "stop")
    _, heard, rate = read_stereo(phone.phone.recording_path(recording.id))
    return frequency(heard[len(heard) // 4 :], rate), rate


async def test_an_account_at_48_khz_carries_what_16_khz_cannot_and_a_reload_changes_it_for_the_next_call(
    phones: Phones, tmp_path: Path
) -> None:
    media = "opus_bitrate = 64000"
    alice, _ = await phones.online("alice", account="sample_rate = 48000", media=media)
    bob, his = await phones.online("bob", account="sample_rate = 48000", media=media)
    placed, incoming = await talk(alice, bob, his)
    await alice.phone.play(placed.id, PlayRequest(tone="11000", loop=True))
    pitch, rate = await pitch_at(bob, incoming)
    assert rate == 48_000
    assert pitch == pytest.approx(11_000, abs=5)
    config = tmp_path / "bob" / "phoned.toml"
    config.write_text(config.read_text().replace("sample_rate = 48000", "sample_rate = 8000"))
    assert (await bob.phone.reload()).accounts.changed == ("bob",)
    assert (await pitch_at(bob, incoming))[1] == 48_000, "a call keeps the rate that it began with"
    await alice.phone.hangup(placed.id)
    await his.until("call.ended")
    placed, incoming = await talk(alice, bob, his)
    await alice.phone.play(placed.id, PlayRequest(tone="1000", loop=True))
    pitch, rate = await pitch_at(bob, incoming)
    assert rate == 8_000
    assert pitch == pytest.approx(1_000, abs=5)


async def test_voices_are_told_in_both_directions_and_dtx_is_silent_between(phones: Phones) -> None:
    media = "voice_activity_outbound = true\nopus_dtx = true"
    alice, hers = await phones.online("alice", media=media)
    bob, his = await phones.online("bob", media=media)
    placed, _ = await talk(alice, bob, his)
    playback = await alice.phone.play(placed.id, PlayRequest(tone="440", loop=True))
    assert (await hers.until("call.speech_started")).data["direction"] == "outbound"
    assert (await his.until("call.speech_started")).data["direction"] == "inbound"
    await alice.phone.control_playback(playback.id, "stop")
    assert (await hers.until("call.speech_stopped")).data["direction"] == "outbound"
    assert (await his.until("call.speech_stopped")).data["direction"] == "inbound"
    before = alice.phone.stats(placed.id).packets_sent
    await asyncio.sleep(1.0)  # sound takes its time: this is a measurement, not a wait for an event
    assert alice.phone.stats(placed.id).packets_sent - before < 20, "50 without DTX"
