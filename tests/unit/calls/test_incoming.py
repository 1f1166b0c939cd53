"""Which rule an incoming call meets, who may make us answer, and peace for everybody else."""

from __future__ import annotations

import pytest

from phoned.calls.incoming import Caller, Decision, IncomingPolicy, asked_answer_s, incoming_rule
from phoned.config.schema import IncomingRule

AUTO = (("Call-Info", "<sip:x@example.org>;answer-after=0"),)


def call(caller: str = "sip:bob@example.org", *, headers: tuple[tuple[str, str], ...] = ()) -> Caller:
    return Caller(account="front", caller=caller, called="sip:alice@example.org", headers=headers)


def test_the_first_rule_that_matches_all_its_globs_wins() -> None:
    rules = (
        IncomingRule(match="sip:*@bad.example", action="reject", code=603),
        IncomingRule(account="front", action="answer"),
        IncomingRule(to="*door*"),
    )

    def of(caller: str, account: str = "x", called: str = "sip:a@b") -> IncomingRule | None:
        return incoming_rule(rules, account=account, caller=caller, called=called)

    assert of("SIP:spam@BAD.example", "front") is rules[0]
    assert of("sip:a@good.example", "front") is rules[1]
    assert of("sip:a@good.example", called="sip:door@x") is rules[2]
    assert of("sip:a@good.example") is None


@pytest.mark.parametrize(
    "caller", ["sip:%73pam@bad.example", "sip:spam@BAD.example:5070;transport=ws", "SIP:spam@bad.example"]
)
def test_an_escape_is_no_way_around_a_rule(caller: str) -> None:
    rules = (IncomingRule(match="sip:spam@bad.example", action="reject"),)
    assert incoming_rule(rules, account="x", caller=caller, called="sip:a@b") is rules[0]


def test_a_caller_without_a_uri_that_can_be_read_meets_the_rules_for_all() -> None:
    rules = (IncomingRule(match="sip:*", action="answer"), IncomingRule(action="reject"))
    assert incoming_rule(rules, account="x", caller="tel:+49", called="sip:a@b") is rules[1]
    assert incoming_rule(rules, account="x", caller="nonsense", called="sip:a@b") is rules[1]


def test_without_a_rule_it_rings() -> None:
    assert IncomingPolicy().decide(call()) == Decision()


@pytest.mark.parametrize(
    ("name", "value", "after_s"),
    [
        ("Answer-Mode", "Auto", 0.0),
        ("answer-mode", " auto ; require", 0.0),
        ("Priv-Answer-Mode", "Auto", 0.0),
        ("Answer-Mode", "Manual", None),
        ("Answer-Mode", "Automatic", None),
        ("Call-Info", "<sip:pbx.example>;answer-after=0", 0.0),
        ("Call-Info", "<http://x/icon>;purpose=icon, <sip:pbx>; Answer-After = 3", 3.0),
        ("Call-Info", "<sip:pbx>;answer-after=999999", 60.0),
        ("Call-Info", "<sip:pbx>;answer-after=soon", None),
        ("Call-Info", "<sip:x;answer-after=0>", None),
        ("Alert-Info", "<http://example.org>;info=alert-autoanswer;delay=0", 0.0),
        ("Alert-Info", "info=alert-autoanswer", 0.0),
        ("Alert-Info", '<http://www.example.org>; info="alert-autoanswer"', 0.0),
        ("Alert-Info", "<http://example.org/alert-autoanswer.wav>", None),
        ("Subject", "answer-after=0", None),
    ],
)
def test_what_asks_a_phone_to_answer_by_itself(name: str, value: str, after_s: float | None) -> None:
    assert asked_answer_s([("From", "x"), (name, value)]) == after_s


def test_only_listed_callers_make_us_answer() -> None:
    policy = IncomingPolicy(auto_callers=("sip:door@*",))
    assert policy.decide(call("sip:door@example.org", headers=AUTO)).action == "answer"
    assert policy.decide(call("sip:door@example.org")).action == "ring"
    assert policy.decide(call("sip:stranger@example.org", headers=AUTO)).action == "ring"
    assert IncomingPolicy().decide(call("sip:door@example.org", headers=AUTO)).action == "ring"


def test_a_listed_caller_is_answered_when_he_asks_unless_a_rule_rejects_him() -> None:
    door = call("sip:door@example.org", headers=AUTO)
    policy = IncomingPolicy((IncomingRule(action="answer", after_s=9),), ("*",))
    assert policy.decide(door) == Decision(action="answer", after_s=0.0)
    policy.change((IncomingRule(action="reject", code=603),), ("*",))
    decision = policy.decide(door)
    assert (decision.action, decision.code) == ("reject", 603)


def test_do_not_disturb_refuses_what_would_ring_or_be_answered_and_leaves_rejections_their_code() -> None:
    policy = IncomingPolicy((IncomingRule(match="*spam*", action="reject", code=603), IncomingRule(action="answer")))
    policy.do_not_disturb = True
    assert [policy.decide(call(caller)).code for caller in ("sip:spam@x.org", "sip:bob@x.org")] == [603, 480]
    assert policy.decide(call("sip:bob@x.org")).action == "reject"
    policy.do_not_disturb = False
    assert policy.decide(call("sip:bob@x.org")).action == "answer"


def test_a_rejection_may_come_late() -> None:
    policy = IncomingPolicy((IncomingRule(action="reject", code=480, after_s=20),))
    decision = policy.decide(call())
    assert (decision.action, decision.after_s, decision.code) == ("reject", 20, 480)
    policy.do_not_disturb = True
    assert policy.decide(call()).after_s == 0
