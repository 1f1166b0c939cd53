"""What is to be done about a call's media, from the facts alone. Pure: facts in, state and steps out.

RTP that was heard is the truth, ICE states are hints. Repair climbs in tiers: 1 restarts ICE and keeps the DTLS
association, 2 builds a new association, 3 is policy. Nothing starts without a usable flow: what must wait rides on the
re-INVITE of the signalling's own repair (recovery page, "Media plane"; RFC 8445 2.4, RFC 8842).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from phoned.model import MediaState

M = MediaState
Tier = Literal[0, 1, 2]

PROBE_AFTER_S = 0.15
"""Probing begins so long after the last expected packet, beside the stall timer."""
TIER_BUDGET_S: dict[Tier, float] = {1: 4.0, 2: 8.0}
STORM_WINDOW_S, STORM_LIMIT, STORM_SPACING_S = 60.0, 3, 10.0
REFRESH_AFTER_S = 3.0
"""The path answers, but no RTP comes: so long after the stall the dialog is refreshed once, without touching ICE."""
BUSY_RECHECK_S = 0.5


class Path(StrEnum):
    """What our own STUN probes say about the pair in use."""

    UNKNOWN = "unknown"
    CHECKING = "checking"
    ALIVE = "alive"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """All that counts of one answered call. Times are monotonic seconds."""

    now: float
    heard_at: float
    """The last RTP packet, or when media was first connected."""
    stall_s: float = 0.6
    """Silence that counts as a stall (from packet time, jitter and round trip)."""
    signalling: bool = True
    """There is a flow to say something on."""
    signalling_lost_at: float | None = None
    busy: bool = False
    """An offer of ours or the far end's is open."""
    failed: bool = False
    """ICE, DTLS or consent ended for good: nothing comes by itself."""
    moved: bool = False
    """The local address in use is gone, or another route leads to the far end, since our last offer."""
    expects: bool = True
    """By what was agreed the far end sends."""
    path: Path = Path.UNKNOWN
    tier: Tier = 0
    """The repair under way."""
    tier_at: float = 0.0
    first_tier: Literal[1, 2] = 1
    """What worked here before."""
    starts: tuple[float, ...] = ()
    """When repairs began, newest last."""
    refreshed: bool = False
    """The dialog was refreshed in this silence."""
    exhausted: bool = False
    """Every tier was tried in vain."""
    on_failed: Literal["keep", "hangup", "redial"] = "keep"
    rtp_timeout_s: float = 60.0
    rtp_timeout_held_s: float = 300.0
    retention_s: float = 300.0
    """How long media waits for signalling to come back."""

    @property
    def silence_s(self) -> float:
        """Since the last packet."""
        return self.now - self.heard_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Send STUN requests on the pair in use and report `Path.ALIVE` or `Path.DEAD`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinvite:
    """One re-INVITE: ``tier`` 0 refreshes only, 1 restarts ICE, 2 rebuilds the association."""

    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The repair worked: RTP was heard after it began."""

    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhaust:
    """The last tier had no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCall:
    """End the call; ``redial`` asks for a new one in its place."""

    reason: Literal["media_timeout", "signalling_timeout"]
    redial: bool = False


Step = Probe | Reinvite | Recovered | Exhaust | EndCall


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlan:
    """The state, what to do now, and when to ask again if nothing else happens first."""

    state: MediaState
    steps: tuple[Step, ...] = ()
    wake_at: float | None = None


def plan_media(facts: CallFacts) -> MediaPlan:
    """The whole decision. While there are steps, ``wake_at`` means nothing: facts change by carrying them out."""
    if facts.tier and facts.heard_at > facts.tier_at:
        return MediaPlan(state=M.FLOWING, steps=(Recovered(tier=facts.tier),))
    if facts.exhausted:
        return _exhausted(facts)
    if facts.tier:
        return _repairing(facts)
    stalled = facts.expects and facts.silence_s >= facts.stall_s
    if facts.moved or facts.failed or (stalled and facts.path is Path.DEAD):
        return _repair(facts)
    if not facts.expects:
        return _overdue(facts, facts.rtp_timeout_held_s) or MediaPlan(
            state=M.QUIET, wake_at=facts.heard_at + facts.rtp_timeout_held_s
        )
    return _silent(facts) if stalled else _flowing(facts)


