"""An account and everything around it that a test plays: dialer, flows, SIP core, listener."""

from __future__ import annotations

import asyncio
from typing import Any

from phoned.accounts.account import Account
from phoned.accounts.policy import AccountPolicy
from phoned.events import Event, EventBus, MemoryEventLog
from phoned.model import AccountState
from phoned.sip.events import Registered, RegistrationFailed
from phoned.transport.flow import FlowTarget
from tests.support.flows import FakeDialer, FakeFlow, FakeSignaling

S = AccountState


class Listener:
    """The manager's side of an account."""

    def __init__(self) -> None:
        self.calls = 0
        self.heard: list[str] = []

    def on_flow_ready(self, account: str) -> None:
        self.heard.append("flow_ready")

    def on_registered(self, account: str) -> None:
        self.heard.append("registered")

    def on_identity(self, account: str, call_id: str, cseq: int) -> None:
        self.heard.append(f"identity {cseq}")

    def calls_up(self, account: str) -> int:
        return self.calls


class World:
    """An account and everything around it that the test plays."""

    def __init__(self, **policy: Any) -> None:
        self.dialer = FakeDialer()
        self.signaling = FakeSignaling()
        self.listener = Listener()
        self.log = MemoryEventLog()
        self.bus = EventBus(self.log, node="n")
        self.account = Account(
            "a",
            "sip:a@example.org",
            AccountPolicy(target=FlowTarget(url="ws://server/"), **policy),
            signaling=self.signaling,
            dialer=self.dialer,
            bus=self.bus,
            listener=self.listener,
            uniform=lambda low, high: high,
        )
        self.signaling.account = self.account

    @property
    def flow(self) -> FakeFlow:
        return self.dialer.flows[-1]

    def registered(self, expires_s: float = 120, **facts: Any) -> None:
        """The server says 200."""
        event = Registered(account="a", flow=self.flow.generation, expires_s=expires_s, contact="sip:a@x.invalid")
        for name, value in facts.items():
            object.__setattr__(event, name, value)
        self.account.on_event(event)

    def refused(self, cause: str = "refused", status: int | None = None, retry_after_s: float | None = None) -> None:
        """The server says no."""
        self.account.on_event(
            RegistrationFailed(
                account="a", flow=self.flow.generation, cause=cause, status=status, retry_after_s=retry_after_s
            )
        )

    def state(self) -> AccountState:
        return self.account.state

    async def online(self) -> None:
        """Dial and register."""
        self.account.want_registered()
        await asyncio.sleep(0.1)
        self.registered()
        assert self.account.state is S.ONLINE

    async def events(self) -> list[Event]:
        await self.bus.flush()
        return await self.log.after(0, 10_000) or []

    async def types(self) -> list[str]:
        return [event.type for event in await self.events()]
