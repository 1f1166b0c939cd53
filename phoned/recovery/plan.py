"""What is to be done about an account's signalling, from the facts alone. Pure: facts in, state and steps out.

`plan` is the one authority. It is asked whenever a fact changed or the time it named has come; the runner
(`phoned.accounts`) carries the steps out, which changes the facts, and asks again. Because nothing is remembered here,
a world that moves in the middle of a repair is planned anew, not stacked on what was planned before.

The state is a function of the facts too (recovery page, "Signalling plane"; RFC 5626 4.2-4.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from phoned.model import AccountState, Cause

ProxyName = Literal["primary", "backup"]
Place = Literal["primary", "backup", "former"]
"""Where a flow leads. ``former``: to a proxy that the account has no longer, so it is replaced in any case."""
S = AccountState


class Gate(StrEnum):
    """Why nothing may be tried before `AccountFacts.gate_until`."""

    OPEN = "open"
    BACKOFF = "backoff"
    THROTTLED = "throttled"
    AUTH = "auth"


MOVED = frozenset({Cause.NETWORK, Cause.RESUME})
"""Doubts that are about the way and not about the server: nothing is to be learnt by waiting for its answer."""
_GATED = {Gate.BACKOFF: S.BACKOFF, Gate.THROTTLED: S.THROTTLED, Gate.AUTH: S.AUTH_FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFacts:
    """One open flow."""

    generation: int
    proxy: Place = "primary"
    registered: bool = False
    """Our binding points to it, as the registrar said last."""
    answer_by: float | None = None
    """A REGISTER is under way on it; when its answer is overdue."""
    refresh_at: float | None = None
    suspect: Cause | None = None
    """Why it is doubted."""
    fresh: bool = False
    """Nothing was said on it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """All that counts. Times are monotonic seconds."""

    now: float
    wanted: bool
    network_up: bool = True
    flow: FlowFacts | None = None
    """The one in use."""
    candidate: FlowFacts | None = None
    """One that was dialled beside it, to take its place."""
    dialling: bool = False
    proxy: ProxyName = "primary"
    """Where the account should be."""
    gate: Gate = Gate.OPEN
    gate_until: float = 0.0
    gave_up: bool = False
    unregister_by: float | None = None
    """An un-REGISTER is under way; when it is given up."""
    calls_up: int = 0
    calls_on: int | None = None
    """The flow that new requests and dialogs go over: they moved there when it was to be registered, or was."""

    @property
    def gated(self) -> bool:
        """Whether a new attempt has to wait."""
        return self.gate is not Gate.OPEN and self.now < self.gate_until


@dataclass(frozen=True, slots=True, kw_only=True)
class DialFlow:
    """Dial ``proxy``; the flow will be the candidate when there is one in use already."""

    proxy: ProxyName


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelDial:
    """Nobody needs the flow that is being dialled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Send a REGISTER on this flow."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryCalls:
    """Move the dialogs to this flow without a REGISTER: the account is off and its calls are not, or they went ahead to
    a candidate that came to nothing."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptFlow:
    """The candidate takes the place of the flow in use; dialogs move with it."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortFlow:
    """End this flow without waiting for anything."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseFlow:
    """End this flow politely: nothing is wrong with it."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregister:
    """Remove the binding."""


Step = DialFlow | CancelDial | Register | CarryCalls | AdoptFlow | AbortFlow | CloseFlow | Unregister


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where the account stands, what to do now, and when to ask again if nothing else happens first."""

    state: AccountState
    steps: tuple[Step, ...] = ()
    wake_at: float | None = None


def plan(facts: AccountFacts) -> Plan:
    """The whole decision. While there are steps, ``wake_at`` means nothing: facts change by carrying them out."""
    if not facts.wanted or facts.gave_up:
        return _leave(facts)
    overdue = [flow for flow in _flows(facts) if flow.answer_by is not None and facts.now >= flow.answer_by]
    if overdue:
        steps = tuple(AbortFlow(generation=flow.generation, cause=_silence(flow)) for flow in overdue)
        return Plan(state=_repairing(facts), steps=steps)
    if not facts.network_up:
        # attempts would only fail; calls keep what they have until a route comes back
        return Plan(state=S.NET_DOWN, steps=_drop_attempt(facts))
    if facts.flow is None:
        return _without_flow(facts)
    if facts.candidate is not None and facts.candidate.registered:
        # its REGISTER has replaced the binding: whatever the old flow still says, it is not reached any more
        cause = facts.flow.suspect or Cause.API
        return Plan(
            state=S.ONLINE,
            steps=(
                AdoptFlow(generation=facts.candidate.generation),
                AbortFlow(generation=facts.flow.generation, cause=cause),
            ),
        )
    if not facts.flow.registered:
        return _unregistered(facts, facts.flow)
    if facts.candidate is None and facts.flow.suspect is None and _elsewhere(facts, facts.flow):
        return Plan(state=S.ONLINE, steps=(CarryCalls(generation=facts.flow.generation),))
    if facts.flow.suspect is not None or facts.flow.proxy != facts.proxy:
        return _replace(facts, facts.flow)
    return _online(facts, facts.flow)


def _without_flow(facts: AccountFacts) -> Plan:
    if facts.dialling:
        return Plan(state=S.CONNECTING)
    if facts.gated:
        return Plan(state=_GATED[facts.gate], wake_at=facts.gate_until)
    return Plan(state=S.CONNECTING, steps=(DialFlow(proxy=facts.proxy),))


