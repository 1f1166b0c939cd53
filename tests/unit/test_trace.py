"""What is kept of a call's SIP, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from phoned.model import Cause
from phoned.trace import MAX_BYTES, MAX_DIALOGS, MAX_MESSAGES, SipTrace
from phoned.transport.flow import Address, Flow
from tests.support.flows import FakeFlow

START = datetime(2026, 11, 21, tzinfo=UTC)


def message(call_id: str, cseq: str = "1 INVITE", *, name: str = "Call-ID", more: str = "", body: str = "") -> bytes:
    return f"INVITE sip:b@x SIP/2.0\r\n{name}: {call_id}\r\nCSeq: {cseq}\r\n{more}\r\n{body}".encode()


class Nobody:
    def on_message(self, flow: Flow, data: bytes) -> None: ...

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None: ...


def flow_of(generation: int) -> FakeFlow:
    return FakeFlow(generation, Nobody())


def trace(*, max_bytes: int = MAX_BYTES) -> SipTrace:
    seconds = count()
    return SipTrace(clock=lambda: START + timedelta(seconds=next(seconds)), max_bytes=max_bytes)


def test_messages_are_kept_by_call_with_their_way_and_time() -> None:
    kept, flow = trace(), flow_of(7)
    kept.note(flow, message("one"), sent=True)
    kept.note(flow, message("other"), sent=True)
    kept.note(flow, message("two", name="i"), sent=False)
    kept.belongs("call_1", "one")
    kept.belongs("call_1", "two")
    view = kept.of("call_1")
    assert (view.sip_call_ids, view.complete) == (("one", "two"), True)
    assert [(m.direction, m.sip_call_id, m.flow) for m in view.messages] == [("sent", "one", 7), ("received", "two", 7)]
    assert view.messages[0].time == START
    assert view.messages[0].remote == str(Address(flow.remote.host, flow.remote.port))


def test_secrets_are_not_shown() -> None:
    kept = trace()
    more = 'Proxy-Authorization: Digest username="a", response="deadbeefdeadbeef"\r\n'
    kept.note(flow_of(1), message("one", more=more, body="v=0\r\na=ice-pwd:verysecretindeed\r\n"), sent=True)
    kept.belongs("call_1", "one")
    (shown,) = kept.of("call_1").messages
    assert "deadbeef" not in shown.text
    assert "verysecret" not in shown.text
    assert "Proxy-Authorization: ***" in shown.text


def test_registrations_and_what_has_no_call_id_are_not_kept() -> None:
    kept = trace()
    kept.note(flow_of(1), message("one", "3 REGISTER"), sent=True)
    kept.note(flow_of(1), b"\r\n\r\n", sent=False)
    kept.belongs("call_1", "one")
    assert (kept.of("call_1").messages, kept.of("call_1").complete) == ((), False)
    assert kept.of("call_2").sip_call_ids == ()


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    kept, flow = trace(max_bytes=10_000), flow_of(1)
    kept.belongs("call_1", "one")
    kept.belongs("call_2", "two")
    for _ in range(3):
        kept.note(flow, message("one", body="x" * 2000), sent=True)
    for _ in range(3):
        kept.note(flow, message("two", body="x" * 2000), sent=True)
    assert kept.of("call_1").messages == ()
    assert not kept.of("call_1").complete
    assert (len(kept.of("call_2").messages), kept.of("call_2").complete) == (3, True)
    for _ in range(6):
        kept.note(flow, message("two", body="x" * 2000), sent=True)
    assert (len(kept.of("call_2").messages), kept.of("call_2").complete) == (4, False)


def test_a_talkative_dialog_and_many_calls_are_bounded_too() -> None:
    kept, flow = trace(), flow_of(1)
    kept.belongs("call_0", "0")
    for _ in range(MAX_MESSAGES + 5):
        kept.note(flow, message("0"), sent=True)
    view = kept.of("call_0")
    assert (len(view.messages), view.complete) == (MAX_MESSAGES, False)
    for number in range(1, MAX_DIALOGS + 1):
        kept.belongs(f"call_{number}", str(number))
        kept.note(flow, message(str(number)), sent=True)
    assert kept.of("call_0").sip_call_ids == ()
    assert len(kept.of(f"call_{MAX_DIALOGS}").messages) == 1
