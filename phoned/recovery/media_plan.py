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
"""Probing begins so long after the last expected packet, beside the stall timer; a quarter of a longer one."""
TIER_BUDGET_S: dict[Tier, float] = {1: 4.0, 2: 8.0}
STORM_WINDOW_S, STORM_LIMIT, STORM_SPACING_S = 60.0, 3, 10.0
REFRESH_AFTER_S = 3.0
"""The path answers, but no RTP comes: so long after the stall the dialog is refreshed once, without touching ICE."""
UNHEARD_AFTER_S = 3.0
"""We hear the far end, but consent checks go unanswered for so long: it is looked into whether it hears us. Waiting for
consent to expire (RFC 7675, 30 s) is waiting for the far end to hang up."""
ALARM_AFTER_S = 4.0
"""A far end that is there and says nothing for so long is told to people."""
SWITCH_WAIT_S = 0.3
"""A new pair without a packet for so long: the far end sends to the old one (ICE restart rule 2)."""
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
    """The last RTP packet (while none is expected: the last sign of life), or when media was first connected."""
    stall_s: float = 0.6
    """Silence that counts as a stall (from packet time, jitter and round trip)."""
    signalling: bool = True
    """There is a flow to say something on, and it is not doubted."""
    signalling_lost_at: float | None = None
    busy: bool = False
    """An offer of ours for the media is open."""
    failed: bool = False
    """ICE, DTLS or consent ended for good: nothing comes by itself."""
    moved: bool = False
    """The local address in use is gone, or another route leads to the far end, since our last offer."""
    expects: bool = True
    """By what was agreed the far end sends."""
    path: Path = Path.UNKNOWN
    trouble_at: float | None = None
    """Since when consent checks go unanswered, or the kernel refuses packets, and nothing was heard."""
    unanswered_at: float | None = None
    """Since when consent checks go unanswered, whatever is heard."""
    outbound: Path = Path.UNKNOWN
    """What our own probes have said since then."""
    grace_s: float = 2.0
    """How long such trouble is borne while no RTP is expected that would tell more."""
    tier: Tier = 0
    """The repair under way."""
    tier_at: float = 0.0
    """When its tier began; to offer the same again gives it no more time."""
    landed: bool = False
    """The far end was heard on what the repair made, or since all was given up."""
    switched_at: float | None = None
    """When media moved to the pair that the repair made."""
    switch_wait_s: float = SWITCH_WAIT_S
    paused: bool = False
    """The repair's offer paused our sending."""
    came_to_nothing: bool = False
    """The repair's offer was refused, or what it agreed on failed."""
    first_tier: Literal[1, 2] = 1
    """What worked here before."""
    starts: tuple[float, ...] = ()
    """When repairs began, newest last."""
    refreshed: bool = False
    """The dialog was refreshed in this silence."""
    alarmed: bool = False
    """This silence was told."""
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

    @property
    def stalled(self) -> bool:
        """What should be heard is not."""
        return self.expects and self.silence_s >= self.stall_s

    @property
    def dead(self) -> bool:
        """What was in use will not carry a packet any more."""
        return self.failed or (self.stalled and self.path is Path.DEAD)

    @property
    def unanswered(self) -> bool:
        """Too long for a few lost packets."""
        return self.unanswered_at is not None and self.now >= self.unanswered_at + UNHEARD_AFTER_S

    @property
    def unheard(self) -> bool:
        """Nothing that we send gets there, while what is sent to us does."""
        return self.unanswered and self.outbound is Path.DEAD

    @property
    def probe_after_s(self) -> float:
        """The silence after which probing begins."""
        return max(PROBE_AFTER_S, self.stall_s / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Send STUN requests on the pair in use and report `Path.ALIVE` or `Path.DEAD`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinvite:
    """One re-INVITE: ``tier`` 0 refreshes only, 1 restarts ICE, 2 rebuilds the association. ``pause``: send nothing
    until the new pair is there."""

    tier: Tier
    pause: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The repair worked: RTP was heard on what it made."""

    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """The repair came to nothing, and what was there before carries the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Tell people that the far end is there and is not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhaust:
    """The last tier had no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCall:
    """End the call; ``redial`` asks for a new one in its place."""

    reason: Literal["media_timeout", "signalling_timeout"]
    redial: bool = False


Step = Probe | Reinvite | Recovered | Abandon | Alarm | Exhaust | EndCall


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlan:
    """The state, what to do now, and when to ask again if nothing else happens first."""

    state: MediaState
    steps: tuple[Step, ...] = ()
    wake_at: float | None = None


def plan_media(facts: CallFacts) -> MediaPlan:
    """The whole decision. While there are steps, ``wake_at`` means nothing: facts change by carrying them out."""
    if facts.landed and (facts.tier or facts.exhausted):
        return MediaPlan(state=_at_rest(facts), steps=(Recovered(tier=facts.tier),))
    if facts.exhausted:
        return _exhausted(facts)
    if facts.tier:
        return _repairing(facts)
    if facts.moved or facts.dead or facts.unheard:
        return _repair(facts)
    if not facts.expects:
        return _quiet(facts)
    return _silent(facts) if facts.stalled else _flowing(facts)


def _at_rest(facts: CallFacts) -> MediaState:
    return M.FLOWING if facts.expects else M.QUIET


def _flowing(facts: CallFacts) -> MediaPlan:
    if facts.unanswered and facts.outbound is Path.UNKNOWN:
        return MediaPlan(state=M.FLOWING, steps=(Probe(),))
    if facts.silence_s < facts.probe_after_s:
        wake_at = facts.heard_at + facts.probe_after_s
        if facts.unanswered_at is not None and not facts.unanswered:
            wake_at = min(wake_at, facts.unanswered_at + UNHEARD_AFTER_S)
        return MediaPlan(state=M.FLOWING, wake_at=wake_at)
    if facts.path is Path.UNKNOWN:
        return MediaPlan(state=M.FLOWING, steps=(Probe(),))
    return MediaPlan(state=M.FLOWING, wake_at=facts.heard_at + facts.stall_s)


def _quiet(facts: CallFacts) -> MediaPlan:
    """No RTP is expected: checks of the path are all there is to go by."""
    overdue = _overdue(facts, facts.rtp_timeout_held_s)
    if overdue is not None:
        return overdue
    wake_at = facts.heard_at + facts.rtp_timeout_held_s if facts.rtp_timeout_held_s else None
    if facts.trouble_at is None or facts.path is Path.ALIVE:
        return MediaPlan(state=M.QUIET, wake_at=wake_at)
    if facts.path is Path.UNKNOWN:
        return MediaPlan(state=M.QUIET, steps=(Probe(),))
    if facts.path is Path.CHECKING:
        return MediaPlan(state=M.CHECKING, wake_at=wake_at)
    over_at = facts.trouble_at + facts.grace_s
    return _repair(facts) if facts.now >= over_at else MediaPlan(state=M.CHECKING, wake_at=over_at)


def _silent(facts: CallFacts) -> MediaPlan:
    """Stalled, and the path is not known to be dead."""
    if facts.path is Path.UNKNOWN:
        return MediaPlan(state=M.STALLED, steps=(Probe(),))
    if facts.path is Path.CHECKING:
        return MediaPlan(state=M.CHECKING)
    refresh_at, alarm_at = facts.heard_at + facts.stall_s + REFRESH_AFTER_S, facts.heard_at + ALARM_AFTER_S
    if not facts.alarmed and facts.now >= alarm_at:
        return MediaPlan(state=M.INBOUND_ONLY, steps=(Alarm(),))
    if not facts.refreshed and facts.now >= refresh_at and facts.signalling and not facts.busy:
        return MediaPlan(state=M.INBOUND_ONLY, steps=(Reinvite(tier=0),))
    overdue = _overdue(facts, facts.rtp_timeout_s)
    if overdue is not None:
        return overdue
    times = [alarm_at] if not facts.alarmed else []
    times += [max(refresh_at, facts.now + BUSY_RECHECK_S)] if not facts.refreshed else []
    times += [facts.heard_at + facts.rtp_timeout_s] if facts.rtp_timeout_s else []
    return MediaPlan(state=M.INBOUND_ONLY, wake_at=min(times, default=None))


def _overdue(facts: CallFacts, timeout_s: float) -> MediaPlan | None:
    """The end of patience with a far end that should speak. Never while signalling is down."""
    if not timeout_s or facts.silence_s < timeout_s:
        return None
    if not facts.signalling:
        return _wait_for_signalling(facts)
    return MediaPlan(state=M.FAILED, steps=(EndCall(reason="media_timeout"),))


def _repair(facts: CallFacts) -> MediaPlan:
    """A repair is due: when signalling can carry it, and not in a storm."""
    if not facts.signalling:
        return _wait_for_signalling(facts)
    if facts.busy:
        return MediaPlan(state=M.RESTARTING, wake_at=facts.now + BUSY_RECHECK_S)
    free_at = _free_at(facts)
    if free_at > facts.now:
        return MediaPlan(state=M.STALLED, wake_at=free_at)
    tier: Tier = 2 if facts.failed else facts.first_tier
    return MediaPlan(state=_STATE_OF[tier], steps=(Reinvite(tier=tier, pause=facts.dead),))


def _free_at(facts: CallFacts) -> float:
    """When another repair may begin: at once, unless there is a storm of them."""
    recent = [start for start in facts.starts if start > facts.now - STORM_WINDOW_S]
    return recent[-1] + STORM_SPACING_S if len(recent) >= STORM_LIMIT else facts.now


def _repairing(facts: CallFacts) -> MediaPlan:
    if not facts.signalling:
        return _wait_for_signalling(facts)
    state = _STATE_OF[facts.tier]
    deadline = facts.tier_at + TIER_BUDGET_S[facts.tier]
    if facts.busy:
        return MediaPlan(state=state, wake_at=max(deadline, facts.now + BUSY_RECHECK_S))
    look_at = deadline
    if facts.moved:  # the world moved again: what is under way leads nowhere, but in a storm it is all there is
        free_at = _free_at(facts)
        if free_at <= facts.now:
            return _repair(facts)
        look_at = min(deadline, free_at)
    if not facts.came_to_nothing and facts.now < deadline:
        return _on_new_pair(facts, look_at)
    if not facts.failed and not facts.stalled:
        return MediaPlan(state=_at_rest(facts), steps=(Abandon(),))
    if facts.tier == 1:
        return MediaPlan(state=M.REBUILDING, steps=(Reinvite(tier=2, pause=facts.dead),))
    return _repair(facts) if facts.moved else MediaPlan(state=M.FAILED, steps=(Exhaust(),))


def _on_new_pair(facts: CallFacts, look_at: float) -> MediaPlan:
    """Media moved to the new pair and should be heard there; who sends to the old one is told again, in silence."""
    state = _STATE_OF[facts.tier]
    if facts.switched_at is None or facts.paused or not facts.expects:
        return MediaPlan(state=state, wake_at=look_at)
    again_at = facts.switched_at + facts.switch_wait_s
    if facts.now < again_at:
        return MediaPlan(state=state, wake_at=min(again_at, look_at))
    return MediaPlan(state=state, steps=(Reinvite(tier=facts.tier, pause=True),))


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
        timeout_s = facts.rtp_timeout_s if facts.expects else facts.rtp_timeout_held_s
        wake_at = max(facts.heard_at + timeout_s, facts.now + BUSY_RECHECK_S)
        return _overdue(facts, timeout_s) or MediaPlan(state=M.FAILED, wake_at=wake_at)
    return MediaPlan(state=M.FAILED, steps=(EndCall(reason="media_timeout", redial=facts.on_failed == "redial"),))


_STATE_OF: dict[Tier, MediaState] = {0: M.FLOWING, 1: M.RESTARTING, 2: M.REBUILDING}