def _unregistered(facts: AccountFacts, flow: FlowFacts) -> Plan:
    """A flow that no binding points to yet, or no longer: it is tried again on the living socket."""
    if flow.suspect in MOVED:
        return Plan(state=S.CONNECTING, steps=(AbortFlow(generation=flow.generation, cause=flow.suspect),))
    if flow.answer_by is not None:
        return Plan(state=S.REGISTERING, wake_at=flow.answer_by)
    if facts.gated:
        return Plan(state=_GATED[facts.gate], wake_at=facts.gate_until)
    if flow.proxy != facts.proxy:
        return Plan(state=S.CONNECTING, steps=(CloseFlow(generation=flow.generation),))
    return Plan(state=S.REGISTERING, steps=(Register(generation=flow.generation),))


def _replace(facts: AccountFacts, flow: FlowFacts) -> Plan:
    """Make before break: a candidate beside the flow that is doubted, or that goes to the wrong proxy."""
    state = S.ONLINE if flow.suspect is None else S.SUSPECT
    candidate = facts.candidate
    if candidate is None:
        if facts.dialling:
            return Plan(state=state, steps=_refresh(facts, flow), wake_at=_refresh_time(flow))
        if facts.gated:
            return Plan(
                state=state,
                steps=_refresh(facts, flow),
                wake_at=_earliest(facts.gate_until, _refresh_time(flow)),
            )
        return Plan(state=state, steps=(DialFlow(proxy=facts.proxy),))
    if candidate.suspect in MOVED:
        return Plan(state=state, steps=(AbortFlow(generation=candidate.generation, cause=candidate.suspect),))
    if candidate.answer_by is None:
        if facts.gated:
            return Plan(state=state, wake_at=facts.gate_until)
        if flow.answer_by is not None:
            # one REGISTER at a time; that of the doubted flow ends within its deadline
            return Plan(state=state, wake_at=flow.answer_by)
        return Plan(state=state, steps=(Register(generation=candidate.generation),))
    return Plan(state=state, wake_at=candidate.answer_by)


def _online(facts: AccountFacts, flow: FlowFacts) -> Plan:
    steps: tuple[Step, ...] = ()
    if facts.candidate is None:
        steps = _drop_attempt(facts) or _refresh(facts, flow)
    elif facts.candidate.answer_by is None:
        # the suspicion was unfounded, and nothing was said on the candidate yet
        steps = (CloseFlow(generation=facts.candidate.generation),)
    wake_at = _refresh_time(flow) if facts.candidate is None else facts.candidate.answer_by
    return Plan(state=S.ONLINE, steps=steps, wake_at=wake_at)


def _leave(facts: AccountFacts) -> Plan:
    """The account is not wanted, or its attempts are spent."""
    if facts.unregister_by is not None and facts.now < facts.unregister_by and facts.flow is not None:
        return Plan(state=S.UNREGISTERING, wake_at=facts.unregister_by)
    if facts.flow is not None and facts.flow.registered and not facts.gave_up and facts.unregister_by is None:
        return Plan(state=S.UNREGISTERING, steps=(*_drop_attempt(facts), Unregister()))
    if facts.calls_up and not facts.wanted:
        return _for_calls(facts)
    steps = list(_drop_attempt(facts))
    if facts.flow is not None and not facts.calls_up:
        steps.append(CloseFlow(generation=facts.flow.generation))
    return Plan(state=S.OFF, steps=tuple(steps))


def _for_calls(facts: AccountFacts) -> Plan:
    """Off, but calls are up: they need a flow to be repaired and ended over, and no binding."""
    flow = facts.flow
    if facts.candidate is not None:
        return Plan(state=S.OFF, steps=(CloseFlow(generation=facts.candidate.generation),))
    if not facts.network_up or facts.dialling:
        return Plan(state=S.OFF)
    if flow is not None and flow.suspect is None:
        carried = not flow.fresh and not _elsewhere(facts, flow)
        return Plan(state=S.OFF, steps=() if carried else (CarryCalls(generation=flow.generation),))
    if facts.gated:
        return Plan(state=S.OFF, wake_at=facts.gate_until)
    if flow is not None:
        return Plan(state=S.OFF, steps=(AbortFlow(generation=flow.generation, cause=flow.suspect or Cause.CLOSED),))
    return Plan(state=S.OFF, steps=(DialFlow(proxy=facts.proxy),))


def _drop_attempt(facts: AccountFacts) -> tuple[Step, ...]:
    steps: list[Step] = [CancelDial()] if facts.dialling else []
    if facts.candidate is not None:
        steps.append(CloseFlow(generation=facts.candidate.generation))
    return tuple(steps)


def _elsewhere(facts: AccountFacts, flow: FlowFacts) -> bool:
    return facts.calls_on is not None and facts.calls_on != flow.generation


def _refresh(facts: AccountFacts, flow: FlowFacts) -> tuple[Step, ...]:
    due = flow.answer_by is None and flow.refresh_at is not None and facts.now >= flow.refresh_at
    return (Register(generation=flow.generation),) if due else ()


def _refresh_time(flow: FlowFacts) -> float | None:
    return flow.answer_by if flow.answer_by is not None else flow.refresh_at


def _flows(facts: AccountFacts) -> Iterable[FlowFacts]:
    return [flow for flow in (facts.flow, facts.candidate) if flow is not None]


def _silence(flow: FlowFacts) -> Cause:
    """A server that was never heard to register us is mute; one that was has fallen silent."""
    return Cause.REGISTER_TIMEOUT if flow.registered else Cause.MUTE


def _repairing(facts: AccountFacts) -> AccountState:
    if facts.flow is None or not facts.flow.registered:
        return S.REGISTERING
    return S.SUSPECT if facts.flow.suspect is not None else S.ONLINE


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
