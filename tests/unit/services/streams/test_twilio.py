from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.errors import InvalidValue
from phoned.services.streams.protocol import Clear, Mark, Message, Play, StreamInfo
from phoned.services.streams.protocols import new_protocol
from phoned.services.streams.twilio import TwilioProtocol
from phoned.twilio import made_up_account_sid

SID = "MZ" + "a1" * 16
CALL = "CA" + "c0" * 16
INFO = StreamInfo(
    id="str_" + "a1" * 16,
    call="call_" + "c0" * 16,
    account="front",
    direction="in",
    from_number="+4930123",
    to_number="200",
    account_sid="AC" + "7" * 32,
    parameters={"lang": "de", "who": 'Zoë "Z"'},
)
SILENCE = b"\xff" * 160


def started() -> TwilioProtocol:
    protocol = TwilioProtocol()
    protocol.start(INFO)
    return protocol


def read(messages: list[Message]) -> list[Any]:
    return [json.loads(message) for message in messages]


def media(payload: bytes, sid: str = SID) -> str:
    content = {"payload": base64.b64encode(payload).decode()}
    return json.dumps({"event": "media", "streamSid": sid, "media": content})


def test_it_begins_with_connected_and_start() -> None:
    assert read(TwilioProtocol().start(INFO)) == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": SID,
            "start": {
                "accountSid": "AC" + "7" * 32,
                "streamSid": SID,
                "callSid": CALL,
                "tracks": ["inbound"],
                "customParameters": {"lang": "de", "who": 'Zoë "Z"'},
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        },
    ]


def test_audio_is_numbered_and_timed_by_track() -> None:
    protocol = started()
    pcm = np.zeros(160, np.int16).tobytes()
    sent = read(protocol.audio(pcm, "inbound") + protocol.audio(pcm, "outbound") + protocol.audio(pcm, "inbound"))
    assert [(each["event"], each["sequenceNumber"], each["streamSid"]) for each in sent] == [
        ("media", "2", SID),
        ("media", "3", SID),
        ("media", "4", SID),
    ]
    assert [each["media"]["track"] for each in sent] == ["inbound", "outbound", "inbound"]
    assert [each["media"]["chunk"] for each in sent] == ["1", "1", "2"]
    assert [each["media"]["timestamp"] for each in sent] == ["0", "0", "20"]
    assert base64.b64decode(sent[0]["media"]["payload"]) == SILENCE


def test_time_goes_on_over_what_was_skipped() -> None:
    protocol = started()
    assert protocol.skipped(60, "inbound") == []
    (sent,) = read(protocol.audio(bytes(320), "inbound"))
    assert (sent["media"]["timestamp"], sent["media"]["chunk"]) == ("60", "1")


def test_what_happens_in_the_call_is_told_in_order() -> None:
    protocol = started()
    sent = read(protocol.dtmf("#", 120) + protocol.played('say "x"') + protocol.cleared() + protocol.stop())
    assert sent == [
        {
            "event": "dtmf",
            "sequenceNumber": "2",
            "streamSid": SID,
            "dtmf": {"track": "inbound_track", "digit": "#"},
        },
        {"event": "mark", "sequenceNumber": "3", "streamSid": SID, "mark": {"name": 'say "x"'}},
        {
            "event": "stop",
            "sequenceNumber": "4",
            "streamSid": SID,
            "stop": {"accountSid": "AC" + "7" * 32, "callSid": CALL},
        },
    ]


def test_without_a_configured_account_it_has_a_sid_of_its_own_that_stays() -> None:
    info = StreamInfo(id=INFO.id, call=INFO.call, account="front", direction="out", from_number="200", to_number="201")
    _, start = read(TwilioProtocol().start(info))
    assert start["start"]["accountSid"] == made_up_account_sid("front")
    assert start["start"]["customParameters"] == {}


@pytest.mark.parametrize("length", [1, 160, 320, 16_000, 480_000])
def test_media_of_any_length_are_played(length: int) -> None:
    protocol = started()
    (play,) = protocol.receive(media(b"\xff" * length))
    assert play == Play(pcm=bytes(length * 2))
    assert not protocol.ignored


def test_what_comes_back_sounds_as_what_went_out() -> None:
    protocol = started()
    tone = (np.sin(np.arange(160) * 0.35) * 12_000).astype(np.int16)
    (message,) = protocol.audio(tone.tobytes(), "inbound")
    (play,) = protocol.receive(json.dumps({**json.loads(message)}))
    assert isinstance(play, Play)
    heard = np.frombuffer(play.pcm, np.int16)
    assert np.abs(heard.astype(int) - tone).max() < 400


