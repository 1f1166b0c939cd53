"""All calls: who they are, how new ones come to be, and what is remembered of those that ended.

`CallManager` hears session events and hands each to its call, places calls and admits incoming ones by policy. It must
not know what a call does inside, nor how an account gets its flow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from phoned.calls.admission import Admission
from phoned.calls.bridges import Bridges
from phoned.calls.call import Call
from phoned.calls.ended import EndedCall, EndedCalls
from phoned.calls.ending import refusal_of
from phoned.calls.entry import JournalEntry
from phoned.calls.identity import peer_of
from phoned.calls.incoming import IncomingPolicy
from phoned.calls.journal import CallJournal, MemoryJournal
from phoned.calls.line import AccountFacts, AccountLine
from phoned.calls.messages import MessageDesk
from phoned.calls.policy import DialPolicy, Target, checked_headers, target_of
from phoned.calls.ports import CallSignaling, MediaFactory
from phoned.calls.quality import QualityReports
from phoned.calls.repair_context import RepairContext, RepairPolicy
from phoned.calls.restore import Circumstances, as_told, take_up
from phoned.calls.rounds import Rounds
from phoned.calls.streams import StreamDesk
from phoned.calls.transfers import Transfers
from phoned.clock import WallClock, wall_clock
from phoned.config.schema import IncomingRule
from phoned.errors import Draining, NotFound, NotRegistered, PhonedError, UnavailableError
from phoned.events import EventBus
from phoned.ids import new_id
from phoned.media.continuation import Continuation
from phoned.model import (
    EMPTY,
    CallRequest,
    CallState,
    CallView,
    EndCause,
    Peer,
    PlaybackView,
    RecordingView,
    StatsView,
    Wait,
)
from phoned.recovery.tiers import TierMemory
from phoned.sip import events as sip
from phoned.tasks import Tasks
from phoned.trace import SipTrace

log = logging.getLogger(__name__)

QUEUE_S = 5.0
"""How long a call may wait for a flow that is being repaired."""
REDIAL_OF = "redial_of"
"""Tag of a call that was placed instead of another: that one's id."""
NO_DIALOG = 481


