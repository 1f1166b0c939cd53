"""A registration over a real transaction layer, and the far end played by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from phoned.sip.accessors import cseq
from phoned.sip.account import FlowParameters
from phoned.sip.events import Event, RegistrationIdentityChanged
from phoned.sip.io import Outbox
from phoned.sip.message import Request, Response, parse, response_to, serialise
from phoned.sip.registration import Registration, RegistrationParameters
from phoned.sip.transaction import Delivery
from phoned.sip.transaction_layer import TransactionLayer, TransactionLimits
from tests.support.sip_transactions import CountingRandom

INSTANCE = "urn:uuid:0191aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
CONTACT = "sip:alice@0191aaaabbbb7ccc8dddeeeeffff0001.invalid;transport=ws"
PARAMETERS = RegistrationParameters(
    aor="sip:alice@example.org", registrar="sip:example.org", instance_id=INSTANCE, secret="geheim"
)


class RegistrationBench:
    """A registration over a layer with flows 1 and 2 up, and the far end played by hand."""

    def __init__(
        self, *, cseq: int = 0, limits: TransactionLimits | None = None, sent_by: str | None = None, **parameters: Any
    ) -> None:
        self.outbox = Outbox()
        self.layer = TransactionLayer(outbox=self.outbox, random=CountingRandom(), limits=limits)
        for flow in (1, 2):
            self.layer.flow_up(flow, FlowParameters(transport="WSS", sent_by=sent_by))
        self.registration = Registration(
            account="a1",
            parameters=replace(PARAMETERS, **parameters),
            layer=self.layer,
            random=CountingRandom(),
            call_id="reg-call",
            cseq=cseq,
        )

    def sent(self) -> Request:
        """The one REGISTER that went out."""
        (message,) = [parse(data) for _, data in self.outbox.drain()]
        assert isinstance(message, Request)
        return message

    def register(self, flow: int = 1, now: float = 0, expires_s: int | None = None) -> Request:
        """Register, and give what was sent."""
        events = self.registration.register(flow, now, expires_s)
        sent = self.sent()
        number = cseq(sent).number
        assert events == [
            RegistrationIdentityChanged(account="a1", call_id=sent.headers.get("Call-ID") or "", cseq=number)
        ]
        return sent

    def answer(
        self, sent: Request, status: int, *headers: tuple[str, str], flow: int = 1, now: float = 1, bound: bool = True
    ) -> list[Event]:
        """Give this answer; the events of the registration, without identities."""
        response = response_to(sent, status, to_tag="reg")
        if status == 200 and bound:
            response.headers.add("Contact", f'<{CONTACT}>;+sip.instance="<{INSTANCE}>";reg-id=1;expires=60')
        for name, value in headers:
            response.headers.add(name, value)
        parsed = parse(serialise(response))
        assert isinstance(parsed, Response)
        return self.pass_on(self.layer.receive(flow, parsed, now), now)

    def pass_on(self, deliveries: list[Delivery], now: float) -> list[Event]:
        """What the registration makes of them."""
        events: list[Event] = []
        for owner, event in deliveries:
            assert owner is self.registration
            events += self.registration.on_transaction(event, now)
        return [event for event in events if not isinstance(event, RegistrationIdentityChanged)]

    def tick(self, now: float) -> list[Event]:
        """Let the transaction timers run."""
        return self.pass_on(self.layer.tick(now), now)