def _flowing(facts: CallFacts) -> MediaPlan:
    if facts.silence_s < PROBE_AFTER_S:
        return MediaPlan(state=M.FLOWING, wake_at=facts.heard_at + PROBE_AFTER_S)
    if facts.path is Path.UNKNOWN:
        return MediaPlan(state=M.FLOWING, steps=(Probe(),))
    return MediaPlan(state=M.FLOWING, wake_at=facts.heard_at + facts.stall_s)


def _silent(facts: CallFacts) -> MediaPlan:
    """Stalled, and the path is not known to be dead."""
    if facts.path is Path.UNKNOWN:
        return MediaPlan(state=M.STALLED, steps=(Probe(),))
    if facts.path is Path.CHECKING:
        return MediaPlan(state=M.CHECKING)
    refresh_at = facts.heard_at + facts.stall_s + REFRESH_AFTER_S
    if not facts.refreshed:
        if facts.now < refresh_at:
            return MediaPlan(state=M.INBOUND_ONLY, wake_at=refresh_at)
        if facts.signalling and not facts.busy:
            return MediaPlan(state=M.INBOUND_ONLY, steps=(Reinvite(tier=0),))
    return _overdue(facts, facts.rtp_timeout_s) or MediaPlan(
        state=M.INBOUND_ONLY, wake_at=max(facts.heard_at + facts.rtp_timeout_s, facts.now + BUSY_RECHECK_S)
    )


def _overdue(facts: CallFacts, timeout_s: float) -> MediaPlan | None:
    """The end of patience with a far end that should speak. Never while signalling is down."""
    if not timeout_s or facts.silence_s < timeout_s:
        return None
    if not facts.signalling:
        return MediaPlan(state=M.WAIT_SIGNALLING, wake_at=facts.now + BUSY_RECHECK_S)
    return MediaPlan(state=M.FAILED, steps=(EndCall(reason="media_timeout"),))


def _repair(facts: CallFacts) -> MediaPlan:
    """A repair is due: when signalling can carry it, and not in a storm."""
    if not facts.signalling:
        return _wait_for_signalling(facts)
    if facts.busy:
        return MediaPlan(state=M.RESTARTING, wake_at=facts.now + BUSY_RECHECK_S)
    recent = [start for start in facts.starts if start > facts.now - STORM_WINDOW_S]
    if len(recent) >= STORM_LIMIT and facts.now < recent[-1] + STORM_SPACING_S:
        return MediaPlan(state=M.STALLED, wake_at=recent[-1] + STORM_SPACING_S)
    tier: Tier = 2 if facts.failed else facts.first_tier
    return MediaPlan(state=_STATE_OF[tier], steps=(Reinvite(tier=tier),))


def _repairing(facts: CallFacts) -> MediaPlan:
    if not facts.signalling:
        return _wait_for_signalling(facts)
    deadline = facts.tier_at + TIER_BUDGET_S[facts.tier]
    if facts.now < deadline:
        return MediaPlan(state=_STATE_OF[facts.tier], wake_at=deadline)
    if facts.busy:
        return MediaPlan(state=_STATE_OF[facts.tier], wake_at=facts.now + BUSY_RECHECK_S)
    if facts.tier == 1:
        return MediaPlan(state=M.REBUILDING, steps=(Reinvite(tier=2),))
    return MediaPlan(state=M.FAILED, steps=(Exhaust(),))


def _wait_for_signalling(facts: CallFacts) -> MediaPlan:
    lost_at = facts.now if facts.signalling_lost_at is None else facts.signalling_lost_at
    if facts.now >= lost_at + facts.retention_s:
        return MediaPlan(state=M.FAILED, steps=(EndCall(reason="signalling_timeout"),))
    return MediaPlan(state=M.WAIT_SIGNALLING, wake_at=lost_at + facts.retention_s)


def _exhausted(facts: CallFacts) -> MediaPlan:
    """Tier 3: what the account's policy says."""
    if facts.on_failed == "keep":
        if facts.moved and facts.signalling and not facts.busy:
            return _repair(facts)  # the world moved again: there is new hope
        return _overdue(facts, facts.rtp_timeout_s) or MediaPlan(
            state=M.FAILED, wake_at=max(facts.heard_at + facts.rtp_timeout_s, facts.now + BUSY_RECHECK_S)
        )
    return MediaPlan(state=M.FAILED, steps=(EndCall(reason="media_timeout", redial=facts.on_failed == "redial"),))


_STATE_OF: dict[Tier, MediaState] = {0: M.FLOWING, 1: M.RESTARTING, 2: M.REBUILDING}