class CallManager:
    """See the module's docstring. Driven by `Phone`, by `Signaling` and by the accounts."""

    def __init__(
        self,
        *,
        signaling: CallSignaling,
        accounts: Callable[[str], AccountFacts | None],
        media: MediaFactory,
        policy: DialPolicy,
        rules: tuple[IncomingRule, ...],
        bus: EventBus,
        clock: WallClock = wall_clock,
        ended: EndedCalls | None = None,
        repair_policy: Callable[[str], RepairPolicy] = lambda account: RepairPolicy(),
        journal: CallJournal | None = None,
        trace: SipTrace | None = None,
    ) -> None:
        self._signaling = signaling
        self._accounts = accounts
        self._media = media
        self._policy = policy
        self.incoming = IncomingPolicy(rules)
        self._bus = bus
        self._clock = clock
        self._repair_policy = repair_policy
        self.journal = journal or CallJournal(MemoryJournal(), clock=clock)
        self.trace = trace or SipTrace()
        self._rounds = Rounds()
        self._tiers = TierMemory()
        self._requests: dict[str, CallRequest] = {}
        """By call: what a call in its place would be made of."""
        self._tasks = Tasks("calls", self._on_crash)
        self._calls: dict[str, Call] = {}
        self._by_session: dict[str, Call] = {}
        self.ended = ended or EndedCalls(clock=clock)
        self.quality = QualityReports(self._up, clock=clock)
        self.streams = StreamDesk()
        self.messages = MessageDesk(signaling, accounts, policy, bus, clock)
        self.bridges = Bridges(bus, clock)
        self.transfers = Transfers(
            signaling=signaling,
            accounts=accounts,
            policy=policy,
            place=self._new_outgoing,
            succeed=self.bridges.succeed,
        )
        self._admission = Admission(self, signaling, self.incoming, self.transfers)
        self.draining = False

    # --- views

    @property
    def capacity(self) -> int:
        """How many calls may be up at once."""
        return self._policy.capacity

    def active(self, account: str | None = None) -> int:
        """Calls that have not ended."""
        return sum(not call.ended and account in (None, call.account) for call in self._calls.values())

    def find(self, call: str) -> Call | None:
        """A call that still has its parts."""
        return self._calls.get(call)

    def view(self, call: str) -> CallView:
        """Raises `NotFound`."""
        live = self._calls.get(call)
        if live is not None:
            return live.view()
        ended = self.ended.get(call)
        if ended is None:
            raise NotFound(f"no call {call}")
        return ended.view

    def stats(self, call: str) -> StatsView:
        """Raises `NotFound`."""
        live = self._calls.get(call)
        if live is not None:
            return live.stats()
        ended = self.ended.get(call)
        if ended is None:
            raise NotFound(f"no call {call}")
        return ended.stats

    def views(self) -> tuple[CallView, ...]:
        """Everything that is known, newest first."""
        views = [record.view for record in self.ended]
        views += [call.view() for call in self._calls.values()]
        return tuple(sorted(views, key=lambda view: (view.created_at, view.id), reverse=True))

    def recordings(self) -> tuple[tuple[RecordingView, Call | None], ...]:
        """Every recording that is known, with its call while that has its parts."""
        kept = [(view, None) for record in self.ended for view in record.recordings]
        live = [(view, call) for call in self._calls.values() for view in call.audio.recordings()]
        return (*kept, *live)

    def playback(self, playback: str) -> tuple[PlaybackView, Call]:
        """Raises `NotFound`."""
        for call in self._calls.values():
            view = call.audio.playback(playback)
            if view is not None:
                return view, call
        raise NotFound(f"no playback {playback}")

    def forget_recording(self, recording: str) -> None:
        """Its file is gone."""
        for call in self._calls.values():
            call.audio.forget_recording(recording)
        self.ended.forget_recording(recording)

    # --- outgoing

    async def place(self, request: CallRequest, wait: Wait) -> CallView:
        """A new outgoing call; see `PhoneControl.place_call`. An id that is known already names that call."""
        over = self.ended.get(request.id) if request.id is not None else None
        if over is not None:
            return _outcome(over.view, wait)
        known = self._calls.get(request.id) if request.id is not None else None
        call = known or self._new_outgoing(request)
        if wait == "none":
            return call.view()
        reached = {CallState.ACTIVE, CallState.ENDED}
        if wait == "ringing":
            reached |= {CallState.RINGING, CallState.EARLY_MEDIA}
        await call.wait_for(lambda: call.state in reached, request.timeout_s + QUEUE_S + 35)
        return _outcome(call.view(), wait)

    def _new_outgoing(self, request: CallRequest, extra: tuple[tuple[str, str], ...] = ()) -> Call:
        if self.draining:
            raise Draining("the daemon is draining: no new calls")
        account = self._accounts(request.account)
        if account is None:
            raise NotFound(f"no account {request.account}", pointer="/account")
        target = target_of(request.to, account.aor)
        headers = (*checked_headers(request.headers), *extra)
        if not account.online and not account.repairing and not account.wake():
            raise NotRegistered(f"account {request.account} is not registered", retry_after_s=5)
        self._policy.check(target, active=self.active(), now=asyncio.get_running_loop().time())
        call = self._make(
            request.id or new_id("call"), request.account, "out", Peer(uri=target.uri, number=target.number), request
        )
        call.timers.longest_s = self._policy.duration_cap_s(request.max_duration_s)
        self._requests[call.id] = request
        call.publish("call.created")
        if account.online:
            self._dial(call, target, headers, request.timeout_s)
        else:
            self._tasks.spawn("queued", self._dial_when_online(call, account, target, headers, request.timeout_s))
        return call

    def _dial(self, call: Call, target: Target, headers: tuple[tuple[str, str], ...], timeout_s: float) -> None:
        def adopt(session: str) -> None:
            call.session = session
            self._by_session[session] = call
            self.trace.belongs(call.id, self._signaling.call_id(session))

        call.start(target.uri, headers, timeout_s, adopt)
        self._calls_changed(call.account)

    async def _dial_when_online(
        self,
        call: Call,
        account: AccountFacts,
        target: Target,
        headers: tuple[tuple[str, str], ...],
        timeout_s: float,
    ) -> None:
        try:
            await call.wait_for(lambda: call.ended or account.online, QUEUE_S)
        except UnavailableError:
            call.hangup(cause=EndCause.UNREACHABLE, by="system")
            return
        if not call.ended:
            self._dial(call, target, headers, timeout_s)

    # --- incoming

    def on_session_event(self, event: sip.Event) -> None:
        """A session event of the SIP core."""
        match event:
            case sip.IncomingCall():
                self._admission.on_invite(event)
            case sip.MessageReceived():
                inside = self.of_session(event.session)
                self.messages.on_received(event, inside.id if inside is not None else None)
            case sip.RequestAnswered():
                call = self.of_session(event.session)
                if call is not None:
                    call.memory.changed()  # it has used up a sequence number of the dialog
                elif event.method == "MESSAGE":
                    self.messages.on_answered(event)
            case _:
                call = self.of_session(getattr(event, "session", None))
                if call is not None:
                    self._tell(call, event)

    def _tell(self, call: Call, event: sip.Event) -> None:
        """A bug in one call ends that call, and no other."""
        try:
            if isinstance(event, sip.Ended):
                self.transfers.before_end(call, event)
            call.on_session_event(event)
            self.transfers.on_session_event(call, event)
        except Exception:
            log.exception("%s: %s could not be handled; the call ends", call.id, type(event).__name__)
            call.give_up(EndCause.FAILED)
        if isinstance(event, sip.Answered):
            self.quality.wake()
        elif isinstance(event, sip.Ended):
            self._by_session.pop(event.session, None)

    def of_session(self, session: str | None) -> Call | None:
        """The call whose SIP session that is."""
        return self._by_session.get(session or "")

    def take_in(self, event: sip.IncomingCall, headers: Mapping[str, str], tags: Mapping[str, str] | None) -> Call:
        """A new incoming call, which rings."""
        call = self._make(new_id("call"), event.account, "in", peer_of(event), headers=headers, tags=tags)
        call.timers.longest_s = self._policy.duration_cap_s(None)
        call.session = event.session
        self._by_session[event.session] = call
        self.trace.belongs(call.id, event.call_id)
        call.rings_here(event.call_id)
        self._calls_changed(event.account)
        return call

    def _make(
        self,
        call_id: str,
        account: str,
        direction: str,
        peer: Peer,
        request: CallRequest | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        continues: Continuation | None = None,
    ) -> Call:
        call = Call(
            call_id,
            account=account,
            direction="in" if direction == "in" else "out",
            peer=peer,
            signaling=self._signaling,
            media=lambda on_event: self._media(account, call_id, on_event, continues=continues),
            bus=self._bus,
            streams=self.streams,
            repair=RepairContext(
                line=AccountLine(lambda: self._accounts(account)),
                rounds=self._rounds,
                tiers=self._tiers,
                policy=self._repair_policy(account),
            ),
            on_ended=self._on_ended,
            on_closed=self._on_closed,
            on_changed=self._on_changed,
            tags=request.tags if request else tags,
            headers=request.headers if request else headers,
            on_answer=request.on_answer if request else (),
            clock=self._clock,
        )
        self._calls[call_id] = call
        return call

    # --- after the network moved

    def media_pairs(self) -> tuple[tuple[str, str], ...]:
        """``address:port`` of both ends of every pair that carries a call."""
        media = (call.view().media for call in self._up())
        return tuple((view.local, view.remote) for view in media if view.local and view.remote)

    def on_network_moved(self, gone: frozenset[str], *, forced: bool) -> None:
        """Local addresses are gone, routes moved, or every path is to be doubted. A call whose flow is being replaced
        takes its ICE restart along with the re-INVITE on the new flow; the others say it now."""
        for call in self._up():
            local = (call.view().media.local or "").rpartition(":")[0].strip("[]")
            call.on_network_moved(gone=local in gone, forced=forced)

    # --- over a restart of the daemon

    async def restore(
        self, retention_s: Mapping[str, float], recovered: Mapping[str, Sequence[RecordingView]] = EMPTY
    ) -> None:
        """Take up the calls of the process before, or bring them to an end. ``retention_s``: by account, how long a
        call may be without signalling. ``recovered``: by call, recordings that were finished meanwhile."""
        entries, silent_s = await self.journal.load()
        bridges: dict[str, list[Call]] = {entry.bridge: [] for entry in entries if entry.bridge is not None}
        for entry in as_told(entries, await self._bus.log.calls_told()):
            around = Circumstances(silent_s=silent_s, retention_s=retention_s.get(entry.account))
            call = take_up(entry, around, self._signaling, self._remake)
            if call is None:
                self.journal.ended(entry.call, told=around.retention_s is None)
                continue
            call.audio.recovered(recovered.get(call.id, ()))
            if call.session is not None:
                self._by_session[call.session] = call
                self.trace.belongs(call.id, self._signaling.call_id(call.session))
                self.quality.wake()
                if entry.bridge is not None:
                    bridges[entry.bridge].append(call)
            self._calls_changed(call.account)
        self.bridges.restore(bridges)

    def _remake(self, entry: JournalEntry, continues: Continuation | None) -> Call:
        return self._make(
            entry.call,
            entry.account,
            entry.direction,
            entry.peer,
            headers=entry.headers,
            tags=entry.tags,
            continues=continues,
        )

    async def hand_over(self, budget_s: float) -> None:
        """Take no more calls and leave those that are up to the next process. What is not answered cannot be left."""
        self.draining = True
        self.quality.close()
        up = self._up()
        early = [call for call in self._calls.values() if call not in up]
        for call in early:
            call.hangup(cause=EndCause.SHUTDOWN, by="system")
        await asyncio.gather(*(call.closed(budget_s / 2) for call in early))
        for call in early:
            call.give_up(EndCause.SHUTDOWN)
        await self.journal.freeze()
        await asyncio.gather(*(call.let_go() for call in up))
        await self._tasks.close()

    # --- after a new flow

    def on_flow_ready(self, account: str) -> None:
        """A new flow carries the account: one re-INVITE for each call that is up. One that is refused before the
        REGISTER's 200 is repeated by the core once after it."""
        for call in tuple(self._calls.values()):
            if call.account == account:
                call.on_flow_ready()

    def on_registered(self, account: str) -> None:
        """The flow is registered: calls that waited for it go on."""
        for call in tuple(self._calls.values()):
            if call.account == account:
                call.on_registered()
        self.journal.registered(account)

    def _up(self) -> tuple[Call, ...]:
        return tuple(call for call in self._calls.values() if call.state is CallState.ACTIVE)

    # --- ends

    async def end_all(self, budget_s: float, *, cause: EndCause = EndCause.SHUTDOWN) -> None:
        """Take no more calls, hang up all there are and wait until they are gone, at most ``budget_s`` seconds. Two
        thirds of it are for far ends that have yet to answer; then the rest ends without them."""
        self.draining = True
        self.quality.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + budget_s
        calls = tuple(self._calls.values())
        for call in calls:
            call.hangup(cause=cause, by="system")
        try:
            await asyncio.gather(*(call.closed(budget_s * 2 / 3) for call in calls))
        finally:
            for call in calls:
                call.give_up(cause)
        left_s = max(deadline - loop.time(), 0.0)
        await asyncio.gather(*(call.closed(left_s) for call in calls))
        await self._tasks.close()

    def _on_changed(self, call: Call) -> None:
        self.journal.changed(call.id, call.memory.entry)
        self.bridges.look(call)

    def _on_ended(self, call: Call) -> None:
        self.transfers.on_ended(call)
        self.bridges.on_ended(call)
        request = self._requests.pop(call.id, None)
        if call.replaced and request is not None and REDIAL_OF not in request.tags:
            asyncio.get_running_loop().call_soon(self._replace, call.id, request)
        if call.session is not None:
            self._by_session.pop(call.session, None)
        account, end = self._accounts(call.account), call.view().end
        gone = end is not None and (end.by == "remote" or end.sip_code == NO_DIALOG)
        told = account is None or account.online or gone
        self.journal.ended(call.id, told=told)
        self.ended.ending(_record_of(call))
        self._calls_changed(call.account)

    def _replace(self, call: str, request: CallRequest) -> None:
        """A new call in the place of one whose media could not be had back. Once: it is not replaced in turn."""
        try:
            self._new_outgoing(replace(request, id=None, tags={**request.tags, REDIAL_OF: call}))
        except PhonedError as error:
            log.warning("%s: no call in its place: %s", call, error.detail)

    def _on_closed(self, call: Call) -> None:
        self._calls.pop(call.id, None)
        self.ended.add(_record_of(call))

    def _calls_changed(self, account: str) -> None:
        facts = self._accounts(account)
        if facts is not None:
            facts.on_calls_changed()

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed", name, exc_info=error)


def _record_of(call: Call) -> EndedCall:
    return EndedCall(view=call.view(), stats=call.stats(), recordings=call.audio.recordings())


def _outcome(view: CallView, wait: Wait) -> CallView:
    """The call, for somebody who asked to ``wait``; raises what became of it when it ended without an answer."""
    if wait != "none" and view.state is CallState.ENDED and view.answered_at is None:
        raise refusal_of(view)
    return view
