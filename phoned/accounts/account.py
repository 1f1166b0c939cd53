"""An account at run time: what is wished for, what is, and the flow between.

`Account` owns its flows: it dials one, registers on it, keeps the registration and the socket alive, and dials again
when either is lost. Every wait has a deadline and a `Cause`. It must not know calls; it asks whether some are up and
tells its listener when a new flow can carry their dialogs (RFC 5626, RFC 3261 10).

The state is what `recovery.md` calls the signalling plane. Only `_enter` changes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from phoned.accounts.ping import keep_pinging
from phoned.accounts.policy import AccountListener, AccountPolicy, AccountSignaling
from phoned.clock import WallClock, wall_clock
from phoned.errors import NotRegistered
from phoned.events import EventBus
from phoned.model import (
    AccountState,
    AccountView,
    Cause,
    LastError,
    OutboundProxyView,
    RegistrationView,
)
from phoned.recovery.backoff import Backoff, Uniform
from phoned.signaling import AccountEvent
from phoned.sip.events import FlowSuspect, Registered, RegistrationFailed, RegistrationIdentityChanged, Unregistered
from phoned.tasks import Tasks
from phoned.transport.flow import Dialer, Flow, FlowError

log = logging.getLogger(__name__)

S = AccountState

LEGAL: dict[AccountState, frozenset[AccountState]] = {
    S.OFF: frozenset({S.CONNECTING, S.NET_DOWN}),
    S.NET_DOWN: frozenset({S.CONNECTING, S.OFF}),
    S.CONNECTING: frozenset({S.REGISTERING, S.BACKOFF, S.CONNECTING, S.NET_DOWN, S.OFF}),
    S.REGISTERING: frozenset(
        {S.ONLINE, S.CONNECTING, S.BACKOFF, S.THROTTLED, S.AUTH_FAILED, S.UNREGISTERING, S.NET_DOWN, S.OFF}
    ),
    S.ONLINE: frozenset(
        {S.SUSPECT, S.CONNECTING, S.BACKOFF, S.THROTTLED, S.AUTH_FAILED, S.UNREGISTERING, S.NET_DOWN, S.OFF}
    ),
    S.SUSPECT: frozenset({S.ONLINE, S.CONNECTING, S.BACKOFF, S.UNREGISTERING, S.NET_DOWN, S.OFF}),
    S.BACKOFF: frozenset({S.CONNECTING, S.REGISTERING, S.NET_DOWN, S.OFF}),
    S.THROTTLED: frozenset({S.CONNECTING, S.REGISTERING, S.NET_DOWN, S.OFF}),
    S.AUTH_FAILED: frozenset({S.CONNECTING, S.REGISTERING, S.NET_DOWN, S.OFF}),
    S.UNREGISTERING: frozenset({S.OFF, S.CONNECTING, S.REGISTERING}),
}

UNREGISTER_BUDGET_S = 2.0
STABLE_S = 10.0
"""How long a registration must hold before the back-off starts over."""
AUTH_PROBE_S, AUTH_PROBE_CAP_S = 300.0, 3600.0
RETRY_AFTER_CAP_S = 3600.0
TOO_MANY_CONTACTS_S = (60.0, 120.0)
LEAST_KEEPALIVE_S = 5.0
FLOW_TIMER_SHARE = 0.8
"""Ping well within what the server's Flow-Timer promises to wait (RFC 5626 4.4.1)."""

_REFUSALS_OF_CREDENTIALS = frozenset({401, 403, 404, 407})


