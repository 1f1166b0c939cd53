"""When an account may try again: back-off, throttling and slow probes, as one gate with a time."""

from __future__ import annotations

from collections.abc import Callable

from phoned.accounts.news import AccountNews
from phoned.model import Cause
from phoned.recovery.backoff import Backoff, Schedule, Uniform
from phoned.recovery.plan import Gate
from phoned.sip.events import RegistrationFailed

AUTH_PROBE_S, AUTH_PROBE_CAP_S = 300.0, 3600.0
CERTIFICATE_S = 30.0
"""A certificate that is not believed is not believed a second later either."""
LEAST_RETRY_AFTER_S, RETRY_AFTER_CAP_S, RETRY_AFTER_CAP_IN_CALL_S = 1.0, 3600.0, 300.0
TOO_MANY_CONTACTS = 603
TOO_MANY_CONTACTS_S = (60.0, 120.0)

_REFUSALS_OF_CREDENTIALS = frozenset({401, 403, 404, 407})
_MAY_PASS = frozenset({403, 404})
"""A server that says when to ask again does not mean it for good; a password does not get right by waiting."""
_NOT_ALLOWED_IN = frozenset({401, 403, 407})
"""To the WebSocket upgrade. A 404 there is a path that may be deployed in a minute."""


def refuses_us(event: RegistrationFailed) -> bool:
    """It is we who are refused, by whoever decides that: the same would be said through any other proxy."""
    return _refuses_credentials(event) or event.status == TOO_MANY_CONTACTS


def _refuses_credentials(event: RegistrationFailed) -> bool:
    return event.cause == "auth" or event.status in _REFUSALS_OF_CREDENTIALS


class AccountGate:
    """Shut after a failure, opened by time or by whoever knows better. Driven by the account."""

    def __init__(self, schedule: Schedule, uniform: Uniform, news: AccountNews, now: Callable[[], float]) -> None:
        self._backoff = Backoff(schedule, uniform)
        self._uniform = uniform
        self._news = news
        self._now = now
        self._auth_probe_s = AUTH_PROBE_S
        self._hopped = False
        """The newest failure was followed by an attempt elsewhere that did not wait."""
        self.gate = Gate.OPEN
        self.until = 0.0
        self.gave_up = False
        """The limit of attempts is spent."""

    def change(self, schedule: Schedule) -> None:
        """Another back-off, from the next failure on."""
        self._backoff.change(schedule)

    @property
    def failures(self) -> int:
        """Attempts that failed since the account was well."""
        return self._backoff.failures

    def jump(self) -> None:
        """Try now, and as if nothing had failed before: a person, the network or a wake-up says so."""
        self.gate = Gate.OPEN
        self.gave_up = self._hopped = False
        self._backoff.reset()

    def well(self) -> None:
        """Registered. The back-off starts over only once that has lasted (`lasted`)."""
        self.gate = Gate.OPEN
        self._auth_probe_s = AUTH_PROBE_S

    def lasted(self) -> None:
        """The registration held long enough to be trusted."""
        self._backoff.reset()

    def failed(
        self,
        cause: Cause,
        *,
        calls_up: int,
        elsewhere: bool,
        http_status: int | None = None,
        wait_s: float | None = None,
    ) -> None:
        """An attempt came to nothing. ``elsewhere``: the next one goes to another proxy, so it need not wait, unless it
        was there that the one before failed: two proxies that are both down are not played against each other.
        ``http_status``: what the server said instead of 101. ``wait_s``: how long whoever is asked next wants to be
        left alone."""
        if http_status in _NOT_ALLOWED_IN and not elsewhere:
            self._probe_slowly(wait_s)
            return
        if self._backoff.exhausted:
            self._give_up()
            return
        delay_s = self._backoff.next_delay_s(call_up=calls_up > 0)
        self._hopped = elsewhere and not self._hopped
        if self._hopped:
            delay_s = 0.0
        elif cause is Cause.TLS and not calls_up:
            delay_s = max(delay_s, CERTIFICATE_S)
        if wait_s is not None:
            self._throttle(max(delay_s, wait_s))
            return
        self._shut(Gate.BACKOFF, delay_s)
        self._news.reconnecting(self._backoff.failures, cause, delay_s)

    def asked_s(self, retry_after_s: float | None, *, calls_up: int) -> float | None:
        """How long to wait for a server that says so, within reason; clients that were told the same do not all come
        back at once."""
        if retry_after_s is None:
            return None
        asked_s = min(max(retry_after_s, LEAST_RETRY_AFTER_S), RETRY_AFTER_CAP_S) * self._uniform(1.0, 1.2)
        return min(asked_s, RETRY_AFTER_CAP_IN_CALL_S) if calls_up else asked_s

    def elsewhere(self, wait_s: float) -> None:
        """What comes next goes to another proxy, which wants to be left alone for ``wait_s`` seconds."""
        self._hopped = True
        if wait_s:
            self._throttle(wait_s)
        else:
            self.gate = Gate.OPEN

    def refused(
        self, event: RegistrationFailed, cause: Cause, *, calls_up: int, elsewhere: bool, wait_s: float | None
    ) -> None:
        """The registrar said no; when to ask again depends on how. ``elsewhere``: at another proxy. ``wait_s``: how
        long whoever is asked next wants to be left alone."""
        if _refuses_credentials(event) and (wait_s is None or event.status not in _MAY_PASS):
            self._probe_slowly(wait_s)
        elif wait_s is not None:
            self._throttle(wait_s)
        elif event.status == TOO_MANY_CONTACTS:
            self._throttle(self._uniform(*TOO_MANY_CONTACTS_S))
        else:
            self.failed(cause, calls_up=calls_up, elsewhere=elsewhere)

    def _give_up(self) -> None:
        """Told once. The plan tries no more for an account that is wanted; what is tried for the calls of one that is
        not goes on as slowly as the back-off gets."""
        self._shut(Gate.BACKOFF, self._backoff.cap_s)
        if not self.gave_up:
            self.gave_up = True
            self._news.tell("account.gave_up")

    def _probe_slowly(self, wait_s: float | None) -> None:
        self._shut(Gate.AUTH, max(self._auth_probe_s, wait_s or 0.0))
        self._auth_probe_s = min(2 * self._auth_probe_s, AUTH_PROBE_CAP_S)
        self._news.tell("account.auth_failed")

    def _throttle(self, delay_s: float) -> None:
        self._shut(Gate.THROTTLED, delay_s)
        self._news.tell("account.throttled", retry_after_s=round(delay_s, 3))

    def _shut(self, gate: Gate, delay_s: float) -> None:
        self.gate, self.until = gate, self._now() + delay_s
