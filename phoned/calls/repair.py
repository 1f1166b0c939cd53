"""The hands of a call's media recovery: gathers facts, asks `phoned.recovery.media_plan`, carries its steps out.

`MediaRepair` watches one answered call. It is driven by the shared `Rounds`, by the media session's events, by the
outcome of re-INVITEs, by new flows and by moves of the network; whatever it hears, it asks for a plan. It must not know
how descriptions are made nor how requests find their way (recovery page, "Media plane"; ICE restart rules 1-10).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from phoned.calls.outage import Outage
from phoned.calls.outbound import OutboundWatch
from phoned.calls.ports import CallMedia
from phoned.calls.repair_context import Owner, RepairContext
from phoned.errors import PhonedError
from phoned.media import events as media
from phoned.media.pulse import Pulse
from phoned.model import Cause, MediaState
from phoned.recovery import media_plan as planning
from phoned.recovery.media_plan import SWITCH_WAIT_S, CallFacts, Path, Tier, plan_media
from phoned.sip.events import Modified, ModifyCause, ModifyPutOff, ModifyRefused
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""At least so often a call is looked at: its flow may go, and what leaves is sampled."""
LEAST_S = 0.001
"""Sums of floats may name a time that has just passed."""
MAX_STEPS = 8
"""Plans in a row without anything coming from outside; more is a bug, and is logged."""
CONSENT_SHOWS_S = 5.0
"""By then a dead path has missed consent checks: three of them, 1.5 s apart, each answered within half a second."""
_OWN_STATES = frozenset({MediaState.FLOWING, MediaState.QUIET, MediaState.STALLED})
"""The media session itself reports these."""