@pytest.mark.parametrize("payload", ["//8=", "//8", "//\n8=\r\n"])
def test_padding_and_line_breaks_do_not_matter(payload: str) -> None:
    message = {"event": "media", "streamSid": SID, "media": {"payload": payload, "track": "outbound", "chunk": 7}}
    assert started().receive(json.dumps(message)) == [Play(pcm=bytes(4))]


def test_marks_and_clears_are_handed_on() -> None:
    protocol = started()
    assert protocol.receive(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "ü1"}})) == [
        Mark(name="ü1")
    ]
    assert protocol.receive(json.dumps({"event": "clear", "streamSid": SID})) == [Clear()]
    assert not protocol.ignored


def test_empty_media_are_no_mistake_and_no_sound() -> None:
    protocol = started()
    assert protocol.receive(media(b"")) == []
    assert not protocol.ignored


def said(event: str, **content: Any) -> str:
    return json.dumps({"event": event, "streamSid": SID, **content})


IGNORED: list[tuple[Message, str]] = [
    (b"\x00" * 320, "not_understood"),
    ("", "not_json"),
    ("hello", "not_json"),
    ('{"event":"clear"', "not_json"),
    ("[]", "not_json"),
    ('{"event":NaN}', "not_json"),
    ('{"type":"connected"}', "not_understood"),
    (said("stop"), "not_understood"),
    ('{"event":["clear"]}', "not_understood"),
    ('{"event":"clear"}', "wrong_stream"),
    ('{"event":"clear","streamSid":17}', "wrong_stream"),
    (media(SILENCE, "MZ" + "0" * 32), "wrong_stream"),
    (said("media"), "bad_audio"),
    (said("media", media={"payload": [1]}), "bad_audio"),
    (said("media", media={"payload": "A"}), "bad_audio"),
    (said("media", media={"payload": "!!"}), "bad_audio"),
    (said("media", media={"payload": "ä"}), "bad_audio"),
    (said("mark"), "bad_mark"),
    (said("mark", mark={"name": ""}), "bad_mark"),
    (said("mark", mark={"name": 7}), "bad_mark"),
    (said("mark", mark={"name": "\ud800"}), "bad_mark"),
]


@pytest.mark.parametrize(("message", "why"), IGNORED)
def test_what_cannot_be_understood_is_counted_and_changes_nothing(message: Message, why: str) -> None:
    protocol = started()
    assert protocol.receive(message) == []
    assert protocol.ignored == {why: 1}
    assert protocol.receive(media(SILENCE)) == [Play(pcm=bytes(320))]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_events = st.sampled_from(["media", "mark", "clear", "stop", "start", "dtmf", "x"])
_near = st.fixed_dictionaries(
    {"event": _events | _json},
    optional={
        "streamSid": st.just(SID) | _json,
        "media": st.fixed_dictionaries({}, optional={"payload": st.text() | _json}) | _json,
        "mark": st.fixed_dictionaries({}, optional={"name": st.text() | _json}) | _json,
    },
).map(json.dumps)


@given(st.lists(_near | _json.map(json.dumps) | st.text() | st.binary(), max_size=5))
def test_nothing_that_a_bot_says_raises_and_each_message_counts_once(messages: list[Message]) -> None:
    protocol = started()
    before = protocol.audio(bytes(320), "inbound")
    done = sum(bool(protocol.receive(message)) for message in messages)
    assert done + protocol.ignored.total() <= len(messages)  # type: ignore[attr-defined]
    assert all(isinstance(action, Play | Mark | Clear) for each in messages for action in protocol.receive(each))
    assert json.loads(str(before[0]))["event"] == "media"
    (after,) = read(protocol.audio(bytes(320), "inbound"))
    assert after["media"]["chunk"] == "2"


@given(st.binary(min_size=1, max_size=2000))
def test_every_payload_is_played_sample_for_code(codes: bytes) -> None:
    (play,) = started().receive(media(codes))
    assert isinstance(play, Play)
    assert len(play.pcm) == 2 * len(codes)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))
def test_every_mark_comes_back_as_it_was(name: str) -> None:
    protocol = started()
    (mark,) = protocol.receive(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": name}}))
    assert isinstance(mark, Mark)
    (told,) = read(protocol.played(mark.name))
    assert told["mark"] == {"name": name}


def test_it_has_eight_kilohertz_and_both_tracks() -> None:
    assert new_protocol("twilio", tracks="both").rate == 8000
    assert new_protocol("twilio").subprotocols == ()
    with pytest.raises(InvalidValue) as found:
        new_protocol("twilio", sample_rate=16000)
    assert found.value.pointer == "/sample_rate"
