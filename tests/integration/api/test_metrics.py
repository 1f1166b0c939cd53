"""/metrics: what is counted, and that the number of series does not grow with the calls."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from phoned.model import CallRequest, EndCause
from tests.integration.api.conftest import Running

OPEN_LABELS = {"account": {"front"}, "direction": {"in", "out"}, "plane": {"signalling", "media", "both"}}
"""What may stand in a label, where it is no word of an enum."""


async def scrape(running: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    await running.bus.flush()
    response = await running.unix().get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_calls_are_counted_by_how_they_ended(running: Running) -> None:
    phone = running.phone
    first = await phone.place_call(CallRequest(account="front", to="200"))
    before = await scrape(running)
    assert before["phoned_calls_active", (("account", "front"), ("direction", "out"))] == 1
    assert before["phoned_account_registered", (("account", "front"),)] == 1
    await phone.remote_answers(first.id)
    await phone.hangup(first.id)
    second = await phone.place_call(CallRequest(account="front", to="200"))
    await phone.remote_refuses(second.id, 486, "Busy Here")
    after = await scrape(running)
    assert after["phoned_calls_total", (("cause", "completed"), ("direction", "out"))] == 1
    assert after["phoned_calls_total", (("cause", "busy"), ("direction", "out"))] == 1
    assert after["phoned_call_setup_seconds_count", (("direction", "out"),)] == 1
    assert after["phoned_call_duration_seconds_count", (("direction", "out"),)] == 1
    assert after["phoned_calls_active", (("account", "front"), ("direction", "out"))] == 0
    assert after["phoned_event_loop_lag_seconds", ()] >= 0


async def test_repairs_and_quality_are_counted(running: Running) -> None:
    call = await running.phone.place_call(CallRequest(account="front", to="200"))
    account = running.phone.account("front")
    publish = running.bus.publish
    publish("account.reconnected", account=account, outage_ms=250, attempts=1)
    publish("call.reconnected", call=call, plane="media", gap_ms=340, tier=1)
    publish("call.quality", call=call, mos=4.3, jitter_ms=3.0, loss_pct=0.0, rtt_ms=None)
    publish("call.lost", call=call, reason="media_timeout")
    publish("account.connect_failed", account=account, cause="refused", first=True)
    found = await scrape(running)
    assert found["phoned_transport_reconnects_total", (("account", "front"),)] == 1
    assert found["phoned_call_recoveries_total", (("plane", "media"), ("tier", "1"))] == 1
    assert found["phoned_call_recovery_gap_seconds_sum", (("plane", "media"),)] == 0.34
    assert found["phoned_call_mos_count", ()] == 1
    assert found["phoned_rtp_round_trip_seconds_count", ()] == 0
    assert found["phoned_calls_lost_total", (("reason", "media_timeout"),)] == 1
    assert found["phoned_registration_attempts_total", (("account", "front"), ("result", "connect"))] == 1


async def test_a_hundred_calls_make_no_more_series_than_one(running: Running) -> None:
    async def one() -> None:
        call = await running.phone.place_call(CallRequest(account="front", to="200"))
        await running.phone.remote_answers(call.id)
        await running.phone.hangup(call.id)

    await one()
    few = await scrape(running)
    for _ in range(100):
        await one()
    many = await scrape(running)
    assert few.keys() == many.keys()
    assert many["phoned_calls_total", (("cause", "completed"), ("direction", "out"))] == 101
    for _, labels in many:
        for name, value in labels:
            assert value in OPEN_LABELS.get(name, {value})
            assert name == "le" or not value.startswith(("call_", "sip:", "+"))


async def test_hostile_peers_cannot_make_series(running: Running) -> None:
    """Whatever a far end says of itself, in names, numbers, codes and reasons, is no label."""
    phone = running.phone

    async def hostile(name: str) -> None:
        for status in (*range(400, 440), 480, 486, 500, 503, 600, 603, 699):
            call = await phone.remote_calls(f"sip:{name}-{status}@{name}.test")
            await phone.remote_refuses(call.id, status, f'{name} "{status}" \n phoned_up 1')
            placed = await phone.place_call(CallRequest(account="front", to=f"{name}{status}", tags={name: name}))
            await phone.remote_refuses(placed.id, status, name)
        running.bus.publish("account.registration_failed", account=phone.account("front"), cause=name, sip_code=403)

    await hostile("mallory")
    few = await scrape(running)
    for number in range(5):
        await hostile(f"eve{number}")
    many = await scrape(running)
    assert few.keys() == many.keys()
    words = {value for name, labels in many for label, value in labels if label not in ("le", "version", "result")}
    assert words <= {*map(str, EndCause), *("front", "in", "out")}


NAMES = {
    "phoned_build_info": "gauge",
    "phoned_account_registered": "gauge",
    "phoned_registration_attempts_total": "counter",
    "phoned_calls_active": "gauge",
    "phoned_calls_capacity": "gauge",
    "phoned_draining": "gauge",
    "phoned_calls_total": "counter",
    "phoned_call_setup_seconds": "histogram",
    "phoned_call_duration_seconds": "histogram",
    "phoned_rtp_jitter_seconds": "histogram",
    "phoned_rtp_packets_total": "counter",
    "phoned_rtp_packets_lost_total": "counter",
    "phoned_rtp_round_trip_seconds": "histogram",
    "phoned_call_mos": "histogram",
    "phoned_transport_reconnects_total": "counter",
    "phoned_event_loop_lag_seconds": "gauge",
}
"""What dashboards and alerts are written against."""


async def test_names_and_kinds_are_what_dashboards_ask_for(running: Running) -> None:
    text = (await running.unix().get("/metrics")).text
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))
    for name, kind in NAMES.items():
        assert kinds.get(name) == kind, name
    assert all(name.startswith(("phoned_", "process_")) for name in kinds)


async def test_metrics_need_the_scope_read(running: Running) -> None:
    assert (await running.tcp().get("/metrics")).status_code == 401
