"""REGISTER as it is sent, and what comes of each answer. Digest: test_registration_auth; the 200: test_binding."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue
from phoned.sip.accessors import cseq, via_top
from phoned.sip.events import BindingsTold, Registered, RegistrationFailed, Unregistered
from phoned.sip.message import response_to
from phoned.sip.registration import CSEQ_LIMIT, FailureCause, Registration, RegistrationParameters
from phoned.sip.transaction_layer import TransactionLimits
from tests.support.sip_registration import CONTACT, INSTANCE
from tests.support.sip_registration import RegistrationBench as Bench
from tests.support.sip_transactions import CountingRandom


def registered(flow: int = 1, expires_s: float = 60) -> Registered:
    return Registered(account="a1", flow=flow, expires_s=expires_s, contact=CONTACT)


def failed(cause: FailureCause, status: int | None = None, reason: str = "", **more: float) -> RegistrationFailed:
    return RegistrationFailed(
        account="a1", flow=1, cause=cause, status=status, reason=reason, retry_after_s=more.get("retry_after_s")
    )


# --- the request


def test_register_says_who_is_where_and_for_how_long() -> None:
    bench = Bench(display_name="Alice", user_agent="phoned/1", route=("<sip:edge;lr>", "<sip:core;lr>"))
    sent = bench.register()
    assert (sent.method, sent.uri, sent.body) == ("REGISTER", "sip:example.org", b"")
    assert sent.headers.all("Route") == ["<sip:edge;lr>", "<sip:core;lr>"]
    assert sent.headers.get("Max-Forwards") == "70"
    assert sent.headers.get("To") == '"Alice" <sip:alice@example.org>'
    assert (sent.headers.get("From") or "").startswith('"Alice" <sip:alice@example.org>;tag=')
    assert sent.headers.get("Call-ID") == "reg-call"
    assert sent.headers.get("CSeq") == "1 REGISTER"
    assert sent.headers.get("Contact") == f'<{CONTACT}>;+sip.instance="<{INSTANCE}>";reg-id=1;expires=120'
    assert sent.headers.get("Expires") == "120"
    assert sent.headers.get("Supported") == "path, gruu, outbound"
    assert sent.headers.get("User-Agent") == "phoned/1"
    assert via_top(sent).transport == "WSS"
    assert "Authorization" not in sent.headers


def test_contact_is_the_same_in_every_life_with_this_instance() -> None:
    assert Bench().registration.contact == Bench().registration.contact == CONTACT


def test_contact_can_be_given() -> None:
    bench = Bench(contact_user="line1", contact_host="10.0.0.7", contact_transport=None)
    assert bench.registration.contact == "sip:line1@10.0.0.7"


def test_contact_can_be_the_address_that_the_flow_leaves_from() -> None:
    bench = Bench(contact_is_local=True, sent_by="10.0.0.7:40000")
    sent = bench.register()
    assert "<sip:alice@10.0.0.7:40000;transport=ws>" in (sent.headers.get("Contact") or "")
    assert bench.registration.contact == "sip:alice@10.0.0.7:40000;transport=ws"


def test_secure_address_has_a_secure_contact() -> None:
    assert Bench(aor="sips:alice@example.org").registration.contact == CONTACT.replace("sip:", "sips:")


def test_secret_is_in_no_repr() -> None:
    parameters = RegistrationParameters(aor="sip:a@b", registrar="sip:b", instance_id=INSTANCE, secret="geheim")
    assert "geheim" not in repr(parameters)


def test_call_id_and_cseq_go_on_from_an_earlier_life() -> None:
    bench = Bench(cseq=41)
    sent = bench.register()
    assert cseq(sent).number == 42
    assert (bench.registration.call_id, bench.registration.cseq) == ("reg-call", 42)
    bench.answer(sent, 200)
    again = bench.register(now=2)
    assert cseq(again).number == 43
    assert again.headers.get("Call-ID") == "reg-call"
    assert via_top(again).branch != via_top(sent).branch


def test_exhausted_cseq_begins_anew_with_another_call_id() -> None:
    bench = Bench(cseq=CSEQ_LIMIT)
    sent = bench.register()
    assert cseq(sent).number == 1
    assert sent.headers.get("Call-ID") == bench.registration.call_id != "reg-call"


def test_registration_without_a_past_makes_its_own_call_id() -> None:
    bench = Bench()
    random = CountingRandom()
    fresh = Registration(
        account="a2",
        parameters=RegistrationParameters(aor="sip:example.org", registrar="sip:example.org", instance_id=INSTANCE),
        layer=bench.layer,
        random=random,
    )
    assert len(fresh.call_id) == 32
    assert fresh.contact == "sip:0191aaaabbbb7ccc8dddeeeeffff0001.invalid;transport=ws"


def test_value_that_would_break_the_message_is_refused() -> None:
    bench = Bench(user_agent="x\r\nEvil: yes")
    for _ in range(2):
        with pytest.raises(InvalidValue):
            bench.registration.register(1, 0)
    assert bench.registration.in_flight is None


# --- the outcome


def test_ok_reports_the_binding() -> None:
    bench = Bench()
    sent = bench.register()
    assert bench.registration.in_flight == 1
    events = bench.answer(
        sent,
        200,
        ("Service-Route", "<sip:edge.example.org;lr>"),
        ("Flow-Timer", "120"),
        ("Path", "<sip:edge;lr>"),
    )
    assert events == [
        Registered(
            account="a1",
            flow=1,
            expires_s=60,
            contact=CONTACT,
            service_route=("<sip:edge.example.org;lr>",),
            flow_timer_s=120,
        )
    ]
    assert bench.registration.in_flight is None


def test_ok_without_our_binding_is_a_failure() -> None:
    bench = Bench()
    sent = bench.register()
    events = bench.answer(sent, 200, ("Contact", "<sip:alice@other.example>;expires=600"), bound=False)
    assert events == [failed(FailureCause.NOT_BOUND, 200, "OK")]


@pytest.mark.parametrize("status", [100, 183])
def test_provisional_response_decides_nothing(status: int) -> None:
    bench = Bench()
    sent = bench.register()
    assert bench.answer(sent, status) == []
    assert bench.answer(sent, 200) == [registered()]


@pytest.mark.parametrize("status", [302, 403, 404, 408, 430, 480, 500, 503, 603])
def test_refusal_is_reported_with_its_status(status: int) -> None:
    bench = Bench()
    (event,) = bench.answer(bench.register(), status)
    assert isinstance(event, RegistrationFailed)
    assert (event.cause, event.status, event.retry_after_s) == ("refused", status, None)
    assert event.reason
    assert bench.registration.in_flight is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30.0), ("18000;duration=3600", 18000.0), ("5 (busy)", 5.0), ("soon", None), ("-1", None), ("9" * 40, None)],
)
def test_retry_after_is_read_with_tolerance(text: str, expected: float | None) -> None:
    bench = Bench()
    (event,) = bench.answer(bench.register(), 503, ("Retry-After", text))
    assert isinstance(event, RegistrationFailed)
    assert event.retry_after_s == expected


def test_no_answer_is_a_timeout() -> None:
    bench = Bench()
    bench.register()
    assert bench.tick(31.9) == []
    assert bench.tick(32) == [failed(FailureCause.TIMEOUT)]


def test_deadline_of_an_answer_can_be_shorter() -> None:
    bench = Bench(timeout_s=5)
    bench.register()
    assert bench.tick(5) == [failed(FailureCause.TIMEOUT)]


def test_lost_flow_is_told_from_a_timeout() -> None:
    bench = Bench()
    bench.register()
    assert bench.pass_on(bench.layer.flow_down(1, 1), 1) == [failed(FailureCause.FLOW)]


def test_flow_that_is_not_up_fails_with_the_next_tick() -> None:
    bench = Bench()
    bench.layer.flow_down(1, 0)
    bench.registration.register(1, 0)
    assert bench.tick(0) == [failed(FailureCause.FLOW)]


def test_crowded_transaction_layer_is_a_refusal_of_our_own() -> None:
    bench = Bench(limits=TransactionLimits(client=0))
    (event,) = bench.registration.register(1, 0)
    assert isinstance(event, RegistrationFailed)
    assert (event.cause, event.status) == ("refused", None)


# --- one at a time


def test_second_wish_on_the_same_flow_waits_for_the_first_answer() -> None:
    bench = Bench()
    sent = bench.register()
    assert bench.registration.register(1, 0.5) == []
    assert len(bench.outbox) == 0
    assert bench.answer(sent, 200) == [registered()]


def test_newer_flow_wins_and_the_old_answer_is_nothing() -> None:
    bench = Bench()
    old = bench.register(flow=1)
    new = bench.register(flow=2)
    assert len(bench.layer) == 1
    assert cseq(new).number == cseq(old).number + 1
    assert new.headers.get("Call-ID") == old.headers.get("Call-ID")
    assert bench.answer(old, 200, flow=1) == []
    assert bench.answer(old, 403, flow=1) == []
    assert bench.answer(new, 200, flow=2) == [registered(flow=2)]


def test_loss_of_the_old_flow_does_not_touch_the_attempt_on_the_new() -> None:
    bench = Bench()
    bench.register(flow=1)
    new = bench.register(flow=2)
    assert bench.pass_on(bench.layer.flow_down(1, 1), 1) == []
    assert bench.answer(new, 200, flow=2) == [registered(flow=2)]


def test_event_after_the_end_is_ignored() -> None:
    bench = Bench()
    sent = bench.register()
    ((_, event), _) = bench.layer.receive(1, response_to(sent, 200, to_tag="t"), 1)
    assert len(bench.registration.on_transaction(event, 1)) == 1
    assert bench.registration.on_transaction(event, 1) == []


# --- unregister


def test_unregister_asks_for_no_time_and_reports_the_end() -> None:
    bench = Bench()
    assert bench.answer(bench.register(), 200) == [registered()]
    bench.registration.unregister(1, 2)
    sent = bench.sent()
    assert (sent.headers.get("Contact") or "").endswith(";expires=0")
    assert sent.headers.get("Expires") == "0"
    assert bench.answer(sent, 200, bound=False) == [Unregistered(account="a1", flow=1)]


def test_unregister_overtakes_a_register_in_flight() -> None:
    bench = Bench()
    old = bench.register()
    bench.registration.unregister(1, 0.1)
    sent = bench.sent()
    assert bench.answer(old, 200) == []
    assert bench.answer(sent, 200) == [Unregistered(account="a1", flow=1)]


def test_register_overtakes_an_unregister_in_flight() -> None:
    bench = Bench()
    bench.registration.unregister(1, 0)
    gone = bench.sent()
    sent = bench.register(now=0.1)
    assert bench.answer(gone, 200) == []
    assert bench.answer(sent, 200) == [registered()]


def test_unregister_that_is_refused_says_so() -> None:
    bench = Bench()
    bench.registration.unregister(1, 0)
    assert bench.answer(bench.sent(), 423, ("Min-Expires", "60")) == [
        failed(FailureCause.REFUSED, 423, "Interval Too Brief")
    ]


# --- 423, 439


@pytest.mark.behaviour("W14")
def test_too_brief_is_repeated_once_with_what_the_registrar_wants() -> None:
    bench = Bench()
    first = bench.register()
    assert bench.answer(first, 423, ("Min-Expires", "600")) == []
    second = bench.sent()
    assert second.headers.get("Expires") == "600"
    assert cseq(second).number == cseq(first).number + 1
    assert bench.answer(second, 200) == [registered()]
    assert bench.register(now=5).headers.get("Expires") == "600"


@pytest.mark.parametrize("least", ["0", "60", "120", "86401", "4294967295", "nonsense", ""])
def test_senseless_min_expires_is_a_refusal_and_no_loop(least: str) -> None:
    bench = Bench()
    headers = (("Min-Expires", least),) if least else ()
    assert bench.answer(bench.register(), 423, *headers) == [failed(FailureCause.REFUSED, 423, "Interval Too Brief")]


def test_registrar_that_always_wants_more_is_left() -> None:
    bench = Bench()
    assert bench.answer(bench.register(), 423, ("Min-Expires", "600")) == []
    assert bench.answer(bench.sent(), 423, ("Min-Expires", "700")) == [
        failed(FailureCause.REFUSED, 423, "Interval Too Brief")
    ]


@pytest.mark.behaviour("W17")
def test_first_hop_without_outbound_gets_a_plain_binding() -> None:
    bench = Bench()
    assert bench.answer(bench.register(), 439) == []
    plain = bench.sent()
    assert "reg-id" not in (plain.headers.get("Contact") or "")
    assert "+sip.instance" in (plain.headers.get("Contact") or "")
    assert plain.headers.get("Supported") == "path, gruu"
    assert bench.answer(plain, 439) == [failed(FailureCause.REFUSED, 439, "First Hop Lacks Outbound Support")]
    assert "reg-id" in (bench.register(flow=2).headers.get("Contact") or "")


def test_expires_is_never_less_than_a_second() -> None:
    assert Bench().register(expires_s=0).headers.get("Expires") == "1"
    assert Bench().register(expires_s=300).headers.get("Expires") == "300"


# --- a REGISTER that only asks


def test_a_question_binds_nothing_and_brings_every_binding_that_can_be_read() -> None:
    bench = Bench(asks_only=True)
    sent = bench.register()
    assert not {"Contact", "Expires"} & {name for name, _ in sent.headers}
    listed = ("Contact", "<sip:a@h1>;expires=5, <nonsense>, <sip:b@h2>")
    assert bench.answer(sent, 200, listed, bound=False) == [
        BindingsTold(account="a1", flow=1, contacts=("sip:a@h1", "sip:b@h2"))
    ]
    assert bench.registration.in_flight is None


def test_a_question_is_answered_with_credentials_like_any_register() -> None:
    bench = Bench(asks_only=True)
    sent = bench.register()
    bench.answer(sent, 401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'))
    again = bench.sent()
    assert "Authorization" in again.headers
    assert "Contact" not in again.headers
    assert bench.answer(again, 200, bound=False) == [BindingsTold(account="a1", flow=1, contacts=())]
