"""An account at run time: the facts about its signalling, and the hands that carry out what is planned.

`Account` owns its flows. It gathers facts (wishes, dials, answers, pings, the network), asks `phoned.recovery.plan`
what to do, and does it; then it asks again. It must not know calls; it asks whether some are up and tells its listener
when a new flow can carry their dialogs (RFC 5626, RFC 3261 10).
Every wait has a deadline and every loss a `Cause`. Only `_reconsider` changes the state.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Literal

from phoned.accounts import figures
from phoned.accounts.alarm import Alarm
from phoned.accounts.dialling import Dialling
from phoned.accounts.gate import AccountGate
from phoned.accounts.losses import Losses
from phoned.accounts.mailbox import Mailbox
from phoned.accounts.news import AccountNews
from phoned.accounts.ping import FlowWatch
from phoned.accounts.policy import AccountListener, AccountPolicy, AccountSignaling, ping_interval_s, refresh_in_s
from phoned.accounts.tracked import FlowPair, TrackedFlow
from phoned.accounts.views import proxy_view, registration_view
from phoned.clock import WallClock, wall_clock
from phoned.errors import NotRegistered, WrongState
from phoned.events import EventBus
from phoned.model import AccountState, AccountView, Cause
from phoned.recovery import plan as planning
from phoned.recovery.backoff import Uniform
from phoned.recovery.plan import AccountFacts, Gate, Plan, plan
from phoned.recovery.proxies import Mode, Proxies
from phoned.signaling import AccountEvent
from phoned.sip.events import FlowSuspect, Registered, RegistrationFailed, RegistrationIdentityChanged, Unregistered
from phoned.tasks import Tasks
from phoned.transport.flow import Dialer, Flow, FlowError

log = logging.getLogger(__name__)

S = AccountState


class Account:
    """One account's signalling. Driven by wishes, by its flows, by `Signaling`, by the network and by its one timer."""

    def __init__(
        self,
        account_id: str,
        aor: str,
        policy: AccountPolicy,
        *,
        signaling: AccountSignaling,
        dialer: Dialer,
        bus: EventBus,
        listener: AccountListener,
        uniform: Uniform,
        clock: WallClock = wall_clock,
    ) -> None:
        self.id = account_id
        self.aor = aor
        self.state = S.OFF
        self.desired: Literal["registered", "unregistered"] = "unregistered"
        self._policy = policy
        self._signaling = signaling
        self._listener = listener
        self._clock = clock
        self._tasks = Tasks(f"account-{account_id}", self._on_crash)
        self._news = AccountNews(bus, self.view)
        self.mailbox = Mailbox(self._news)
        self.leaving = False
        """It is being removed: it does not register any more, and waits for the end of its calls."""
        self._calls_changed = asyncio.Event()
        self._gate = AccountGate(policy.schedule, uniform, self._news, self._now)
        self._proxies = Proxies(**policy.proxies)
        self._flows = FlowPair()
        self._losses = Losses(
            account_id, self._flows, self._gate, self._news, self._proxies, calls_up=self._calls_up, now=self._now
        )
        self._dialling = Dialling(
            self._tasks, dialer, signaling, on_flow=self._on_dialled, on_failed=self._on_dial_failed
        )
        self._watch = FlowWatch(self._tasks, policy)
        self._alarm = Alarm()
        self._unregister_by: float | None = None
        self._calls_on: int | None = None
        """The flow that the core was told last to use, or uses because it is registered."""
        self._network_up = True
        self._since = clock()
        self._expires_at: datetime | None = None
        self._planning = False
        self._off = asyncio.Event()
        self._off.set()

    # --- wishes

    def want_registered(self) -> None:
        """Wish: be registered. Idempotent."""
        if self.leaving or (self.desired == "registered" and not self._gate.gave_up):
            return
        self.desired = "registered"
        self._unregister_by = None
        self._gate.jump()
        self._reconsider()

    def wake(self) -> bool:
        """A call wants to be placed: an account on demand registers now. False for any other that is off."""
        if self.leaving:
            return False
        if self._policy.on_demand:
            self.want_registered()
        return self._policy.on_demand

    def want_unregistered(self) -> None:
        """Wish: be not registered. The binding is removed within two seconds or left to expire."""
        self.desired = "unregistered"
        self._reconsider()

    def retry(self) -> None:
        """Jump the back-off queue: try now."""
        if self.desired == "registered":
            self._gate.jump()
            self._reconsider()

    def use_proxy(self, mode: Mode) -> None:
        """Go to an outbound proxy, or let recovery choose. Raises `WrongState` for a backup that is not configured."""
        if mode == "backup" and self._policy.target_backup is None:
            raise WrongState(f"account {self.id} has no outbound_proxy_backup: give it one", state="no_backup")
        self._news.moving(self._proxies.choose(mode, self._now()))
        self._gate.jump()
        self._reconsider()

    def change(self, policy: AccountPolicy, *, register: bool = False) -> None:
        """Other figures from now on. A flow that leads elsewhere than the policy says now is replaced, make before
        break; calls move with it. ``register``: what the registrar was told has changed, so tell it now."""
        old, self._policy = self._policy, policy
        self._gate.change(policy.schedule)
        self._watch.change(policy)
        self._proxies.change(**policy.proxies)
        if moved := old.ways != policy.ways:
            self._dialling.cancel()
        for tracked in self._flows.change(old, policy, self._now(), register=register):
            self._close_flow(tracked)
        if moved or register:
            self._gate.jump()
        if self._watch.runs and self._flows.in_use is not None:
            self._watch_over(self._flows.in_use)
        self._reconsider()

    def leave(self) -> None:
        """Wish: be gone. It unregisters; what is up keeps its flow."""
        self.leaving = True
        self.want_unregistered()

    async def without_calls(self) -> None:
        """Return once no call is up."""
        while self._calls_up():
            await self._calls_changed.wait()
            self._calls_changed.clear()

    async def close(self, budget_s: float | None) -> None:
        """Unregister when there is time, then leave nothing behind. Without a budget the binding stays as it is."""
        if budget_s is None:
            self.desired, self._planning = "unregistered", True  # nothing is said and nothing planned any more
        else:
            self.want_unregistered()
            try:
                async with asyncio.timeout(budget_s):
                    await self._off.wait()
            except TimeoutError:
                log.warning("%s: not unregistered in time; the binding is left to expire", self.id)
        self._alarm.stop()
        for tracked in self._flows.all():
            tracked.flow.close()
        await self._tasks.close()

    # --- views

    @property
    def online(self) -> bool:
        """True while requests of new calls can be sent."""
        return (
            self.state in (S.ONLINE, S.SUSPECT)
            and self._flows.in_use is not None
            and self._flows.in_use.registered is not None
        )

    @property
    def stays_on_this_machine(self) -> bool:
        """Its proxies are on loopback: no network is needed to reach them."""
        return all(target.is_loopback for target in (self._policy.target, self._policy.target_backup) if target)

    @property
    def settled(self) -> bool:
        """True while there is a flow in use and it is not about to be replaced. An account that is off keeps one for
        the calls that are up."""
        good = self.state is S.ONLINE or (self.state is S.OFF and self.flow is not None)
        return good and self._flows.candidate is None and not self._dialling.runs

    @property
    def repairing(self) -> bool:
        """True while a flow is being sought, so that a call may be queued for a moment."""
        return self.desired == "registered" and self.state in (S.CONNECTING, S.REGISTERING, S.BACKOFF)

    @property
    def flow(self) -> Flow | None:
        """The flow in use."""
        return self._flows.in_use.flow if self._flows.in_use is not None else None

    @property
    def trouble(self) -> Cause | None:
        """Why the flow in use is to be replaced or was lost; None: all is well."""
        return self._news.why(self._flows.in_use.suspect if self._flows.in_use is not None else None)

    def view(self) -> AccountView:
        """A copy of this moment."""
        tracked = self._flows.in_use
        return AccountView(
            id=self.id,
            aor=self.aor,
            state=self.state,
            since=self._since,
            desired=self.desired,
            registration=registration_view(tracked, self._expires_at, self._news.last_error),
            outbound_proxy=proxy_view(self._policy, self._proxies),
            mailbox=self.mailbox.view,
        )

    # --- what the core, the flows and the network report

    def on_event(self, event: AccountEvent) -> None:
        """A registration event of this account."""
        match event:
            case RegistrationIdentityChanged():
                self._listener.on_identity(self.id, event.call_id, event.cseq)
                return
            case Unregistered():
                self._unregistered()
            case FlowSuspect():
                self._losses.doubt(self._flows.find(event.flow), Cause.TIMEOUT)
            case Registered() | RegistrationFailed():
                tracked = self._flows.find(event.flow)
                if tracked is None:
                    return
                if isinstance(event, Registered):
                    self._on_registered(tracked, event)
                else:
                    self._on_refused(tracked, event)
        self._reconsider()

    def on_flow_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """A flow of this account is gone."""
        tracked = self._flows.find(flow.generation)
        if tracked is not None and tracked.flow is flow:
            self._lost(tracked, cause, detail)
            self._reconsider()

    def on_network(self, *, up: bool, affected: bool, cause: Cause = Cause.NETWORK) -> None:
        """The machine's network changed, or it woke from sleep. ``affected``: the way to our proxy is another one."""
        self._network_up = up
        if affected:
            self._gate.jump()
            self._dialling.cancel()  # it began on the way of before, and might wait for an answer until its deadline
            for tracked in self._flows.all():
                self._losses.doubt(tracked, cause)
        self._reconsider()

    def on_calls_changed(self) -> None:
        """A call began or ended: a flow kept only for calls may go, and a preferred proxy may be gone back to. With a
        call up the kernel too gives up sooner on bytes that nobody acknowledges."""
        calls_up = self._calls_up()
        self._calls_changed.set()
        for tracked in self._flows.all():
            tracked.flow.set_user_timeout(figures.USER_TIMEOUT_S if calls_up else 0)
        self._watch.load_changed()
        self._reconsider()

    def _on_registered(self, tracked: TrackedFlow, event: Registered) -> None:
        tracked.registered = event
        self._calls_on = event.flow
        tracked.answer_by = None
        tracked.refresh_at = self._now() + refresh_in_s(self._policy, event)
        self._expires_at = self._clock() + timedelta(seconds=event.expires_s)

    def _on_refused(self, tracked: TrackedFlow, event: RegistrationFailed) -> None:
        if event.cause == "flow":
            return  # the flow's own end is told by itself
        if self.desired == "unregistered":
            self._unregistered()
            return
        if event.cause == "timeout":
            tracked.answer_by = self._now()
            return
        tracked.refused()
        if tracked is not self._flows.in_use:
            self._close_flow(tracked)
        self._losses.refused(tracked, event)

    def _lost(self, tracked: TrackedFlow, cause: Cause, detail: str) -> None:
        """A flow is gone: what was to follow it does."""
        self._drop(tracked)
        if self._gate.gave_up if self.desired == "registered" else not self._calls_up():
            return  # nothing is tried any more
        if tracked.answer_by is None and tracked.registered is None and self._gate.gate in (Gate.AUTH, Gate.THROTTLED):
            return  # a server that told us to come back later closed the socket meanwhile
        self._failed(FlowError(cause, detail))

    def _failed(self, error: FlowError) -> None:
        self._losses.failed(error, connecting=self.state is S.CONNECTING)

    # --- the plan

    def _facts(self) -> AccountFacts:
        said = self._flows.candidate is not None and self._flows.candidate.register_within_s is None
        if self._flows.in_use is not None and not said and self._flows.in_use.spare():
            self._losses.spared()
        return AccountFacts(
            now=self._now(),
            wanted=self.desired == "registered",
            network_up=self._network_up,
            flow=self._flows.in_use.facts() if self._flows.in_use else None,
            candidate=self._flows.candidate.facts() if self._flows.candidate else None,
            dialling=self._dialling.runs,
            proxy=self._proxies.active,
            gate=self._gate.gate,
            gate_until=self._gate.until,
            gave_up=self._gate.gave_up,
            unregister_by=self._unregister_by,
            calls_up=self._calls_up(),
            calls_on=self._calls_on,
        )

    def _reconsider(self) -> None:
        """Ask for a plan and carry it out until nothing is left to do."""
        if self._planning:
            return
        self._planning = True
        try:
            self._losses.catch_up()
            for _ in range(figures.MAX_ROUNDS):
                made = plan(self._facts())
                self._enter(made.state)
                if not made.steps:
                    self._arm(made)
                    return
                for step in made.steps:
                    self._carry_out(step)
            log.error("%s: the plan does not settle; asked again in a second", self.id)
            self._arm(Plan(state=self.state, wake_at=self._now() + 1))
        finally:
            self._planning = False

    def _carry_out(self, step: planning.Step) -> None:
        match step:
            case planning.DialFlow():
                self._dialling.start(self._policy, step.proxy)
            case planning.CancelDial():
                self._dialling.cancel()
            case planning.Register():
                self._register(self._flows.find(step.generation))
            case planning.CarryCalls():
                self._carry_calls(self._flows.find(step.generation), needed=True)
            case planning.AdoptFlow():
                self._watch.stop()
                self._flows.swap()
            case planning.AbortFlow():
                self._abort(self._flows.find(step.generation), step.cause)
            case planning.CloseFlow():
                self._close_flow(self._flows.find(step.generation))
            case planning.Unregister():
                self._unregister()

    def _enter(self, state: AccountState) -> None:
        before = self.state
        if state is not before:
            log.info("%s: %s -> %s", self.id, before, state)
            self.state = state
            self._since = self._clock()
        if state is S.OFF:
            self._off.set()
            if before is S.UNREGISTERING:
                self._expires_at = None
                self._news.tell("account.unregistered")
        else:
            self._off.clear()
        self._news.flush()
        if state is S.ONLINE and self._flows.in_use is not None and not self._flows.in_use.welcomed:
            self._welcome(self._flows.in_use, never_left=before is S.SUSPECT or before is S.ONLINE)

    def _welcome(self, tracked: TrackedFlow, *, never_left: bool) -> None:
        """A flow was registered, for the first time or again after a refusal: say so, and watch over it."""
        tracked.welcomed = True
        self._gate.well()
        self._proxies.succeeded()
        tracked.stable = asyncio.get_running_loop().call_later(figures.STABLE_S, self._gate.lasted)
        self._watch_over(tracked)
        self._news.registered(self._now(), self._gate.failures, never_left=never_left)
        self._news.flush()
        self._listener.on_registered(self.id)

    # --- hands

    def _on_dialled(self, tracked: TrackedFlow, policy: AccountPolicy) -> None:
        self._flows.take(tracked)
        tracked.flow.set_user_timeout(figures.USER_TIMEOUT_S if self._calls_up() else 0)
        self._signaling.attach(
            self.id, tracked.flow, sent_by=str(tracked.flow.local) if policy.contact_is_local else None
        )
        self._reconsider()

    def _on_dial_failed(self, error: FlowError) -> None:
        self._failed(error)
        self._reconsider()

    def _register(self, tracked: TrackedFlow | None) -> None:
        if tracked is None:
            return
        first = tracked.register_within_s is not None
        tracked.answer_by = self._now() + (tracked.register_within_s or self._policy.keepalive_timeout_s)
        self._signaling.register(self.id, tracked.flow)
        if first:
            # re-registering alone never repairs a dialog: the re-INVITEs ride right behind the REGISTER
            self._carry_calls(tracked)

    def _carry_calls(self, tracked: TrackedFlow | None, *, needed: bool = False) -> None:
        """The dialogs move to another flow. The wishes first, so that what waits anyway and the repair go out as one.
        ``needed``: no REGISTER will do it, so do it even if no call is up: the next one needs a flow too."""
        if tracked is None:
            return
        tracked.register_within_s = None
        if needed or self._calls_up():
            self._calls_on = tracked.flow.generation
            if tracked.flow.is_open:  # the end of one that is not is about to be told
                self._listener.on_flow_ready(self.id)
                self._signaling.move_account(self.id, tracked.flow)
        if needed and not self._watch.runs:
            self._watch_over(tracked)

    def _unregister(self) -> None:
        self._unregister_by = self._now() + figures.UNREGISTER_BUDGET_S
        try:
            self._signaling.unregister(self.id)
        except NotRegistered:
            self._unregistered()  # nothing was ever bound over this flow

    def _unregistered(self) -> None:
        if self._unregister_by is not None:
            self._unregister_by = self._now()
        for tracked in self._flows.all():
            tracked.registered = None

    def _abort(self, tracked: TrackedFlow | None, cause: Cause) -> None:
        if tracked is None:
            return
        if tracked.answer_by is not None and tracked.answer_by <= self._now():
            self._lost(tracked, cause, f"no answer to REGISTER within {self._policy.keepalive_timeout_s:g} s")
        elif self._flows.replaced(tracked) or cause in planning.MOVED:
            self._drop(tracked)  # nothing is lost with what its successor replaced, or what set out on another way
        else:
            self._lost(tracked, cause, "doubted")
        tracked.flow.abort(cause, "abandoned")

    def _close_flow(self, tracked: TrackedFlow | None) -> None:
        if tracked is None:
            return
        self._drop(tracked)
        tracked.flow.close()

    def _drop(self, tracked: TrackedFlow) -> None:
        if self._flows.drop(tracked):
            self._watch.stop()

    def _watch_over(self, tracked: TrackedFlow) -> None:
        def interval_s() -> float:
            return ping_interval_s(self._policy, tracked.registered, self._calls_up())

        def missed() -> None:
            self._losses.doubt(tracked, Cause.PING)
            self._reconsider()

        self._watch.start(tracked.flow, interval_s, on_missed=missed, on_answered=self._reconsider)

    # --- bookkeeping

    def _arm(self, made: Plan) -> None:
        self._alarm.set((made.wake_at, self._proxies.due(calls_up=self._calls_up())), self._reconsider)

    def _calls_up(self) -> int:
        return self._listener.calls_up(self.id)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the account starts over", name, exc_info=error)
        self._dialling.cancel()
        self._failed(FlowError(Cause.CLOSED, "internal error"))
        self._reconsider()
