"""What the tests of the transaction storey share: counted randomness, messages as they come off the wire, an owner that
remembers, and a clock that jumps from timer to timer."""

from __future__ import annotations

from typing import Protocol, TypeVar

from phoned.sip.io import FlowId, Outbox, TimerSet
from phoned.sip.message import Message, Request, Response, parse, response_to, serialise
from phoned.sip.transaction import Timer, TransactionEvent

MessageT = TypeVar("MessageT", Request, Response)


class CountingRandom:
    """`phoned.sip.io.Random` that can be foretold."""

    def __init__(self) -> None:
        self.count = 0

    def token(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def below(self, n: int) -> int:
        return 0


class Recorder:
    """A transaction user that remembers; compares by identity."""

    def __init__(self) -> None:
        self.events: list[TransactionEvent] = []

    def on_transaction(self, event: TransactionEvent, now: float) -> list[str]:
        self.events.append(event)
        return [type(event).__name__]


def request(
    method: str = "INVITE",
    *,
    branch: str | None = "z9hG4bKfar1",
    via: str | None = None,
    uri: str = "sip:us@example.org",
    call_id: str = "call-1",
    number: int = 1,
    from_tag: str = "far",
    to_tag: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Request:
    """A request as `parse` gives it. ``via`` "" leaves the Via out, to be sent by the layer."""
    if via is None:
        via = "SIP/2.0/WSS proxy.example" + ("" if branch is None else f";branch={branch}")
    lines = [f"{method} {uri} SIP/2.0"]
    if via:
        lines.append(f"Via: {via}")
    lines += [
        "Max-Forwards: 70",
        f"From: <sip:them@example.org>;tag={from_tag}",
        "To: <sip:us@example.org>" + ("" if to_tag is None else f";tag={to_tag}"),
        f"Call-ID: {call_id}",
        f"CSeq: {number} {method}",
    ]
    if method == "INVITE":
        lines.append("Contact: <sip:them@far.example>")
    lines += [f"{name}: {value}" for name, value in headers]
    data = "\r\n".join([*lines, "", ""]).encode()
    if via:
        return _as(Request, parse(data))
    with_via = data.replace(b"\r\n", b"\r\nVia: SIP/2.0/WSS x;branch=z9hG4bKx\r\n", 1)
    built = _as(Request, parse(with_via))
    built.headers.remove("Via")
    return built


def answer(sent: Request, status: int, *, to_tag: str | None = "far") -> Response:
    """The far end's response to a request of ours, as `parse` gives it."""
    response = response_to(sent, status, to_tag=None if status == 100 else to_tag)
    if sent.method == "INVITE" and 100 < status < 300:
        response.headers.add("Contact", "<sip:them@far.example>")
    return _as(Response, parse(serialise(response)))


def drained(outbox: Outbox) -> list[Message]:
    """What was sent, parsed."""
    return [parse(data) for _, data in outbox.drain()]


def drained_with_flow(outbox: Outbox) -> list[tuple[FlowId, str]]:
    """What was sent, as flow and first word or status."""
    return [(flow, title(parse(data))) for flow, data in outbox.drain()]


def title(message: Message) -> str:
    """The method of a request; status and method of a response."""
    if isinstance(message, Request):
        return message.method
    return f"{message.status} {(message.headers.get('CSeq') or '').split()[1]}"


class Ticking(Protocol):
    """Any of the four transactions."""

    timers: TimerSet[Timer]

    def tick(self, timer: Timer, now: float) -> list[TransactionEvent]: ...


def run(transaction: Ticking, outbox: Outbox, until: float) -> tuple[list[float], list[tuple[float, TransactionEvent]]]:
    """Let the clock jump from timer to timer: when something was sent, and what came up when."""
    sent_at: list[float] = []
    events: list[tuple[float, TransactionEvent]] = []
    while (at := transaction.timers.next()) is not None and at <= until:
        for timer in transaction.timers.due(at):
            events += [(at, event) for event in transaction.tick(timer, at)]
            sent_at += [at] * len(outbox.drain())
    return sent_at, events


def _as(kind: type[MessageT], message: Message) -> MessageT:
    assert isinstance(message, kind)
    return message
