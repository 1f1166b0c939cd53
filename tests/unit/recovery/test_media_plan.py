"""The plan of a call's media: each rule of the recovery page by a fact table, and that it never wedges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phoned.model import MediaState
from phoned.recovery.media_plan import (
    Abandon,
    Alarm,
    CallFacts,
    EndCall,
    Exhaust,
    MediaPlan,
    Path,
    Probe,
    Recovered,
    Reinvite,
    plan_media,
)

M = MediaState
NOW = 1000.0


def of(silence_s: float = 0.02, **facts: Any) -> MediaPlan:
    return plan_media(CallFacts(**{"now": NOW, "heard_at": NOW - silence_s, **facts}))


def test_flowing_media_needs_nothing_but_a_look_soon() -> None:
    assert of() == MediaPlan(state=M.FLOWING, wake_at=NOW - 0.02 + 0.15)


def test_probing_begins_beside_the_stall_timer() -> None:
    assert of(0.2) == MediaPlan(state=M.FLOWING, steps=(Probe(),))
    assert of(0.2, path=Path.CHECKING) == MediaPlan(state=M.FLOWING, wake_at=NOW - 0.2 + 0.6)
    assert of(0.2, path=Path.DEAD).state is M.FLOWING


def test_stalled_and_unanswered_is_dead_and_restarts_ice() -> None:
    assert of(0.7, path=Path.DEAD) == MediaPlan(state=M.RESTARTING, steps=(Reinvite(tier=1, pause=True),))
    assert of(0.7).steps == (Probe(),)
    assert of(0.7, path=Path.CHECKING) == MediaPlan(state=M.CHECKING)


def test_a_moved_network_restarts_ice_at_once_without_a_stall() -> None:
    assert of(moved=True) == MediaPlan(state=M.RESTARTING, steps=(Reinvite(tier=1),))
    assert of(moved=True, first_tier=2).steps == (Reinvite(tier=2),)


def test_a_dead_association_is_rebuilt_directly() -> None:
    assert of(failed=True) == MediaPlan(state=M.REBUILDING, steps=(Reinvite(tier=2, pause=True),))


def test_tier_one_has_four_seconds_tier_two_eight() -> None:
    begun = {"path": Path.DEAD, "tier": 1, "tier_at": NOW - 3}
    assert of(5, **begun) == MediaPlan(state=M.RESTARTING, wake_at=NOW + 1)
    assert of(5, **{**begun, "tier_at": NOW - 4}) == MediaPlan(
        state=M.REBUILDING, steps=(Reinvite(tier=2, pause=True),)
    )
    assert of(9, tier=2, tier_at=NOW - 7) == MediaPlan(state=M.REBUILDING, wake_at=NOW + 1)
    assert of(13, tier=2, tier_at=NOW - 8) == MediaPlan(state=M.FAILED, steps=(Exhaust(),))
    assert of(5, **{**begun, "tier_at": NOW - 4}, busy=True).wake_at == NOW + 0.5


def test_a_packet_heard_on_what_the_repair_made_ends_it() -> None:
    assert of(0.01, tier=1, tier_at=NOW - 1, landed=True).steps == (Recovered(tier=1),)
    assert of(0.01, tier=0, exhausted=True, landed=True) == MediaPlan(state=M.FLOWING, steps=(Recovered(tier=0),))
    assert of(0.01, tier=2, landed=True, expects=False).state is M.QUIET
    # the old pair still talks: that is no proof of the new one
    assert of(0.01, tier=1, tier_at=NOW - 1).steps == ()


def test_a_repair_that_came_to_nothing_is_abandoned_where_the_old_path_carries_the_call() -> None:
    assert of(0.01, tier=1, tier_at=NOW - 1, came_to_nothing=True).steps == (Abandon(),)
    assert of(0.01, tier=2, tier_at=NOW - 8).steps == (Abandon(),)
    assert of(2, tier=1, tier_at=NOW - 1, came_to_nothing=True).steps == (Reinvite(tier=2),)
    assert of(2, tier=2, tier_at=NOW - 1, came_to_nothing=True).steps == (Exhaust(),)
    assert of(0.01, tier=2, tier_at=NOW, came_to_nothing=True, failed=True).steps == (Exhaust(),)


def test_a_new_pair_without_a_packet_is_offered_again_with_sending_paused() -> None:
    moved = {"tier": 1, "tier_at": NOW - 0.5, "switched_at": NOW - 0.1}
    assert of(0.1, **moved) == MediaPlan(state=M.RESTARTING, wake_at=NOW - 0.1 + 0.3)
    late = {**moved, "switched_at": NOW - 0.31}
    assert of(0.3, **late).steps == (Reinvite(tier=1, pause=True),)
    assert of(0.3, **late, switch_wait_s=1.0).steps == ()
    assert of(0.3, **late, paused=True).steps == ()
    assert of(0.3, **late, expects=False).steps == ()
    assert of(0.3, **late, busy=True).steps == ()


def test_a_world_that_moves_again_is_planned_anew() -> None:
    assert of(0.3, tier=1, tier_at=NOW - 0.2, moved=True).steps == (Reinvite(tier=1),)
    assert of(0.3, tier=1, tier_at=NOW - 0.2, moved=True, busy=True).steps == ()


def test_nothing_starts_without_signalling_and_retention_ends_the_wait() -> None:
    waits = {"moved": True, "signalling": False, "signalling_lost_at": NOW - 10}
    assert of(**waits) == MediaPlan(state=M.WAIT_SIGNALLING, wake_at=NOW + 290)
    assert of(tier=1, tier_at=NOW, signalling=False) == MediaPlan(state=M.WAIT_SIGNALLING, wake_at=NOW + 300)
    gone = of(**{**waits, "signalling_lost_at": NOW - 300})
    assert gone.steps == (EndCall(reason="signalling_timeout"),)


def test_an_open_offer_is_waited_for() -> None:
    assert of(moved=True, busy=True) == MediaPlan(state=M.RESTARTING, wake_at=NOW + 0.5)


def test_a_storm_of_repairs_is_spaced() -> None:
    starts = (NOW - 50, NOW - 30, NOW - 4)
    assert of(moved=True, starts=starts) == MediaPlan(state=M.STALLED, wake_at=NOW + 6)
    assert of(moved=True, starts=(NOW - 50, NOW - 30, NOW - 10)).steps == (Reinvite(tier=1),)
    assert of(moved=True, starts=(NOW - 61, NOW - 30, NOW - 4)).steps == (Reinvite(tier=1),)


def test_in_a_storm_a_world_that_moves_again_does_not_hold_up_the_repair_under_way() -> None:
    storm = {"moved": True, "starts": (NOW - 50, NOW - 30, NOW - 3)}
    assert of(1, tier=1, tier_at=NOW - 1, **storm) == MediaPlan(state=M.RESTARTING, wake_at=NOW + 3)
    assert of(1, tier=2, tier_at=NOW, **storm) == MediaPlan(state=M.REBUILDING, wake_at=NOW + 7)
    assert of(4, tier=1, tier_at=NOW - 4, **storm).steps == (Reinvite(tier=2),)
    assert of(9, tier=2, tier_at=NOW - 8, **storm) == MediaPlan(state=M.STALLED, wake_at=NOW + 7)


def test_a_path_that_answers_without_audio_is_refreshed_once_and_hung_up_after_a_minute() -> None:
    quiet = {"path": Path.ALIVE, "alarmed": True}
    assert of(1, **quiet) == MediaPlan(state=M.INBOUND_ONLY, wake_at=NOW - 1 + 3.6)
    assert of(4, **quiet).steps == (Reinvite(tier=0),)
    assert of(4, **quiet, busy=True).steps == ()
    assert of(4, **{**quiet, "alarmed": False}).steps == (Alarm(),)
    assert of(3.8, path=Path.ALIVE, refreshed=True).wake_at == pytest.approx(NOW + 0.2)
    assert of(4, **quiet, refreshed=True) == MediaPlan(state=M.INBOUND_ONLY, wake_at=NOW - 4 + 60)
    assert of(61, **quiet, refreshed=True).steps == (EndCall(reason="media_timeout"),)
    assert of(61, **quiet, refreshed=True, rtp_timeout_s=0).steps == ()
    down = of(61, **quiet, refreshed=True, signalling=False)
    assert down == MediaPlan(state=M.WAIT_SIGNALLING, wake_at=NOW + 300)


def test_a_quiet_path_in_trouble_is_probed_and_restarted_after_a_grace() -> None:
    held = {"expects": False, "trouble_at": NOW - 1}
    assert of(1, **held).steps == (Probe(),)
    assert of(1, **held, path=Path.CHECKING).state is M.CHECKING
    assert of(1, **held, path=Path.ALIVE).state is M.QUIET
    assert of(1, **held, path=Path.DEAD) == MediaPlan(state=M.CHECKING, wake_at=NOW + 1)
    assert of(1, **{**held, "trouble_at": NOW - 2}, path=Path.DEAD).steps == (Reinvite(tier=1),)
    assert of(1, **held, path=Path.DEAD, grace_s=0.5).steps == (Reinvite(tier=1),)


def test_who_is_heard_and_does_not_hear_is_looked_into_before_consent_expires() -> None:
    assert of(0, unanswered_at=NOW - 2.9).wake_at == pytest.approx(NOW + 0.1)
    asked = {"unanswered_at": NOW - 3}
    assert of(0, **asked).steps == (Probe(),)
    assert of(0, **asked, outbound=Path.CHECKING).steps == ()
    assert of(0, **asked, outbound=Path.ALIVE).steps == ()
    assert of(0, **asked, outbound=Path.DEAD) == MediaPlan(state=M.RESTARTING, steps=(Reinvite(tier=1),))
    assert of(0, **asked, outbound=Path.DEAD, signalling=False).state is M.WAIT_SIGNALLING
    assert of(0, unanswered_at=NOW - 1, outbound=Path.DEAD).steps == (), "that was another time"


def test_slow_streams_are_probed_later() -> None:
    assert of(0.5, stall_s=2.5).wake_at == NOW - 0.5 + 0.625
    assert of(0.7, stall_s=2.5).steps == (Probe(),)


def test_a_held_call_is_quiet_for_five_minutes() -> None:
    assert of(100, expects=False) == MediaPlan(state=M.QUIET, wake_at=NOW + 200)
    assert of(100, expects=False, rtp_timeout_held_s=0) == MediaPlan(state=M.QUIET)
    assert of(300, expects=False).steps == (EndCall(reason="media_timeout"),)


@pytest.mark.parametrize(("policy", "redial"), [("hangup", False), ("redial", True)])
def test_tier_three_is_policy(policy: str, redial: bool) -> None:
    ended = of(20, exhausted=True, on_failed=policy)
    assert ended.steps == (EndCall(reason="media_timeout", redial=redial),)


def test_a_kept_call_waits_for_the_world_to_move() -> None:
    assert of(20, exhausted=True) == MediaPlan(state=M.FAILED, wake_at=NOW + 40)
    assert of(20, exhausted=True, moved=True).steps == (Reinvite(tier=1),)
    assert of(61, exhausted=True).steps == (EndCall(reason="media_timeout"),)
    assert of(61, exhausted=True, rtp_timeout_s=0).steps == ()


def test_a_held_call_is_kept_for_five_minutes_when_all_was_tried_in_vain() -> None:
    held = {"exhausted": True, "expects": False}
    assert of(61, **held) == MediaPlan(state=M.FAILED, wake_at=NOW + 239)
    assert of(300, **held).steps == (EndCall(reason="media_timeout"),)
    assert of(301, **held, rtp_timeout_held_s=0) == MediaPlan(state=M.FAILED, wake_at=NOW + 0.5)
    assert of(301, **held, signalling=False).state is M.WAIT_SIGNALLING


facts = st.builds(
    CallFacts,
    now=st.just(NOW),
    heard_at=st.floats(NOW - 400, NOW),
    stall_s=st.floats(0.3, 5),
    signalling=st.booleans(),
    signalling_lost_at=st.one_of(st.none(), st.floats(NOW - 400, NOW)),
    busy=st.booleans(),
    failed=st.booleans(),
    moved=st.booleans(),
    expects=st.booleans(),
    path=st.sampled_from(list(Path)),
    tier=st.sampled_from([0, 1, 2]),
    tier_at=st.floats(NOW - 20, NOW),
    first_tier=st.sampled_from([1, 2]),
    starts=st.lists(st.floats(NOW - 100, NOW), max_size=4).map(lambda starts: tuple(sorted(starts))),
    refreshed=st.booleans(),
    alarmed=st.booleans(),
    landed=st.booleans(),
    paused=st.booleans(),
    came_to_nothing=st.booleans(),
    switched_at=st.one_of(st.none(), st.floats(NOW - 10, NOW)),
    trouble_at=st.one_of(st.none(), st.floats(NOW - 10, NOW)),
    unanswered_at=st.one_of(st.none(), st.floats(NOW - 10, NOW)),
    outbound=st.sampled_from(list(Path)),
    exhausted=st.booleans(),
    on_failed=st.sampled_from(["keep", "hangup", "redial"]),
)


@settings(max_examples=400, deadline=None)
@given(facts)
def test_nothing_ever_wedges(known: CallFacts) -> None:
    """Every plan acts, or names a time to come, or waits for probes, which have a deadline of their own."""
    made = plan_media(known)
    comes = made.wake_at is not None and made.wake_at > known.now
    assert made.steps or comes or known.path is Path.CHECKING
    assert known.signalling or not any(isinstance(step, Reinvite) for step in made.steps)
    assert not known.busy or not any(isinstance(step, Reinvite) for step in made.steps)