class Account:
    """One account's signalling. Driven by wishes, by its flow, by `Signaling` and by its one timer."""

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
        self._dialer = dialer
        self._bus = bus
        self._listener = listener
        self._uniform = uniform
        self._clock = clock
        self._tasks = Tasks(f"account-{account_id}", self._on_crash)
        self._backoff = Backoff(policy.schedule, uniform)
        self._flow: Flow | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stable: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        self._off = asyncio.Event()
        self._off.set()
        self._since = clock()
        self._registered: Registered | None = None
        self._expires_at: datetime | None = None
        self._last_error: LastError | None = None
        self._outage_began: float | None = None
        self._ever_registered = False
        self._auth_probe_s = AUTH_PROBE_S

    # --- wishes

    def want_registered(self) -> None:
        """Wish: be registered. Idempotent."""
        if self.desired == "registered" and self.state is not S.OFF:
            return
        self.desired = "registered"
        if self.state in (S.OFF, S.NET_DOWN):
            self._backoff.reset()
            self._connect()

    def want_unregistered(self) -> None:
        """Wish: be not registered. The binding is removed within two seconds or left to expire."""
        self.desired = "unregistered"
        flow = self._flow
        if flow is not None and self.state in (S.ONLINE, S.SUSPECT, S.REGISTERING):
            self._enter(S.UNREGISTERING)
            self._after(UNREGISTER_BUDGET_S, self._finish_unregister)
            try:
                self._signaling.unregister(self.id)
            except NotRegistered:
                self._finish_unregister()  # nothing was ever bound over this flow
        elif self.state is not S.UNREGISTERING:
            self._stop_trying()

    def retry(self) -> None:
        """Jump the back-off queue: try now."""
        if self.desired == "registered" and self.state in (S.BACKOFF, S.THROTTLED, S.AUTH_FAILED, S.NET_DOWN, S.OFF):
            self._backoff.reset()
            self._try_again()

    async def close(self, budget_s: float) -> None:
        """Unregister when there is time, then leave nothing behind."""
        self.want_unregistered()
        try:
            async with asyncio.timeout(budget_s):
                await self._off.wait()
        except TimeoutError:
            log.warning("%s: not unregistered in time; the binding is left to expire", self.id)
        self._stop_trying()
        await self._tasks.close()

    @property
    def online(self) -> bool:
        """True while requests of new calls can be sent."""
        return self.state in (S.ONLINE, S.SUSPECT) and self._flow is not None

    @property
    def repairing(self) -> bool:
        """True while a flow is being sought, so that a call may be queued for a moment."""
        return self.desired == "registered" and self.state in (S.CONNECTING, S.REGISTERING, S.BACKOFF)

    @property
    def flow(self) -> Flow | None:
        """The flow in use."""
        return self._flow

    def view(self) -> AccountView:
        """A copy of this moment."""
        registered = self._registered
        return AccountView(
            id=self.id,
            aor=self.aor,
            state=self.state,
            since=self._since,
            desired=self.desired,
            registration=RegistrationView(
                expires_at=self._expires_at,
                contact=registered.contact if registered else None,
                flow_generation=self._flow.generation if self._flow else 0,
                last_error=self._last_error,
            ),
            outbound_proxy=OutboundProxyView(
                active=self._policy.target.url,
                primary=self._policy.target.url,
                backup=self._policy.target_backup.url if self._policy.target_backup else None,
            ),
        )

    # --- dialling

    def _connect(self) -> None:
        self._enter(S.CONNECTING)
        self._cancel_dial()
        self._dialing = self._tasks.spawn("dial", self._dial())

    async def _dial(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._policy.attempt_deadline_s
        try:
            flow = await self._dialer.dial(
                self._policy.target, self._signaling, deadline_s=self._policy.attempt_deadline_s
            )
        except FlowError as error:
            self._dialing = None
            self._attempt_failed(error.cause, error.detail)
            return
        self._dialing = None
        self._flow = flow
        self._signaling.attach(self.id, flow)
        self._enter(S.REGISTERING)
        self._register(max(deadline - asyncio.get_running_loop().time(), 0.5))
        if self._listener.calls_up(self.id) and flow.is_open:
            # re-registering alone never repairs a dialog: the re-INVITEs ride right behind the REGISTER
            # (the wishes first, so that what waits anyway and the repair go out as one)
            self._listener.on_flow_ready(self.id)
            self._signaling.move_account(self.id, flow)

    def _register(self, timeout_s: float) -> None:
        flow = self._flow
        if flow is None:
            return
        self._after(timeout_s, self._register_overdue)
        self._signaling.register(self.id, flow)

    def _register_overdue(self) -> None:
        """The server took the socket, or kept it, and says nothing."""
        cause = Cause.REGISTER_TIMEOUT if self._registered is not None else Cause.MUTE
        self._abandon(cause, f"no answer to REGISTER within {self._policy.keepalive_timeout_s:g} s")

    def _abandon(self, cause: Cause, detail: str) -> None:
        if self._flow is not None:
            self._flow.abort(cause, detail)

    # --- what the core and the flow report

    def on_event(self, event: AccountEvent) -> None:
        """A registration event of this account."""
        match event:
            case RegistrationIdentityChanged():
                self._listener.on_identity(self.id, event.call_id, event.cseq)
            case FlowSuspect():
                if self._flow is not None and event.flow == self._flow.generation:
                    self._abandon(Cause.TIMEOUT, "a request inside a call stayed without an answer")
            case Registered() if self._flow is not None and event.flow == self._flow.generation:
                self._on_registered(event)
            case RegistrationFailed() if self._flow is not None and event.flow == self._flow.generation:
                self._on_refused(event)
            case Unregistered() if self.state is S.UNREGISTERING:
                self._finish_unregister()
            case _:
                log.debug("%s: late %s ignored", self.id, type(event).__name__)

    def on_flow_closed(self, flow: Flow, cause: Cause, detail: str) -> None:
        """A flow of this account is gone."""
        if flow is not self._flow:
            return
        self._flow = None
        self._stop_ping()
        if self.state is S.UNREGISTERING:
            self._finish_unregister()
        elif self.desired == "unregistered":
            self._stop_trying()
        elif self.state not in (S.THROTTLED, S.AUTH_FAILED):
            self._attempt_failed(cause, detail)

    def on_calls_changed(self) -> None:
        """A call began or ended: the ping rate follows, and a flow kept only for calls may go."""
        if self.state is S.OFF and self._flow is not None and not self._listener.calls_up(self.id):
            self._flow.close()

    def _on_registered(self, event: Registered) -> None:
        first = self.state is not S.ONLINE
        self._registered = event
        self._expires_at = self._clock() + timedelta(seconds=event.expires_s)
        self._auth_probe_s = AUTH_PROBE_S
        if self.desired == "unregistered":
            return
        if first:
            self._enter(S.ONLINE)
        self._after(self._refresh_in_s(event), self._keep_alive)
        if not first:
            return
        loop = asyncio.get_running_loop()
        self._stable = loop.call_later(STABLE_S, self._backoff.reset)
        self._start_ping()
        attempts, began = self._backoff.failures, self._outage_began
        self._outage_began = None
        self._last_error = None
        self._bus.publish("account.registered", account=self.view())
        if self._ever_registered and began is not None:
            outage_ms = round((loop.time() - began) * 1000)
            self._bus.publish("account.reconnected", account=self.view(), outage_ms=outage_ms, attempts=attempts)
        self._ever_registered = True
        self._listener.on_registered(self.id)

    def _refresh_in_s(self, event: Registered) -> float:
        if self._policy.refresh_before_expiry_s is not None:
            latest = event.expires_s - self._policy.refresh_before_expiry_s
        else:
            latest = event.expires_s / 2
        return max(min(self._policy.keepalive_s, latest), LEAST_KEEPALIVE_S)

    def _keep_alive(self) -> None:
        self._register(self._policy.keepalive_timeout_s)

    def _on_refused(self, event: RegistrationFailed) -> None:
        if self.state is S.UNREGISTERING:
            self._finish_unregister()
            return
        if self.desired == "unregistered" or event.cause == "flow":
            return
        if event.cause == "timeout":
            self._register_overdue()
            return
        cause = Cause.REGISTER_TIMEOUT if event.status == 408 else Cause.REFUSED
        detail = f"{event.status or ''} {event.reason}".strip() or event.cause
        log.warning("%s: REGISTER came to nothing: %s", self.id, detail)
        self._note(cause, detail, event.status)
        self._bus.publish("account.registration_failed", account=self.view(), cause=str(cause), sip_code=event.status)
        self._mark_outage()
        self._stop_ping()
        if event.retry_after_s is not None and event.status not in _REFUSALS_OF_CREDENTIALS:
            self._throttle(min(max(event.retry_after_s, 1.0), RETRY_AFTER_CAP_S) * self._uniform(1.0, 1.2))
        elif event.cause == "auth" or event.status in _REFUSALS_OF_CREDENTIALS:
            self._enter(S.AUTH_FAILED)
            self._bus.publish("account.auth_failed", account=self.view())
            self._after(self._auth_probe_s, self._try_again)
            self._auth_probe_s = min(2 * self._auth_probe_s, AUTH_PROBE_CAP_S)
        elif event.status == 603:
            self._throttle(self._uniform(*TOO_MANY_CONTACTS_S))
        else:
            self._back_off(cause)

    def _throttle(self, delay_s: float) -> None:
        self._enter(S.THROTTLED)
        self._bus.publish("account.throttled", account=self.view(), retry_after_s=round(delay_s, 3))
        self._after(delay_s, self._try_again)

    # --- trying again

    def _attempt_failed(self, cause: Cause, detail: str) -> None:
        """No flow, or the flow is gone: say so and come back."""
        log.warning("%s: %s (%s)", self.id, cause, detail)
        self._note(cause, detail, None)
        self._mark_outage()
        if cause is Cause.TLS:
            self._bus.publish("account.tls_error", account=self.view())
        if self.state is S.CONNECTING or not self._ever_registered:
            first = self._backoff.failures == 0 and not self._ever_registered
            self._bus.publish("account.connect_failed", account=self.view(), cause=str(cause), first=first)
        self._back_off(cause)

    def _back_off(self, cause: Cause) -> None:
        if self._backoff.exhausted:
            self._stop_trying()
            self._bus.publish("account.gave_up", account=self.view())
            return
        delay_s = self._backoff.next_delay_s(call_up=self._listener.calls_up(self.id) > 0)
        self._enter(S.BACKOFF)
        self._bus.publish(
            "account.reconnecting",
            account=self.view(),
            n=self._backoff.failures,
            cause=str(cause),
            next_in_s=round(delay_s, 3),
        )
        self._after(delay_s, self._try_again)

    def _try_again(self) -> None:
        """A flow that is still open has proven that it lives: only the REGISTER is repeated."""
        if self._flow is not None and self._flow.is_open:
            self._enter(S.REGISTERING)
            self._register(self._policy.keepalive_timeout_s)
        else:
            self._connect()

    def _stop_trying(self) -> None:
        self._cancel_timer()
        self._cancel_dial()
        self._stop_ping()
        if self.state is not S.OFF:
            self._enter(S.OFF)
        if self._flow is not None and not self._listener.calls_up(self.id):
            self._flow.close()

    def _finish_unregister(self) -> None:
        self._registered = None
        self._expires_at = None
        if self.desired == "registered":
            self._try_again()
            return
        self._stop_trying()
        self._bus.publish("account.unregistered", account=self.view())

    def _mark_outage(self) -> None:
        if self._outage_began is None:
            self._outage_began = asyncio.get_running_loop().time()

    # --- pings

    def _start_ping(self) -> None:
        self._stop_ping()
        if self._flow is not None and self._policy.ping_idle_s and self._policy.ping_call_s:
            self._ping = self._tasks.spawn("ping", keep_pinging(self._flow, self._policy, self._ping_interval_s))

    def _stop_ping(self) -> None:
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None

    def _ping_interval_s(self) -> float:
        interval = self._policy.ping_call_s if self._listener.calls_up(self.id) else self._policy.ping_idle_s
        if self._registered is not None and self._registered.flow_timer_s:
            interval = min(interval, FLOW_TIMER_SHARE * self._registered.flow_timer_s)
        return interval

    # --- bookkeeping

    def _enter(self, state: AccountState) -> None:
        if state is not self.state and state not in LEGAL[self.state]:
            raise AssertionError(f"account {self.id}: {self.state} -> {state} is not legal")
        self._cancel_timer()
        if state is self.state:
            return
        if self.state is S.ONLINE and self._stable is not None:
            self._stable.cancel()
        log.info("%s: %s -> %s", self.id, self.state, state)
        self.state = state
        self._since = self._clock()
        if state is S.OFF:
            self._off.set()
        else:
            self._off.clear()

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_dial(self) -> None:
        if self._dialing is not None and self._dialing is not asyncio.current_task():
            self._dialing.cancel()
        self._dialing = None

    def _note(self, cause: Cause, detail: str, status: int | None) -> None:
        self._last_error = LastError(cause=cause, sip_code=status, detail=detail)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the account starts over", name, exc_info=error)
        if self.desired == "registered":
            self._abandon(Cause.CLOSED, "internal error")
            self._enter(S.OFF)
            self._back_off_after_crash()

    def _back_off_after_crash(self) -> None:
        self._after(self._backoff.next_delay_s() + 1.0, self._connect)
