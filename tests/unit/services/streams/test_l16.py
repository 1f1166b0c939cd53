from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoned.errors import InvalidValue
from phoned.services.streams.l16 import L16Protocol
from phoned.services.streams.protocol import MAX_MESSAGE, Clear, Mark, Message, Play, StreamInfo
from phoned.services.streams.protocols import new_protocol
from tests.unit.services.streams.test_twilio import INFO


def test_it_begins_with_the_content_type_and_the_parameters() -> None:
    (message,) = L16Protocol(16000).start(INFO)
    assert json.loads(str(message)) == {
        "event": "websocket:connected",
        "content-type": "audio/l16;rate=16000",
        "lang": "de",
        "who": 'Zoë "Z"',
    }


def test_no_parameter_takes_the_place_of_what_belongs_there() -> None:
    parameters = {"event": "other", "content-type": "text/plain", "a": "b"}
    info = StreamInfo(
        id=INFO.id,
        call=INFO.call,
        account="a",
        direction="in",
        from_number="1",
        to_number="2",
        parameters=parameters,
    )
    (message,) = L16Protocol(8000).start(info)
    ours = {"event": "websocket:connected", "content-type": "audio/l16;rate=8000", "a": "b"}
    assert json.loads(str(message)) == ours


@pytest.mark.parametrize(("rate", "size"), [(8000, 320), (16000, 640), (24000, 960)])
def test_twenty_milliseconds_are_one_binary_message_of_little_endian_samples(rate: int, size: int) -> None:
    protocol = new_protocol("l16", sample_rate=rate)
    samples = np.arange(rate // 50).astype(np.int16)
    assert protocol.rate == rate
    assert protocol.audio(samples.tobytes(), "inbound") == [b"".join(i.to_bytes(2, "little") for i in range(size // 2))]


def test_what_we_say_ourselves_is_not_told() -> None:
    assert L16Protocol(8000).audio(bytes(320), "outbound") == []
    with pytest.raises(InvalidValue) as found:
        new_protocol("l16", tracks="both")
    assert found.value.pointer == "/tracks"


def test_what_happens_in_the_call_is_told() -> None:
    protocol = L16Protocol(16000)
    told = protocol.dtmf("5", 260) + protocol.played('{"id":7}') + protocol.cleared() + protocol.skipped(20, "inbound")
    assert [json.loads(str(message)) for message in told + protocol.stop()] == [
        {"event": "websocket:dtmf", "digit": "5", "duration": 260},
        {"event": "websocket:notify", "payload": {"id": 7}},
        {"event": "websocket:cleared"},
    ]
    assert protocol.subprotocols == ()


@pytest.mark.parametrize("size", [2, 320, 640, 642, 96_000])
def test_audio_of_any_length_is_played(size: int) -> None:
    protocol = L16Protocol(16000)
    audio = bytes(range(256)) * (size // 256 + 1)
    assert protocol.receive(audio[:size]) == [Play(pcm=np.frombuffer(audio[:size], "<i2").astype(np.int16).tobytes())]
    assert not protocol.ignored


def test_half_of_a_sample_is_left_out() -> None:
    assert L16Protocol(16000).receive(b"\x00\x00\x01") == [Play(pcm=bytes(2))]


def test_an_empty_message_is_no_mistake_and_no_sound() -> None:
    protocol = L16Protocol(16000)
    assert protocol.receive(b"") == []
    assert not protocol.ignored


@pytest.mark.parametrize("payload", [{"n": 1.5, "list": [1, None, True]}, "text", 7, None, [], {"ä": "ö"}])
def test_a_payload_comes_back_as_it_was(payload: Any) -> None:
    protocol = L16Protocol(16000)
    (mark,) = protocol.receive(json.dumps({"action": "notify", "payload": payload}))
    assert isinstance(mark, Mark)
    (told,) = protocol.played(mark.name)
    assert json.loads(str(told)) == {"event": "websocket:notify", "payload": payload}


def test_a_notify_without_a_payload_has_an_empty_one() -> None:
    assert L16Protocol(8000).receive('{"action":"notify"}') == [Mark(name="{}")]


def test_clear_is_handed_on() -> None:
    assert L16Protocol(8000).receive('{"action": "clear"}') == [Clear()]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x00", "bad_audio"),
        (bytes(MAX_MESSAGE + 2), "too_large"),
        ("x", "not_json"),
        ('"clear"', "not_json"),
        ('{"action":"stop"}', "not_understood"),
        ('{"event":"clear"}', "not_understood"),
        ('{"action":["clear"]}', "not_understood"),
        ('{"action":"notify","payload":1e999}', "bad_mark"),
        ('{"action":"notify","payload":"%s"}' % ("x" * 5000), "bad_mark"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_understood_is_counted_and_changes_nothing(message: Message, why: str) -> None:
    protocol = L16Protocol(16000)
    assert protocol.receive(message) == []
    assert protocol.ignored == {why: 1}
    assert protocol.receive(bytes(640)) == [Play(pcm=bytes(640))]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_near = st.fixed_dictionaries({"action": st.sampled_from(["clear", "notify", "x"]) | _json, "payload": _json})


@given(_near.map(json.dumps) | _json.map(json.dumps) | st.text() | st.binary())
def test_nothing_that_a_bot_says_raises(message: Message) -> None:
    protocol = L16Protocol(24000)
    for action in protocol.receive(message):
        if isinstance(action, Mark):
            (told,) = protocol.played(action.name)
            assert json.loads(str(told))["event"] == "websocket:notify"
        elif isinstance(action, Play):
            assert action.pcm
            assert len(action.pcm) % 2 == 0


@pytest.mark.parametrize("rate", [0, 11025, 48000])
def test_other_rates_are_refused(rate: int) -> None:
    with pytest.raises(InvalidValue) as found:
        new_protocol("l16", sample_rate=rate)
    assert found.value.pointer == "/sample_rate"
