"""Calls without network: the test plays the SIP core, the media and the account, on virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec

from phoned.calls.call import Call
from phoned.calls.ended import EndedCalls
from phoned.calls.journal import CallJournal, MemoryJournal
from phoned.calls.manager import CallManager
from phoned.calls.policy import DialPolicy
from phoned.calls.repair_context import RepairPolicy
from phoned.clock import WallClock, wall_clock
from phoned.config.schema import DialConfig, IncomingRule
from phoned.errors import PhonedError, WrongState
from phoned.events import Event, EventBus, MemoryEventLog
from phoned.media.continuation import Continuation
from phoned.media.events import Flowing, MediaEvent
from phoned.media.pulse import Pulse
from phoned.model import (
    AccountState,
    AccountView,
    CallRequest,
    CallState,
    Cause,
    OutboundProxyView,
    RegistrationView,
)
from phoned.service import KeyValue
from phoned.sip import events as sip
from tests.support.call_media import FakeMedia
from tests.support.loop import run_virtual

P = ParamSpec("P")
TAGS: dict[str, Any] = {
    "local_tag": "l",
    "remote_tag": "r",
    "remote_uri": "sip:bob@example.org",
    "remote_target": "sip:bob@x.invalid",
}


def virtual(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an asynchronous test on virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        run_virtual(main())

    return run


class FakeCore:
    """`CallSignaling`: records verbs. Hanging up ends a session at once, unless the far end is ``slow``."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.errors: dict[str, Exception] = {}
        self.slow = False
        self.deliver: Callable[[sip.Event], None] = lambda event: None
        self.answered: set[str] = set()
        self.headers: tuple[tuple[str, str], ...] = ()
        """Of the last INVITE."""
        self._sessions = 0

    def _do(self, *words: str) -> None:
        self.said.append(words)
        if words[0] in self.errors:
            raise self.errors[words[0]]

    def of(self, verb: str) -> list[tuple[str, ...]]:
        """What was said with this verb, without it."""
        return [words[1:] for words in self.said if words[0] == verb]

    def supply(self, token: str, description: bytes) -> None:
        self._do("supply", token, description.decode())

    def refuse(self, token: str, status: int) -> None:
        self._do("refuse", token, str(status))

    def invite(
        self, account: str, target: str, headers: Sequence[tuple[str, str]], on_session: Callable[[str], None]
    ) -> None:
        self._do("invite", target)
        self.headers = tuple(headers)
        self._sessions += 1
        on_session(f"s{self._sessions}")

    def ring(self, session: str, *, status: int = 180, early_media: bool = False) -> None:
        self._do("ring", session)

    def answer(self, session: str) -> None:
        self._do("answer", session)

    def reject(self, session: str, status: int, reason: str = "") -> None:
        self._do("reject", session, str(status))
        self.deliver(
            sip.Ended(session=session, cause=sip.EndCause.REFUSED, by=sip.Party.LOCAL, status=status, reason=reason)
        )

    def hangup(self, session: str, reason: str | None = None) -> None:
        self._do("hangup", session, reason or "")
        if not self.slow:
            cause = sip.EndCause.BYE if session in self.answered else sip.EndCause.CANCELED
            self.deliver(sip.Ended(session=session, cause=cause, by=sip.Party.LOCAL))

    def reinvite(self, session: str, cause: sip.ModifyCause) -> None:
        self._do("reinvite", session, str(cause))

    def refer(self, session: str, *, target: str = "", instead_of: str | None = None) -> str:
        self._do("refer", session, target or f"instead of {instead_of}")
        return f"r{len(self.of('refer'))}"

    def accept_refer(self, session: str) -> None:
        self._do("accept_refer", session)

    def refuse_refer(self, session: str, status: int = 603) -> None:
        self._do("refuse_refer", session, str(status))

    def notify_refer(self, session: str, status: int, reason: str) -> None:
        self._do("notify_refer", session, f"{status} {reason}")

    def call_id(self, session: str) -> str:
        return f"call-id of {session}"

    def snapshot(self, session: str) -> Mapping[str, Any]:
        if session not in self.answered:
            raise WrongState("the call is not answered", state="proceeding")
        return {"session": session}

    def restore(self, account: str, snapshot: Mapping[str, Any]) -> str:
        self._do("restore", account)
        self._sessions += 1
        self.answered.add(f"s{self._sessions}")
        return f"s{self._sessions}"

    def info(self, session: str, content_type: str, body: bytes) -> str:
        self._do("info", session, content_type)
        return "t"

    def message(self, account: str, target: str, content_type: str, body: bytes) -> str:
        self._do("message", account, target, content_type, body.decode())
        return f"m{len(self.of('message'))}"


@dataclass
class FakeAccount:
    """`AccountFacts`."""

    aor: str = "sip:alice@example.org"
    online: bool = True
    settled: bool = True
    repairing: bool = False
    changes: int = 0
    on_demand: bool = False
    woken: int = 0
    proxy: str = "wss://one.example.org/"
    cause: Cause | None = None
    state: AccountState = AccountState.ONLINE

    @property
    def flow(self) -> object | None:
        return self if self.online else None

    def on_calls_changed(self) -> None:
        self.changes += 1

    def wake(self) -> bool:
        self.woken += self.on_demand
        return self.on_demand

    @property
    def trouble(self) -> Cause | None:
        return self.cause

    def view(self) -> AccountView:
        return AccountView(
            id="a",
            aor=self.aor,
            state=self.state,
            since=wall_clock(),
            desired="registered",
            registration=RegistrationView(),
            outbound_proxy=OutboundProxyView(active=self.proxy, primary=self.proxy),
        )


