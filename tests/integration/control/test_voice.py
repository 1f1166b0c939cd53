"""Voice activity in a real call."""

from __future__ import annotations

from tests.support.exchange import Phone


def test_the_far_end_begins_and_stops_to_speak(phone: Phone) -> None:
    call = phone.calling("echo")
    playback = phone.verb(call, "play", status=201, tone="440", loop=True)
    began = phone.events.wait_for("call.speech_started", lambda data: data["call"]["id"] == call)
    phone.http.delete(f"/v1/playbacks/{playback['id']}")
    phone.events.wait_for("call.speech_stopped", lambda data: data["call"]["id"] == call, after=began)
    phone.verb(call, "play", status=201, tone="880")
    began = phone.events.wait_for("call.speech_started", lambda data: data["call"]["id"] == call, after=began)
    phone.verb(call, "hangup")
    stopped = phone.events.wait_for("call.speech_stopped", lambda data: data["call"]["id"] == call, after=began)
    phone.events.wait_for("call.ended", lambda data: data["call"]["id"] == call, after=stopped)
