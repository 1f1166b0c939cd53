"""The driver: the wire first, then events one after the other, and one timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from phoned.model import Cause
from phoned.signaling import AccountEvent, Signaling, SystemRandom
from phoned.sip import events as sip
from phoned.sip.account import AccountParameters
from phoned.sip.message import Request, Response, parse, response_to, serialise
from phoned.sip.user_agent import UserAgent
from phoned.transport.flow import Flow
from tests.support.calls import virtual
from tests.support.flows import FakeFlow


class Desk:
    """A driver with one account, one flow, and ears."""

    def __init__(self, *, max_turns: int = 100) -> None:
        self.signaling = Signaling(UserAgent(random=SystemRandom()), max_turns=max_turns)
        self.signaling.connect(self, self)
        self.signaling.add_account(
            "a", AccountParameters(aor="sip:a@example.org", allow_unregistered_incoming=True, user_agent="t")
        )
        self.flow = FakeFlow(1, self.signaling)
        self.events: list[object] = []
        self.closed: list[tuple[str, Cause]] = []
        self.depth = 0
        self.react: Callable[[object], None] = lambda event: None
        self.signaling.attach("a", self.flow)
        self.signaling.move_account("a", self.flow)

    def _hear(self, event: object) -> None:
        assert self.depth == 0, "an event was handed out while another was being handled"
        self.depth += 1
        self.events.append(event)
        try:
            self.react(event)
        finally:
            self.depth -= 1

    def on_account_event(self, event: AccountEvent) -> None:
        self._hear(event)

    def on_session_event(self, event: sip.Event) -> None:
        self._hear(event)

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None:
        self.closed.append((account, cause))

    def sent(self) -> list[Request | Response]:
        return [parse(data) for data in self.flow.sent]

    def receive(self, message: Request | Response) -> None:
        self.signaling.on_message(self.flow, serialise(message))

    def invite_comes(self) -> None:
        self.signaling.on_message(self.flow, INVITE)

    def heard(self, kind: type[object]) -> list[object]:
        return [event for event in self.events if isinstance(event, kind)]


INVITE = b"\r\n".join(
    [
        b"INVITE sip:a@x.invalid SIP/2.0",
        b"Via: SIP/2.0/WS y.invalid;branch=z9hG4bKone",
        b"Max-Forwards: 70",
        b"From: <sip:b@example.org>;tag=b",
        b"To: <sip:a@example.org>",
        b"Call-ID: c1",
        b"CSeq: 1 INVITE",
        b"Contact: <sip:b@y.invalid;transport=ws>",
        b"Content-Length: 0",
        b"",
        b"",
    ]
)


@virtual
async def test_a_registration_goes_out_and_its_outcome_comes_back() -> None:
    desk = Desk()
    desk.signaling.register("a", desk.flow, expires_s=60)
    (register,) = desk.sent()
    assert isinstance(register, Request)
    response = response_to(register, 200, "OK", to_tag="r")
    response.headers.add("Contact", f"{register.headers.get('Contact')};expires=60")
    desk.receive(response)
    assert desk.heard(sip.Registered)
    desk.signaling.unregister("a")
    assert len(desk.sent()) == 2


@virtual
async def test_it_tells_when_the_core_is_due_and_keeps_to_it() -> None:
    desk = Desk()
    loop = asyncio.get_running_loop()
    assert desk.signaling.due() is None
    desk.signaling.register("a", desk.flow, expires_s=60)
    due = desk.signaling.due()
    assert due is not None
    assert loop.time() < due <= loop.time() + 32
    await asyncio.sleep(due - loop.time() + 0.1)
    assert desk.heard(sip.RegistrationFailed)
    due = desk.signaling.due()
    assert due is None or due > loop.time()
    desk.signaling.close()
    assert desk.signaling.due() is None


@virtual
async def test_the_wire_comes_before_the_events_and_no_handler_inside_another() -> None:
    desk = Desk()
    seen: list[int] = []

    def refuse(event: object) -> None:
        if isinstance(event, sip.IncomingCall):
            seen.append(len(desk.flow.sent))
            desk.signaling.ring(event.session)
            desk.signaling.reject(event.session, 486)
            seen.append(len(desk.flow.sent))

    desk.react = refuse
    desk.invite_comes()
    statuses = [message.status for message in desk.sent() if isinstance(message, Response)]
    assert statuses == [100, 180, 486]
    assert seen == [1, 3]
    assert desk.heard(sip.Ended)


@virtual
async def test_a_handler_that_raises_is_contained_and_counted() -> None:
    desk = Desk()

    def break_down(event: object) -> None:
        if isinstance(event, sip.IncomingCall):
            desk.signaling.reject(event.session, 500)
            raise RuntimeError("bug")

    desk.react = break_down
    desk.invite_comes()
    assert desk.signaling.handler_errors == 1
    assert desk.heard(sip.Ended)


@virtual
async def test_the_one_timer_is_armed_again_and_again() -> None:
    desk = Desk()
    desk.react = lambda event: (
        desk.signaling.supply(event.token, b"v=0") if isinstance(event, sip.DescriptionWanted) else None
    )
    sessions: list[str] = []
    desk.signaling.invite("a", "sip:b@example.org", [], sessions.append)
    await asyncio.sleep(31)
    assert not desk.heard(sip.Ended)
    await asyncio.sleep(2)
    (ended,) = desk.heard(sip.Ended)
    assert isinstance(ended, sip.Ended)
    assert (ended.session, ended.cause) == (sessions[0], sip.EndCause.TIMEOUT)


@virtual
async def test_a_closed_flow_is_told_once_and_says_nothing_more() -> None:
    desk = Desk()
    desk.flow.die(Cause.TIMEOUT)
    await asyncio.sleep(1)
    desk.signaling.on_closed(desk.flow, Cause.CLOSED, "again")
    desk.invite_comes()
    assert desk.closed == [("a", Cause.TIMEOUT)]
    assert desk.events == []


@virtual
async def test_after_close_nothing_runs() -> None:
    desk = Desk()
    desk.signaling.register("a", desk.flow)
    desk.signaling.close()
    desk.signaling.close()
    await asyncio.sleep(60)
    assert desk.flow.ended_by is Cause.CLOSED
    assert desk.closed == []


@virtual
async def test_an_account_that_is_removed_ends_its_sessions() -> None:
    desk = Desk()
    sessions: list[str] = []
    desk.signaling.invite("a", "sip:b@example.org", [], sessions.append)
    desk.signaling.remove_account("a")
    assert desk.heard(sip.Ended)


@virtual
async def test_a_turn_that_feeds_itself_is_cut_off() -> None:
    desk = Desk(max_turns=10)
    desk.react = lambda event: (
        desk.signaling.invite("a", "sip:b@example.org", [], lambda session: None)
        if isinstance(event, sip.DescriptionWanted)
        else None
    )
    desk.signaling.invite("a", "sip:b@example.org", [], lambda session: None)
    assert len(desk.events) == 10


@virtual
async def test_an_answered_call_is_driven_from_end_to_end() -> None:
    desk = Desk()

    def take(event: object) -> None:
        match event:
            case sip.IncomingCall():
                desk.signaling.answer(event.session)
            case sip.DescriptionWanted():
                desk.signaling.supply(event.token, b"v=0\r\n")

    desk.react = take
    desk.invite_comes()
    answer = desk.sent()[-1]
    assert isinstance(answer, Response)
    assert answer.status == 200
    ack = Request(method="ACK", uri="sip:a@x.invalid", headers=parse(INVITE).headers.copy(), body=b"v=0\r\n")
    ack.headers.set("CSeq", "1 ACK")
    ack.headers.set("To", answer.headers.get("To") or "")
    ack.headers.set("Via", "SIP/2.0/WS y.invalid;branch=z9hG4bKack")
    ack.headers.add("Content-Type", "application/sdp")
    desk.receive(ack)
    (answered,) = desk.heard(sip.Answered)
    assert isinstance(answered, sip.Answered)
    assert desk.signaling.snapshot(answered.session)
    assert desk.signaling.info(answered.session, "application/dtmf", b"5")
    desk.signaling.reinvite(answered.session, sip.ModifyCause.HOLD)
    wanted = desk.heard(sip.DescriptionWanted)[-1]
    assert isinstance(wanted, sip.DescriptionWanted)
    desk.signaling.refuse(wanted.token, 500)
    desk.signaling.hangup(answered.session, "SIP;cause=200")
    assert desk.heard(sip.Ended)


@virtual
async def test_events_before_anybody_listens_are_dropped() -> None:
    signaling = Signaling(UserAgent(random=SystemRandom()))
    signaling.add_account("a", AccountParameters(aor="sip:a@example.org", allow_unregistered_incoming=True))
    flow = FakeFlow(1, signaling)
    signaling.attach("a", flow)
    signaling.move_account("a", flow)
    signaling.on_message(flow, INVITE)
    signaling.on_closed(flow, Cause.CLOSED, "")
    assert signaling.handler_errors == 0


def test_the_wire_is_traced_with_its_direction(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def run() -> None:
        Desk().invite_comes()

    with caplog.at_level(logging.DEBUG, logger="phoned.signaling"):
        run()
    assert [record.getMessage()[:8] for record in caplog.records] == ["< flow 1", "> flow 1"]