@dataclass
class CallWorld:
    """A call manager and everything around it. Use inside a running (virtual) loop."""

    dial: DialConfig = field(default_factory=DialConfig)
    rules: tuple[IncomingRule, ...] = ()
    clock: WallClock = wall_clock
    keep_ended: int = 100
    repair_policy: RepairPolicy = field(default_factory=RepairPolicy)
    make_error: Exception | None = None
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    keys: KeyValue | None = None
    """Where calls that ended last."""

    def __post_init__(self) -> None:
        self.core = FakeCore()
        self.account = FakeAccount()
        self.media: dict[str, FakeMedia] = {}
        self.continued: dict[str, Continuation | None] = {}
        self.log = MemoryEventLog()
        self.bus = EventBus(self.log, node="n")
        self.manager = CallManager(
            signaling=self.core,
            accounts=lambda name: self.account if name == "a" else None,
            media=self._make_media,
            policy=DialPolicy(self.dial),
            rules=self.rules,
            bus=self.bus,
            clock=self.clock,
            ended=EndedCalls(self.keys, clock=self.clock, keep=self.keep_ended),
            repair_policy=lambda account: self.repair_policy,
            journal=CallJournal(self.journal, clock=self.clock),
        )
        self.core.deliver = self.manager.on_session_event

    def _make_media(
        self,
        account: str,
        call: str,
        on_event: Callable[[MediaEvent], None],
        /,
        *,
        continues: Continuation | None = None,
    ) -> FakeMedia:
        if self.make_error is not None:
            raise self.make_error
        self.media[call] = FakeMedia(on_event)
        self.continued[call] = continues
        return self.media[call]

    # --- what happens

    async def place(self, to: str = "bob", **more: Any) -> Call:
        """An outgoing call that is on its way (or queued)."""
        view = await self.manager.place(CallRequest(account="a", to=to, **more), "none")
        call = self.manager.find(view.id)
        assert call is not None
        return call

    async def active(self, **more: Any) -> Call:
        """An outgoing call that was answered."""
        call = await self.place(**more)
        self.answer(call)
        assert call.state is CallState.ACTIVE
        return call

    def incoming(self, session: str = "in1", **facts: Any) -> Call | None:
        """An INVITE came in."""
        known = set(self.media)
        event = sip.IncomingCall(
            session=session,
            account="a",
            flow=1,
            call_id="cid",
            from_uri="sip:bob@example.org",
            from_display_name="Bob",
            to_uri="sip:alice@example.org",
            request_uri="sip:alice@x.invalid",
            headers=(("X-A", "1"), ("Via", "secret")),
            has_offer=True,
        )
        self.tell(replace(event, **facts))
        new = set(self.media) - known
        return self.manager.find(new.pop()) if new else None

    def tell(self, event: sip.Event) -> None:
        """The core reports."""
        self.manager.on_session_event(event)

    def answer(self, call: Call) -> None:
        """A 2xx was received, or sent."""
        assert call.session is not None
        self.core.answered.add(call.session)
        self.tell(sip.Answered(session=call.session, call_id="cid", **TAGS))

    def flowing(self, call: Call, **facts: Any) -> FakeMedia:
        """Media is connected and the far end talks."""
        media = self.media[call.id]
        media.talking = True
        media.beat = Pulse(**{"ready": True, "expects": True, "sends": False, "heard_here": True, **facts})
        media.emit(Flowing(codec="opus", ssrc=1, ice_generation=1, dtls_generation=1))
        return media

    def wants_offer(self, call: Call, token: str, *causes: sip.ModifyCause) -> None:
        """The core asks for an offer."""
        self.tell(
            sip.DescriptionWanted(
                session=call.session or "",
                token=token,
                kind=sip.DescriptionKind.OFFER,
                remote=None,
                deadline=0,
                causes=causes,
            )
        )

    def modified(self, call: Call, *causes: sip.ModifyCause) -> None:
        """The far end's 2xx to our re-INVITE."""
        self.tell(sip.Modified(session=call.session or "", causes=causes))

    def refused(self, call: Call, status: int, *causes: sip.ModifyCause) -> None:
        """The far end's refusal of our re-INVITE."""
        self.tell(sip.ModifyRefused(session=call.session or "", causes=causes, status=status, reason="No"))

    def ended(self, call: Call, cause: sip.EndCause = sip.EndCause.BYE, **facts: Any) -> None:
        """The core's session is over."""
        by = facts.pop("by", sip.Party.REMOTE)
        self.tell(sip.Ended(session=call.session or "", cause=cause, by=by, **facts))

    # --- what is seen

    async def events(self) -> list[Event]:
        """Everything published so far."""
        await self.bus.flush()
        return await self.log.after(0, 10_000) or []

    async def types(self) -> list[str]:
        """Types of everything published so far."""
        return [event.type for event in await self.events()]


async def settle() -> None:
    """Let everything that is due now or within a second of virtual time happen."""
    await asyncio.sleep(1.0)


async def raised(awaitable: Awaitable[object]) -> PhonedError | None:
    """What it raises on purpose."""
    try:
        await awaitable
    except PhonedError as error:
        return error
    return None
