"""The plan of an account's signalling: each rule by a fact table, and that it never wedges by searching all facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoned.model import AccountState, Cause
from phoned.recovery.plan import (
    AbortFlow,
    AccountFacts,
    AdoptFlow,
    CancelDial,
    CarryCalls,
    CloseFlow,
    DialFlow,
    FlowFacts,
    Gate,
    Plan,
    Register,
    Unregister,
    plan,
)

S = AccountState
NOW = 100.0


def flow(generation: int = 1, **facts: Any) -> FlowFacts:
    return FlowFacts(generation=generation, **facts)


def online(generation: int = 1, **facts: Any) -> FlowFacts:
    return FlowFacts(**{"generation": generation, "registered": True, "refresh_at": 160.0, **facts})


def of(**facts: Any) -> Plan:
    return plan(AccountFacts(**{"now": NOW, "wanted": True, **facts}))


def test_a_wish_without_a_flow_dials() -> None:
    assert of() == Plan(state=S.CONNECTING, steps=(DialFlow(proxy="primary"),))
    assert of(proxy="backup").steps == (DialFlow(proxy="backup"),)
    assert of(dialling=True) == Plan(state=S.CONNECTING)


@pytest.mark.parametrize(
    ("gate", "state"), [(Gate.BACKOFF, S.BACKOFF), (Gate.THROTTLED, S.THROTTLED), (Gate.AUTH, S.AUTH_FAILED)]
)
def test_a_gate_holds_until_its_time_and_then_opens(gate: Gate, state: AccountState) -> None:
    assert of(gate=gate, gate_until=130.0) == Plan(state=state, wake_at=130.0)
    assert of(gate=gate, gate_until=100.0).steps == (DialFlow(proxy="primary"),)
    assert of(gate=gate, gate_until=130.0, flow=flow()) == Plan(state=state, wake_at=130.0)
    assert of(gate=gate, gate_until=100.0, flow=flow()).steps == (Register(generation=1),)


def test_a_new_flow_is_registered_and_a_mute_server_is_left_at_the_deadline() -> None:
    assert of(flow=flow()) == Plan(state=S.REGISTERING, steps=(Register(generation=1),))
    assert of(flow=flow(answer_by=105.0)) == Plan(state=S.REGISTERING, wake_at=105.0)
    assert of(flow=flow(answer_by=100.0)).steps == (AbortFlow(generation=1, cause=Cause.MUTE),)


def test_a_registered_flow_is_refreshed_in_time_and_abandoned_when_the_answer_is_overdue() -> None:
    assert of(flow=online()) == Plan(state=S.ONLINE, wake_at=160.0)
    assert of(flow=online(refresh_at=100.0)).steps == (Register(generation=1),)
    assert of(flow=online(answer_by=105.0)) == Plan(state=S.ONLINE, wake_at=105.0)
    overdue = of(flow=online(answer_by=99.0))
    assert overdue == Plan(state=S.ONLINE, steps=(AbortFlow(generation=1, cause=Cause.REGISTER_TIMEOUT),))


def test_a_doubted_flow_gets_a_candidate_beside_it() -> None:
    doubted = online(suspect=Cause.PING)
    assert of(flow=doubted) == Plan(state=S.SUSPECT, steps=(DialFlow(proxy="primary"),))
    assert of(flow=doubted, dialling=True) == Plan(state=S.SUSPECT, wake_at=160.0)
    assert of(flow=doubted, candidate=flow(2)).steps == (Register(generation=2),)
    assert of(flow=doubted, candidate=flow(2, answer_by=105.0)) == Plan(state=S.SUSPECT, wake_at=105.0)
    assert of(flow=doubted, gate=Gate.BACKOFF, gate_until=101.0) == Plan(state=S.SUSPECT, wake_at=101.0)
    assert of(flow=doubted, candidate=flow(2), gate=Gate.BACKOFF, gate_until=101.0).wake_at == 101.0


def test_one_register_at_a_time_also_with_a_candidate() -> None:
    doubted = online(suspect=Cause.PING, answer_by=103.0)
    assert of(flow=doubted, candidate=flow(2)) == Plan(state=S.SUSPECT, wake_at=103.0)


def test_a_doubted_flow_is_refreshed_while_its_candidate_is_dialled() -> None:
    doubted = online(suspect=Cause.NETWORK, refresh_at=100.0)
    assert of(flow=doubted, dialling=True).steps == (Register(generation=1),)
    assert of(flow=doubted, gate=Gate.BACKOFF, gate_until=101.0).steps == (Register(generation=1),)


def test_the_first_that_registers_is_adopted_and_the_other_is_aborted() -> None:
    doubted = online(suspect=Cause.NETWORK)
    assert of(flow=doubted, candidate=online(2)) == Plan(
        state=S.ONLINE, steps=(AdoptFlow(generation=2), AbortFlow(generation=1, cause=Cause.NETWORK))
    )


def test_a_byte_on_the_old_flow_spares_the_candidate_only_before_its_register_is_written() -> None:
    assert of(flow=online(), candidate=flow(2)).steps == (CloseFlow(generation=2),)
    assert of(flow=online(), dialling=True).steps == (CancelDial(),)
    assert of(flow=online(), candidate=flow(2, answer_by=104.0)) == Plan(state=S.ONLINE, wake_at=104.0)
    assert of(flow=online(), candidate=online(2)).steps[0] == AdoptFlow(generation=2)


def test_moving_to_another_proxy_is_make_before_break() -> None:
    assert of(flow=online(), proxy="backup") == Plan(state=S.ONLINE, steps=(DialFlow(proxy="backup"),))
    assert of(flow=online(), candidate=online(2, proxy="backup"), proxy="backup").steps == (
        AdoptFlow(generation=2),
        AbortFlow(generation=1, cause=Cause.API),
    )
    assert of(flow=flow(), proxy="backup").steps == (CloseFlow(generation=1),)


def test_without_a_network_nothing_is_tried() -> None:
    assert of(network_up=False) == Plan(state=S.NET_DOWN)
    assert of(network_up=False, dialling=True).steps == (CancelDial(),)
    assert of(network_up=False, flow=online(suspect=Cause.NETWORK), candidate=flow(2)).steps == (
        CloseFlow(generation=2),
    )
    assert of(network_up=False, flow=flow(answer_by=99.0)).steps == (AbortFlow(generation=1, cause=Cause.MUTE),)


def test_leaving_unregisters_first_and_closes_unless_calls_are_up() -> None:
    assert of(wanted=False, flow=online()) == Plan(state=S.UNREGISTERING, steps=(Unregister(),))
    waiting = of(wanted=False, flow=online(), unregister_by=102.0)
    assert waiting == Plan(state=S.UNREGISTERING, wake_at=102.0)
    assert of(wanted=False, flow=online(), unregister_by=100.0) == Plan(state=S.OFF, steps=(CloseFlow(generation=1),))
    assert of(wanted=False, dialling=True).steps == (CancelDial(),)
    assert of(wanted=False) == Plan(state=S.OFF)


def test_calls_of_an_account_that_is_off_keep_a_flow() -> None:
    off = {"wanted": False, "calls_up": 1}
    assert of(**off, flow=flow()) == Plan(state=S.OFF)
    assert of(**off, flow=flow(fresh=True)).steps == (CarryCalls(generation=1),)
    assert of(**off, flow=flow(suspect=Cause.PING)).steps == (AbortFlow(generation=1, cause=Cause.PING),)
    assert of(**off).steps == (DialFlow(proxy="primary"),)
    assert of(**off, dialling=True) == Plan(state=S.OFF)
    assert of(**off, network_up=False, flow=flow(suspect=Cause.NETWORK)) == Plan(state=S.OFF)
    assert of(**off, gate=Gate.BACKOFF, gate_until=103.0) == Plan(state=S.OFF, wake_at=103.0)
    assert of(**off, flow=flow(), candidate=flow(2)).steps == (CloseFlow(generation=2),)
    assert of(**off, gave_up=True) == Plan(state=S.OFF, steps=(DialFlow(proxy="primary"),))
    assert of(gave_up=True, calls_up=1) == Plan(state=S.OFF), "it was told to try no more"


def test_calls_that_went_ahead_to_a_candidate_that_is_gone_are_moved_back() -> None:
    back = Plan(state=S.ONLINE, steps=(CarryCalls(generation=1),))
    assert of(flow=online(), calls_on=2) == back
    assert of(flow=online(), calls_on=2, proxy="backup") == back
    assert of(flow=online(), calls_on=1) == of(flow=online())
    assert of(flow=online(), calls_on=2, candidate=flow(2, answer_by=104.0)) == Plan(state=S.ONLINE, wake_at=104.0)
    assert of(flow=online(suspect=Cause.PING), calls_on=2).steps == (DialFlow(proxy="primary"),)
    assert of(wanted=False, calls_up=1, flow=flow(), calls_on=2).steps == back.steps


@pytest.mark.parametrize("cause", [Cause.NETWORK, Cause.RESUME])
def test_what_set_out_on_the_way_of_before_is_not_waited_for(cause: Cause) -> None:
    abort = (AbortFlow(generation=1, cause=cause),)
    assert of(flow=flow(suspect=cause, answer_by=105.0)) == Plan(state=S.CONNECTING, steps=abort)
    assert of(flow=flow(suspect=cause), gate=Gate.BACKOFF, gate_until=130.0).steps == abort
    for candidate in (flow(2, suspect=cause, answer_by=105.0), flow(2, suspect=cause)):
        replacing = of(flow=online(suspect=cause), candidate=candidate)
        assert replacing == Plan(state=S.SUSPECT, steps=(AbortFlow(generation=2, cause=cause),))
    assert of(flow=flow(suspect=Cause.TIMEOUT, answer_by=105.0)).wake_at == 105.0


def test_giving_up_is_quiet() -> None:
    assert of(gave_up=True) == Plan(state=S.OFF)
    assert of(gave_up=True, flow=online()).steps == (CloseFlow(generation=1),)


times = st.one_of(st.none(), st.floats(90, 110))
flows = st.builds(
    FlowFacts,
    generation=st.integers(1, 3),
    proxy=st.sampled_from(["primary", "backup"]),
    registered=st.booleans(),
    answer_by=times,
    refresh_at=st.floats(90, 110),
    suspect=st.one_of(st.none(), st.sampled_from(list(Cause))),
    fresh=st.booleans(),
)
facts = st.builds(
    AccountFacts,
    now=st.just(NOW),
    wanted=st.booleans(),
    network_up=st.booleans(),
    flow=st.one_of(st.none(), flows),
    candidate=st.one_of(st.none(), flows.map(lambda known: replace(known, generation=9))),
    dialling=st.booleans(),
    proxy=st.sampled_from(["primary", "backup"]),
    gate=st.sampled_from(list(Gate)),
    gate_until=st.floats(90, 110),
    gave_up=st.booleans(),
    unregister_by=times,
    calls_up=st.integers(0, 2),
    calls_on=st.one_of(st.none(), st.integers(1, 3)),
)


@settings(max_examples=400, deadline=None)
@given(facts)
def test_nothing_ever_wedges(known: AccountFacts) -> None:
    """Every plan acts, or names a time to come, or waits for something that has a deadline of its own, or rests."""
    made = plan(known)
    rests = made.state in (S.OFF, S.NET_DOWN)
    acts = bool(made.steps)
    comes = made.wake_at is not None and made.wake_at > known.now
    assert acts or comes or rests or known.dialling
    assert not (known.dialling and any(isinstance(step, DialFlow) for step in made.steps))


@settings(max_examples=300, deadline=None)
@given(facts)
def test_only_living_flows_are_touched_and_never_two_registers_at_once(known: AccountFacts) -> None:
    made = plan(known)
    living = {one.generation for one in (known.flow, known.candidate) if one is not None}
    assert all(getattr(step, "generation", next(iter(living), 0)) in living or not living for step in made.steps)
    assert sum(isinstance(step, Register) for step in made.steps) <= 1
    assert known.wanted or not any(isinstance(step, Register) for step in made.steps)
    assert known.wanted or known.calls_up or not any(isinstance(step, DialFlow) for step in made.steps)
