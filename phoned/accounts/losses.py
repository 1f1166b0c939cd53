"""What it means for an account that a dial, a REGISTER or a flow came to nothing: what is told of it, whether to go to
another proxy, and when the next attempt may be. What to do then is for the plan."""

from __future__ import annotations

import logging
from collections.abc import Callable

from phoned.accounts.gate import AccountGate, refuses_us
from phoned.accounts.news import AccountNews
from phoned.accounts.tracked import FlowPair, TrackedFlow
from phoned.model import Cause
from phoned.recovery.proxies import FAILBACK, Proxies
from phoned.sip.events import RegistrationFailed
from phoned.transport.flow import FlowError

log = logging.getLogger(__name__)

UPGRADE_RETRY_AFTER_CAP_S = 60.0
"""What a web server in front says is about its own restart, not about the registrar: never longer than a back-off."""
UNKNOWN = 0
"""The status of an answer that could not be used."""


class Losses:
    """Driven by its account. Times are monotonic seconds."""

    def __init__(
        self,
        account: str,
        flows: FlowPair,
        gate: AccountGate,
        news: AccountNews,
        proxies: Proxies,
        *,
        calls_up: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._account = account
        self._flows = flows
        self._gate = gate
        self._news = news
        self._proxies = proxies
        self._calls_up = calls_up
        self._now = now

    def failed(self, error: FlowError, *, connecting: bool) -> None:
        """An attempt, or the flow in use, came to nothing. ``connecting``: no flow was up, and one was being sought."""
        cause = error.cause
        log.warning("%s: %s (%s)", self._account, cause, error.detail)
        self._news.failure(cause, error.detail)
        if self._flows.in_use is None:
            self._news.outage(self._now())
        if connecting or not self._news.ever_registered:
            self._news.attempt_failed(cause, first=self._gate.failures == 0)
        if self._flows.in_use is None or self._flows.in_use.registered is not None:
            asked_s = None if error.retry_after_s is None else min(error.retry_after_s, UPGRADE_RETRY_AFTER_CAP_S)
            elsewhere, wait_s = self._fail_over(cause, error.status, asked_s)
            self._gate.failed(
                cause, calls_up=self._calls_up(), elsewhere=elsewhere, http_status=error.status, wait_s=wait_s
            )

    def refused(self, tracked: TrackedFlow, event: RegistrationFailed) -> None:
        """The registrar, or a proxy on the way to it, said no."""
        cause = Cause.REGISTER_TIMEOUT if event.status == 408 else Cause.REFUSED
        detail = f"{event.status or ''} {event.reason}".strip() or event.cause
        log.warning("%s: REGISTER came to nothing: %s", self._account, detail)
        self._news.failure(cause, detail, event.status)
        self._news.tell("account.registration_failed", cause=str(cause), sip_code=event.status)
        if tracked is self._flows.in_use:
            self._news.outage(self._now())
        if refuses_us(event):
            self._proxies.succeeded()
            elsewhere, wait_s = False, self._gate.asked_s(event.retry_after_s, calls_up=self._calls_up())
        else:
            elsewhere, wait_s = self._fail_over(cause, event.status or UNKNOWN, event.retry_after_s)
        self._gate.refused(event, cause, calls_up=self._calls_up(), elsewhere=elsewhere, wait_s=wait_s)

    def catch_up(self) -> None:
        """Go to another proxy when the time for it has come. A better one is gone to when it suits, another one for
        want of better at once, or as soon as that wants to be asked."""
        now = self._now()
        move = self._proxies.catch_up(now, calls_up=self._calls_up())
        self._news.moving(move)
        if move is not None and move.why != FAILBACK:
            self._gate.elsewhere(self._proxies.wait_s(now))

    def spared(self) -> None:
        """A doubt of the flow in use was unfounded."""
        self._proxies.succeeded()
        self._news.spared()

    def doubt(self, tracked: TrackedFlow | None, cause: Cause) -> None:
        """A flow may be dead."""
        if tracked is None:
            return
        if tracked.suspect is None:
            log.info("%s: flow %d is doubted (%s)", self._account, tracked.flow.generation, cause)
            if tracked is self._flows.in_use and tracked.registered is not None:
                self._news.outage(self._now())
                self._news.reconnecting(self._gate.failures + 1, cause, 0.0)
        tracked.doubt(cause, self._now())

    def _fail_over(self, cause: Cause, status: int | None, retry_after_s: float | None) -> tuple[bool, float | None]:
        """Whether the next attempt goes to another proxy, and how long whoever is asked next wants to be left alone."""
        now, calls_up = self._now(), self._calls_up()
        wait_s = self._gate.asked_s(retry_after_s, calls_up=calls_up)
        not_before = None if wait_s is None else now + wait_s
        move = self._proxies.failed(cause, now, calls_up=calls_up, status=status, not_before=not_before)
        self._news.moving(move)
        return (False, wait_s) if move is None else (True, self._proxies.wait_s(now) or None)
