"""Flows, a dialer and the signalling that an account sees, without network: the test plays server and wire."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from phoned.model import Cause
from phoned.transport.flow import Address, Flow, FlowError, FlowListener, FlowTarget, TransportName


class FakeFlow:
    """A flow whose other end is the test. ``sent`` is what was queued; `die` is what the network does."""

    def __init__(self, generation: int, listener: FlowListener) -> None:
        self.generation = generation
        self.transport: TransportName = "WS"
        self.local, self.remote = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
        self.is_open = True
        self.last_received = 0.0
        self.sent: list[bytes] = []
        self.pings = 0
        self.answers_pings = True
        self.ended_by: Cause | None = None
        self.user_timeout_s = 0.0
        self._listener = listener

    def send(self, data: bytes) -> bool:
        if self.is_open:
            self.sent.append(data)
        return self.is_open

    async def ping(self, timeout_s: float) -> float:
        self.pings += 1
        if self.answers_pings:
            return 0.05
        await asyncio.sleep(timeout_s)
        raise FlowError(Cause.PING, "no pong")

    def set_user_timeout(self, seconds: float) -> None:
        self.user_timeout_s = seconds

    def close(self) -> None:
        self.die(Cause.CLOSED, "closed by us")

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None:
        self.die(cause, detail)

    def die(self, cause: Cause, detail: str = "") -> None:
        """End the flow; the listener hears of it in the next turn of the loop, once."""
        if self.is_open:
            self.is_open = False
            self.ended_by = cause
            asyncio.get_running_loop().call_soon(self._listener.on_closed, self, cause, detail)


@dataclass
class FakeDialer:
    """Gives flows, or the errors that a test put in ``failures`` (None: dial well)."""

    failures: deque[FlowError | None] = field(default_factory=deque)
    always: FlowError | None = None
    flows: list[FakeFlow] = field(default_factory=list)
    dialled_at: list[float] = field(default_factory=list)
    targets: list[FlowTarget] = field(default_factory=list)
    delay_s: float = 0.01

    async def dial(self, target: FlowTarget, listener: FlowListener, *, deadline_s: float) -> FakeFlow:
        self.dialled_at.append(asyncio.get_running_loop().time())
        self.targets.append(target)
        await asyncio.sleep(self.delay_s)
        error = self.failures.popleft() if self.failures else self.always
        if error is not None:
            raise error
        flow = FakeFlow(len(self.flows) + 1, listener)
        self.flows.append(flow)
        return flow


@dataclass
class FakeSignaling:
    """Records what the account asks of the SIP core, and lets it hear of its flows."""

    registers: list[tuple[int, float]] = field(default_factory=list)
    unregisters: int = 0
    moved: list[int] = field(default_factory=list)
    attached: list[int] = field(default_factory=list)
    hear_closed: list[tuple[Flow, Cause]] = field(default_factory=list)
    account: object = None
    unregister_error: Exception | None = None

    def attach(self, account: str, flow: Flow, *, sent_by: str | None = None) -> None:
        self.attached.append(flow.generation)

    def register(self, account: str, flow: Flow, *, expires_s: int | None = None) -> None:
        self.registers.append((flow.generation, asyncio.get_running_loop().time()))

    def unregister(self, account: str) -> None:
        self.unregisters += 1
        if self.unregister_error is not None:
            raise self.unregister_error

    def move_account(self, account: str, flow: Flow) -> None:
        self.moved.append(flow.generation)

    def on_message(self, flow: Flow, data: bytes) -> None:
        pass

    def on_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        self.hear_closed.append((flow, cause))
        hear = getattr(self.account, "on_flow_closed", None)
        if hear is not None:
            hear(flow, cause, detail)
