"""What Prometheus scrapes: counters kept from the events as they come, gauges read from the phone when somebody asks.

Owns the registry and the names. Labels are accounts of the configuration and words of closed sets; no id, number or
address is ever one, so that the number of series does not grow with the calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from phoned.errors import NotFound, UnavailableError
from phoned.events import Event, EventBus, Subscription
from phoned.model import AccountState, CallState, CallView, StatsView
from phoned.service import PhoneControl
from phoned.tasks import Tasks
from phoned.webhook import WebhookControl

log = logging.getLogger(__name__)

LAG_EVERY_S, LAG_KEPT_S = 1.0, 60.0
UNASKED_S = 300.0
"""Nobody asked for so long: the loop's lag is not sampled any more, an idle phone sleeps."""
SETUP_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60)
DURATION_S = (1, 5, 15, 60, 180, 600, 1800, 3600, 14400)
GAP_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
JITTER_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
ROUND_TRIP_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
MOS = (1.5, 2, 2.5, 3, 3.5, 4, 4.2, 4.4)


class Metrics:
    """Driven by `RunningApi` (`start`, `stop`) and by each scrape (`page`). ``first``: subscribed when the phone began,
    long before this module was loaded."""

    def __init__(
        self, phone: PhoneControl, bus: EventBus, first: Subscription, webhooks: Callable[[], WebhookControl]
    ) -> None:
        self._phone = phone
        self._webhooks = webhooks
        self._bus = bus
        self._first = first
        self._tasks = Tasks("metrics", _crashed)
        self._registry = CollectorRegistry()
        self._up: dict[str, StatsView] = {}
        """Calls that have not ended, with what was last known of their packets."""
        self._lag: list[tuple[float, float]] = []
        """When, and how late the loop was, of the last `LAG_KEPT_S`."""
        self._asked_at = 0.0
        self._sampling = False
        self._sent = self._received = self._lost = 0
        made = self._registry
        self._attempts = Counter(
            "phoned_registration_attempts", "REGISTERs by outcome", ("account", "result"), registry=made
        )
        self._reconnects = Counter(
            "phoned_transport_reconnects", "Registered again over a new flow", ("account",), registry=made
        )
        self._outage = Histogram(
            "phoned_account_outage_seconds", "Until registered again", ("account",), buckets=GAP_S, registry=made
        )
        self._ended = Counter("phoned_calls", "Calls that ended", ("direction", "cause"), registry=made)
        self._setup = Histogram(
            "phoned_call_setup_seconds", "INVITE to answer", ("direction",), buckets=SETUP_S, registry=made
        )
        self._duration = Histogram(
            "phoned_call_duration_seconds", "Answer to end", ("direction",), buckets=DURATION_S, registry=made
        )
        self._recoveries = Counter("phoned_call_recoveries", "Repairs of calls", ("plane", "tier"), registry=made)
        self._gap = Histogram(
            "phoned_call_recovery_gap_seconds", "Without audio in a repair", ("plane",), buckets=GAP_S, registry=made
        )
        self._calls_lost = Counter("phoned_calls_lost", "Calls given up", ("reason",), registry=made)
        self._jitter = Histogram("phoned_rtp_jitter_seconds", "Each 5 s of a call", buckets=JITTER_S, registry=made)
        self._round_trip = Histogram(
            "phoned_rtp_round_trip_seconds", "Each 5 s of a call", buckets=ROUND_TRIP_S, registry=made
        )
        self._mos = Histogram("phoned_call_mos", "Each 5 s of a call, estimated", buckets=MOS, registry=made)
        made.register(_Reader(self._read))
        ProcessCollector(registry=made)

    def start(self) -> None:
        """Count from now on."""
        self._tasks.spawn("events", self._follow())

    async def stop(self) -> None:
        """Count no more."""
        self._first.close()
        await self._tasks.close()

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        self._asked_at = asyncio.get_running_loop().time()
        if not self._sampling:
            self._sampling = True
            self._tasks.spawn("lag", self._sample())
        return generate_latest(self._registry)

    # --- events

    async def _follow(self) -> None:
        subscription = self._first
        while True:
            async for event in subscription:
                self._count(event)
            if not subscription.overflowed:
                return
            log.warning("events came faster than they were counted: some are missing in the metrics")
            subscription = self._bus.subscribe(self._first.capacity)

    def _count(self, event: Event) -> None:
        data = event.data
        match event.type:
            case "account.registered":
                self._attempts.labels(data["account"].id, "registered").inc()
            case "account.registration_failed" | "account.auth_failed" | "account.connect_failed":
                self._attempts.labels(data["account"].id, event.type.partition(".")[2].replace("_failed", "")).inc()
            case "account.reconnected":
                self._reconnects.labels(data["account"].id).inc()
                self._outage.labels(data["account"].id).observe(data["outage_ms"] / 1000)
            case "call.created" | "call.incoming":
                self._up.setdefault(data["call"].id, StatsView())
            case "call.answered":
                self._answered(data["call"])
            case "call.ended":
                self._over(data["call"])
            case "call.reconnected":
                self._recoveries.labels(data["plane"], str(data["tier"])).inc()
                self._gap.labels(data["plane"]).observe(data["gap_ms"] / 1000)
            case "call.lost":
                self._calls_lost.labels(data["reason"]).inc()
            case "call.quality":
                for histogram, name, unit in (
                    (self._jitter, "jitter_ms", 1000.0),
                    (self._round_trip, "rtt_ms", 1000.0),
                    (self._mos, "mos", 1.0),
                ):
                    if data[name] is not None:
                        histogram.observe(data[name] / unit)
            case _:
                pass

    def _answered(self, call: CallView) -> None:
        if call.answered_at is not None:
            self._setup.labels(call.direction).observe((call.answered_at - call.created_at).total_seconds())

    def _over(self, call: CallView) -> None:
        self._look_at(call.id)
        last = self._up.pop(call.id, StatsView())
        self._sent += last.packets_sent
        self._received += last.packets_received
        self._lost += last.packets_lost
        self._ended.labels(call.direction, str(call.end.cause) if call.end else "completed").inc()
        if call.answered_at is not None:
            self._duration.labels(call.direction).observe(call.duration_s)

    def _look_at(self, call: str) -> None:
        with suppress(NotFound):
            self._up[call] = self._phone.stats(call)

    # --- gauges

    def _read(self) -> Iterator[Metric]:
        status = self._phone.status()
        yield InfoMetricFamily("phoned_build", "This phone", {"version": status.version})
        registered = GaugeMetricFamily("phoned_account_registered", "1: online", labels=["account"])
        for account in status.accounts:
            registered.add_metric([account.id], float(account.state is AccountState.ONLINE))
        yield registered
        active = GaugeMetricFamily("phoned_calls_active", "Calls now", labels=["account", "direction"])
        live = [call for call in self._phone.calls() if call.state is not CallState.ENDED]
        for account in status.accounts:
            for direction in ("in", "out"):
                count = sum(call.account == account.id and call.direction == direction for call in live)
                active.add_metric([account.id, direction], count)
        yield active
        yield GaugeMetricFamily("phoned_calls_capacity", "Calls that can be up at once", value=status.calls_capacity)
        yield GaugeMetricFamily("phoned_draining", "1: takes no new calls", value=float(status.draining))
        for call in tuple(self._up):
            self._look_at(call)
        packets = CounterMetricFamily("phoned_rtp_packets", "RTP packets", labels=["direction"])
        packets.add_metric(["out"], self._sent + sum(stats.packets_sent for stats in self._up.values()))
        packets.add_metric(["in"], self._received + sum(stats.packets_received for stats in self._up.values()))
        yield packets
        lost = self._lost + sum(stats.packets_lost for stats in self._up.values())
        yield CounterMetricFamily("phoned_rtp_packets_lost", "RTP packets that never came", value=lost)
        worst = max((late for _, late in self._lag), default=0.0)
        yield GaugeMetricFamily("phoned_event_loop_lag_seconds", "The worst of the last minute", value=worst)

        yield from self._of_webhooks()

    def _of_webhooks(self) -> Iterator[Metric]:
        try:
            control = self._webhooks()
        except UnavailableError:
            return
        attempts = CounterMetricFamily("phoned_webhook_attempts", "Attempts by how they ended", labels=["result"])
        for result, count in control.attempts().items():
            attempts.add_metric([result], count)
        yield attempts
        pending = sum(view.pending for view in control.webhooks())
        yield GaugeMetricFamily("phoned_webhook_pending", "Deliveries that wait", value=pending)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < self._asked_at + UNASKED_S:
            await asyncio.sleep(LAG_EVERY_S)
            late = max(0.0, loop.time() - now - LAG_EVERY_S)
            self._lag = [(at, lag) for at, lag in self._lag if at > now - LAG_KEPT_S] + [(now, late)]
        self._sampling = False


class _Reader:
    """What the registry asks for the gauges."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Nothing: the registry must not read the phone before it is asked to."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read now."""
        return self._read()


def _crashed(name: str, error: BaseException) -> None:
    log.error("%s crashed: metrics are incomplete", name, exc_info=error)