class MediaRepair:
    """See the module's docstring. `begin` with the answer, `end` with the call."""

    def __init__(
        self,
        call: Owner,
        session: CallMedia,
        tasks: Tasks,
        outage: Outage,
        context: RepairContext,
    ) -> None:
        self.state: MediaState | None = None
        """What the plan says; None while media connects for the first time."""
        self._call = call
        self._media = session
        self._tasks = tasks
        self._outage = outage
        self._line = context.line
        self._rounds = context.rounds
        self._tiers = context.tiers
        self._policy = context.policy
        self._outbound = OutboundWatch(call, session, on_given_up=self._sending_given_up)
        self._watching = self._resumed = False
        self._planning = False
        self._ready_at: float | None = None
        self._alive_at = 0.0
        self._packet_at: float | None = None
        self._path = Path.UNKNOWN
        self._trouble_at: float | None = None
        self._unanswered_at: float | None = None
        self._outbound_path = Path.UNKNOWN
        self._stall_told = self._refreshed = self._alarmed = False
        self._busy = self._failed = self._moved = self._gone = self._exhausted = False
        self._signalling_lost_at: float | None = None
        self._flow_ready = False
        self._starts: deque[float] = deque(maxlen=planning.STORM_LIMIT + 1)
        self._tier: Tier = 0
        self._tier_at = 0.0
        self._before = Pulse()
        """When the repair under way began."""
        self._switched_at: float | None = None
        self._paused = self._came_to_nothing = self._agreed = self._first_tier_agreed = False
        self._gap_ms = 0

    # --- life

    def begin(self, *, resumed: bool = False) -> None:
        """The call was answered; ``resumed``: in an earlier process, which may well have had media."""
        self._watching, self._resumed = True, resumed
        self.reconsider()

    def end(self) -> None:
        """The call is over."""
        self._watching = False
        self._rounds.leave(self)

    # --- what happens

    def on_network_moved(self, *, gone: bool) -> None:
        """Another way leads to the far end, or (``gone``) the address in use left this machine."""
        self._moved = True
        self._gone |= gone
        self.reconsider()

    def on_flow_ready(self) -> None:
        """A new flow carries the account: the one re-INVITE that every dialog needs takes the repair along."""
        now, policy = self._now(), self._policy
        self._flow_ready = True
        self._signalling_lost_at = None
        self._outage.lost("signalling", self._line.cause)
        pulse = self._media.pulse()
        facts = self._facts(pulse, now)
        needed = facts is not None and bool(self._tier or self._exhausted or self._moved or facts.dead)
        forced = policy.force == "always" or (policy.force == "auto" and self._media.rerouted())
        tier: Tier = 0
        if facts is not None and (needed or forced):
            tier = 2 if self._failed or self._tier == 2 else self._tiers.first(self._line.proxy)
        self._say(tier, pause=facts is not None and (facts.dead or self._gone), cause=ModifyCause.RECOVERY)
        self.reconsider()

    def on_outcome(self, event: Modified | ModifyRefused) -> None:
        """What became of a re-INVITE of ours."""
        if not {ModifyCause.MEDIA, ModifyCause.RECOVERY} & set(event.causes):
            return
        self._busy = False
        if isinstance(event, Modified):
            self._agreed = True
            self._first_tier_agreed |= self._tier == 1
        elif self._tier:
            self._came_to_nothing = True
        if ModifyCause.RECOVERY in event.causes and (isinstance(event, Modified) or event.status):
            self._outage.back("signalling")  # whatever the answer was, the far end has the dialog
        self._outbound.on_outcome(event)
        self.reconsider()

    def on_put_off(self, event: ModifyPutOff) -> None:
        """A re-INVITE of ours shall be said again, but not yet: this time is not taken from its tier."""
        log.info("%s: the re-INVITE was refused (%d); again in %g s", self._call.id, event.status, event.after_s)
        if self._tier and self._busy:
            self._tier_at += event.after_s

    def on_media_event(self, event: media.MediaEvent) -> None:
        """A fact about the media."""
        now = self._now()
        match event:
            case media.PathTrouble(kind="consent", misses=0):
                self._trouble_at = None
                self._answered()
            case media.PathTrouble():
                if event.kind == "consent" and self._unanswered_at is None:
                    self._unanswered_at, self._outbound_path = now, Path.UNKNOWN
                self._trouble_at = self._trouble_at or now
                if self._path is Path.ALIVE:
                    self._path = Path.UNKNOWN
            case media.PathChanged() if self._tier and event.ice_generation > self._before.ice_generation:
                self._switched_at = self._switched_at or now
            case media.Flowing(gap_ms=int(gap_ms)):
                self._gap_ms = max(self._gap_ms, gap_ms)
            case media.MediaFailed(cause=media.MediaFailure.CODEC):
                self._outbound.encoder_failed()
            case media.MediaFailed():
                self._failed = True
                self._came_to_nothing |= self._tier != 0 and not self._busy
            case media.RestartFailed():
                self._came_to_nothing |= self._tier != 0 and not self._busy
            case media.CodecChanged():
                self._outbound.on_codec(event.codec)
            case media.MediaStateChanged() | media.Flowing():
                pass
            case _:
                return
        self.reconsider()

    # --- facts

    def _facts(self, pulse: Pulse, now: float) -> CallFacts | None:
        """None while media connects for the first time: the session has its own deadlines for that."""
        if self._ready_at is None and pulse.ready:
            self._ready_at = now
        self._watch_line(now)
        if self._ready_at is None and not self._failed:
            return None
        self._note_packet(pulse)
        if pulse.consented:
            self._alive_at = now
        heard_at = max(pulse.heard_at or 0.0, pulse.expected_since, self._ready_at or self._tier_at)
        if not pulse.expects:
            heard_at = max(heard_at, self._alive_at)
        policy = self._policy
        return CallFacts(
            now=now,
            heard_at=min(heard_at, now),
            stall_s=policy.inbound_stall_s or pulse.stall_s,
            signalling=self._signalling_lost_at is None,
            signalling_lost_at=self._signalling_lost_at,
            busy=self._busy,
            failed=self._failed,
            moved=self._moved,
            expects=pulse.expects,
            path=Path.DEAD if self._gone else self._path,
            trouble_at=self._trouble_at,
            unanswered_at=self._unanswered_at,
            outbound=self._outbound_path,
            grace_s=policy.grace_s,
            tier=self._tier,
            tier_at=self._tier_at,
            landed=self._landed(pulse),
            switched_at=self._switched_at,
            switch_wait_s=max(SWITCH_WAIT_S, 2 * (pulse.rtt_s or 0.0)),
            paused=self._paused,
            came_to_nothing=self._came_to_nothing,
            first_tier=self._tiers.first(self._line.proxy),
            starts=tuple(self._starts),
            refreshed=self._refreshed,
            alarmed=self._alarmed,
            exhausted=self._exhausted,
            on_failed=policy.on_failed,
            rtp_timeout_s=policy.rtp_timeout_s,
            rtp_timeout_held_s=policy.rtp_timeout_held_s,
            retention_s=policy.retention_s,
        )

    def _watch_line(self, now: float) -> None:
        line = self._line
        if line.lost:
            self._outage.lost("signalling", line.cause)
        # a new flow that is being registered counts; once it is, a doubt of it counts as any other
        self._flow_ready = self._flow_ready and line.attached and not line.usable
        if line.usable or self._flow_ready:
            self._signalling_lost_at = None
        elif self._signalling_lost_at is None:
            self._signalling_lost_at = now

    def _note_packet(self, pulse: Pulse) -> None:
        if pulse.heard_at == self._packet_at:
            return
        self._packet_at = pulse.heard_at
        self._path, self._trouble_at = Path.UNKNOWN, None
        self._stall_told = self._refreshed = self._alarmed = False

    def _landed(self, pulse: Pulse) -> bool:
        """The far end was heard on what the repair made; where nothing is to be heard, the path and its keys are there.
        Packets that still come on the old pair prove nothing."""
        if not (self._tier or self._exhausted) or not pulse.ready:
            return False
        before = self._before
        if self._exhausted and not pulse.expects:
            return pulse.consented and self._now() >= self._tier_at + CONSENT_SHOWS_S
        if self._exhausted:
            return pulse.heard_at is not None and pulse.heard_at > self._tier_at
        if pulse.ice_generation <= before.ice_generation:
            return False
        if pulse.expects:
            since = self._tier_at if self._switched_at is None else self._switched_at
            return pulse.heard_here and pulse.heard_at is not None and pulse.heard_at >= since
        return self._tier == 1 or pulse.dtls_generation > before.dtls_generation

    # --- the plan

    def reconsider(self) -> None:
        """Ask for a plan and carry it out until nothing is left to do."""
        if self._planning or not self._watching or self._call.ended:
            return
        self._planning = True
        try:
            self._plan()
        finally:
            self._planning = False

    def _plan(self) -> None:
        for _ in range(MAX_STEPS):
            now, pulse = self._now(), self._media.pulse()
            facts = self._facts(pulse, now)
            if facts is None:
                self._rounds.at(self, now + LOOK_S)
                return
            self._tell_stall(facts)
            if self._outbound.stalled(pulse, now, expected=not (self._tier or self._failed or facts.dead)):
                self._moved = True  # the socket takes nothing: others are tried
                continue
            made = plan_media(facts)
            before, self.state = self.state, made.state
            for step in made.steps:
                self._carry_out(step, facts, pulse)
                if not self._watching or self._call.ended:
                    return
            if before is not made.state and made.state not in _OWN_STATES:
                log.info("%s: media %s -> %s", self._call.id, before, made.state)
                self._call.publish("call.updated")
            if not made.steps:
                self._rounds.at(self, min(now + LOOK_S, max(now + LEAST_S, made.wake_at or now + LOOK_S)))
                return
        log.error("%s: the plan of its media does not settle", self._call.id)
        self._rounds.at(self, self._now() + 1)

    def _tell_stall(self, facts: CallFacts) -> None:
        if facts.stalled and not self._stall_told and self._packet_at is not None:
            self._stall_told = True
            self._call.publish("call.media_stalled", direction="inbound")

    def _carry_out(self, step: planning.Step, facts: CallFacts, pulse: Pulse) -> None:
        match step:
            case planning.Probe():
                self._path = self._outbound_path = Path.CHECKING
                self._tasks.spawn("probe", self._probe())
            case planning.Reinvite(tier=0):
                self._refreshed = True
                self._say(0, pause=False, cause=ModifyCause.MEDIA)
            case planning.Reinvite():
                self._say(step.tier, pause=step.pause or self._gone, cause=ModifyCause.MEDIA)
            case planning.Recovered():
                self._recovered(pulse)
            case planning.Abandon():
                self._rest()
                self._outage.back("media", gap_ms=self._gap_ms)
            case planning.Alarm():
                self._alarmed = True
                if self._packet_at is not None:  # else the call itself has told it, after the answer
                    self._call.publish("call.no_inbound_audio")
            case planning.Exhaust():
                self._exhaust()
            case planning.EndCall():
                log.warning("%s: given up: %s", self._call.id, step.reason)
                self._call.lose(step.reason, redial=step.redial)

    async def _probe(self) -> None:
        found = Path.DEAD if await self._media.probe() is None else Path.ALIVE
        if found is Path.ALIVE:
            self._answered()
        elif self._outbound_path is Path.CHECKING:
            self._outbound_path = found
        if self._path is Path.CHECKING:  # else a packet was quicker
            self._path = found
            if found is Path.ALIVE:
                self._trouble_at = None
        self.reconsider()

    def _answered(self) -> None:
        """The far end gets what we send."""
        self._unanswered_at, self._outbound_path = None, Path.UNKNOWN

    def _say(self, tier: Tier, *, pause: bool, cause: ModifyCause) -> None:
        """One re-INVITE with as much repair as is due."""
        if tier:
            self._start(tier, pause=pause, new_flow=cause is ModifyCause.RECOVERY)
        self._outage.attempts += 1
        self._busy = True
        try:
            self._call.say_again(cause, ice_restart=tier == 1, rebuild=tier == 2, pause=pause and tier != 0)
        except PhonedError as error:
            log.warning("%s: the re-INVITE cannot be said: %s", self._call.id, error.detail)
            self._busy, self._came_to_nothing = False, True

    def _start(self, tier: Tier, *, pause: bool, new_flow: bool) -> None:
        now = self._now()
        if not self._tier or self._moved:
            self._starts.append(now)
        if not self._tier:
            self._gap_ms, self._first_tier_agreed = 0, False
            self._outage.lost("media", self._why())
        log.info("%s: media repair, tier %d", self._call.id, tier)
        if tier != self._tier or new_flow:  # there was no way to have a result before
            self._tier_at = now
        self._tier, self._before = tier, self._media.pulse()
        self._switched_at, self._paused = None, pause
        self._answered()
        self._came_to_nothing = self._agreed = self._moved = self._gone = self._exhausted = False

    def _why(self) -> str:
        return Cause.NETWORK if self._moved or self._gone or self._media.rerouted() else Cause.TIMEOUT

    def _rest(self) -> None:
        self._tier, self._path, self._trouble_at = 0, Path.UNKNOWN, None
        self._answered()
        self._exhausted = self._came_to_nothing = self._failed = False

    def _recovered(self, pulse: Pulse) -> None:
        tier = self._tier
        if tier and (tier == 1 or self._first_tier_agreed or self._tiers.first(self._line.proxy) == 2):
            self._tiers.learn(self._line.proxy, tier)
        self._rest()
        self._outage.back("media", tier=tier, gap_ms=self._gap_ms)

    def _exhaust(self) -> None:
        self._tier, self._tier_at, self._exhausted = 0, self._now(), True
        if not self._failed:  # else the media itself has told it
            self._call.publish("call.media_failed", local=False)
        if self._ready_at is None and not self._resumed:
            self._call.on_unusable("no path to the far end, and none by another try")

    def _sending_given_up(self) -> None:
        """What we say cannot leave, whatever was tried."""
        self._call.publish("call.media_failed", local=True)
        if self._policy.on_failed != "keep":
            self._call.lose("media_timeout", redial=self._policy.on_failed == "redial")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
