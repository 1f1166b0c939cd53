"""The composed daemon on virtual time: every part that `phoned.daemon` joins, but wire, media, network and disk.

`SimulatedDaemon` is one process; what outlives it (`Disk`) and everything around it (`World`) is kept apart, so that a
test can hand over to another one. `Promises` are the invariants of the recovery page's last section, for any schedule.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random as stdlib_random
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from phoned.accounts.registry import Accounts
from phoned.calls.journal import CallJournal, MemoryJournal
from phoned.calls.manager import CallManager
from phoned.calls.policy import DialPolicy
from phoned.config.schema import AccountConfig, DialConfig
from phoned.config.single import AccountSettings
from phoned.config.types import Secret
from phoned.errors import PhonedError
from phoned.events import Event, EventBus, MemoryEventLog
from phoned.links import Links
from phoned.media.continuation import Continuation
from phoned.media.events import MediaEvent
from phoned.model import AccountState, CallState, EndCause
from phoned.network.snapshot import Snapshot
from phoned.network.suspend import Reading
from phoned.phone import Phone
from phoned.recording.catalogue import Catalogue
from phoned.roaming import Roaming
from phoned.roster import Roster
from phoned.signaling import Signaling
from phoned.sip.account import Limits
from phoned.sip.user_agent import UserAgent
from phoned.store.identity import IdentityStore, RegistrationIdentity
from phoned.tasks import Tasks
from tests.support.doctor import FakeDoctor
from tests.support.network import LTE, OFFLINE, WIFI, FakeSource
from tests.support.simulated_exchange import DOMAIN, SimulatedExchange
from tests.support.simulated_media import MediaPath, SimulatedMedia
from tests.support.simulated_wire import Wire
from tests.support.sip_network import SeededRandom

PRIMARY, BACKUP = "one.example.org", "two.example.org"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESSES: dict[str | None, Snapshot] = {"10.0.1.2": WIFI, "10.0.2.2": LTE, None: OFFLINE}
STOP_BUDGET_S = 3.0


def virtual_clock() -> datetime:
    """Wall time that goes with the loop's."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


class Disk:
    """What outlives a process: identities, the dialog journal, the event log."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.log = MemoryEventLog(capacity=1_000_000)
        self.identities: dict[str, tuple[str, int]] = {}

    async def open_account(self, account: str) -> RegistrationIdentity:
        """See `phoned.store.identity.IdentityStore`."""
        call_id, cseq = self.identities.get(account, (f"registration-{account}", 0))
        instance = uuid.uuid5(uuid.NAMESPACE_DNS, account).urn
        return RegistrationIdentity(instance_id=instance, call_id=call_id, cseq=cseq)

    def used(self, account: str, *, call_id: str, cseq: int) -> None:
        """The same."""
        self.identities[account] = (call_id, cseq)

    async def forget(self, account: str) -> None:
        """The same."""
        self.identities.pop(account, None)


def settings(name: str, *, has_backup: bool = False, password: str | None = None, **keys: Any) -> AccountSettings:
    """An account at the exchange, with the defaults of a configuration file."""
    config = AccountConfig.model_validate(
        {
            "id": name,
            "aor": f"sip:{name}@{DOMAIN}",
            "outbound_proxy": f"wss://{PRIMARY}/{name}",
            "outbound_proxy_backup": f"wss://{BACKUP}/{name}" if has_backup else None,
            **keys,
        }
    )
    return AccountSettings(config=config, password=Secret((password or f"secret of {name}").encode()))


class SimulatedDaemon:
    """One process. `start`, then `stop`, in the order of `phoned.daemon`."""

    def __init__(self, world: World) -> None:
        disk, random = world.disk, world.random
        tokens = SeededRandom(random.randrange(2**32))
        self._tasks = Tasks("daemon", world.on_crash)
        self._world = world
        self.agent = UserAgent(random=tokens, limits=Limits(sessions=58))
        self.signaling = Signaling(self.agent)
        self.accounts = Accounts()
        self.bus = EventBus(disk.log, node="n", clock=world.clock)
        self.journal = CallJournal(disk.journal, clock=world.clock)
        self.calls = CallManager(
            signaling=self.signaling,
            accounts=self.accounts.get,
            media=self._media,
            policy=DialPolicy(DialConfig(max_per_minute=10_000)),
            rules=(),
            bus=self.bus,
            clock=world.clock,
            journal=self.journal,
        )
        self.signaling.connect(self.accounts, self.calls)
        self.roaming = Roaming(
            source=world.source,
            ignore_interfaces=(),
            accounts=self.accounts,
            calls=self.calls,
            bus=self.bus,
            clocks=world.clocks,
            system_bus="/nonexistent",
        )
        self.phone = Phone(
            accounts=self.accounts,
            calls=self.calls,
            bus=self.bus,
            network=self.roaming,
            doctor=FakeDoctor(),
            catalogue=Catalogue(Path("/nonexistent")),
            version="0",
            node="n",
            started_at=asyncio.get_running_loop().time(),
        )
        self.roster = Roster(
            accounts=self.accounts,
            signaling=self.signaling,
            bus=self.bus,
            identity=cast(IdentityStore, disk),
            dialer=world.wire,
            listener=Links(self.calls, cast(IdentityStore, disk)),
            user_agent="phoned",
            uniform=random.uniform,
            clock=world.clock,
        )

    def _media(
        self,
        account: str,
        call_id: str,
        on_event: Callable[[MediaEvent], None],
        /,
        *,
        continues: Continuation | None = None,
    ) -> SimulatedMedia:
        return SimulatedMedia(on_event, self._world.path)

    async def start(self, *, wanted: set[str]) -> None:
        """Everything runs; accounts begin to register."""
        await self.bus.start()
        self._tasks.spawn("bus", self.bus.run())
        for settings in self._world.settings.values():
            await self.roster.add(settings)
        await self.roaming.start()
        await self.calls.restore(self.roster.retention_s)
        for account in self.accounts:
            if account.id in wanted or self.calls.active(account.id):
                account.want_registered()

    async def stop(self, *, hand_over: bool = False) -> None:
        """Leave nothing behind but what is on the disk."""
        if hand_over:
            await self.calls.hand_over(STOP_BUDGET_S)
        else:
            await self.calls.end_all(STOP_BUDGET_S)
        await self.roster.close(None if hand_over else STOP_BUDGET_S)
        self.signaling.close()
        await self.roaming.close()
        await self.bus.flush()
        await self._tasks.close()
        await self.journal.close()


class Alarms(logging.Handler):
    """Keeps what was logged as an error: in a simulation it is always a bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(logging.Formatter("%(name)s: %(message)s").format(record))


@dataclass
class World:
    """A daemon and everything around it. Made inside a running (virtual) loop; ``names``: accounts, and whether each
    has a backup outbound proxy."""

    seed: int
    names: dict[str, bool] = field(default_factory=lambda: {"ann": False, "ben": True})

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks_before = asyncio.all_tasks()
        self.timers_before = self.timers()
        self.random = stdlib_random.Random(self.seed)
        self.passwords = {name: f"secret of {name}" for name in self.names}
        """As the exchange knows them."""
        self.exchange = SimulatedExchange(stdlib_random.Random(self.seed + 1), self.passwords)
        self.wire = Wire(stdlib_random.Random(self.seed + 2), self.exchange)
        self.path = MediaPath(address=lambda: self.wire.address)
        self.source = FakeSource()
        self.slept_s = self.set_by_s = 0.0
        self.disk = Disk()
        self.crashes: list[str] = []
        self.alarms = Alarms()
        self.users = Tasks("users", self.on_crash)
        """Verbs that people have asked for and that have not returned."""
        self.wanted: set[str] = set()
        self.settings = {name: settings(name, has_backup=has_backup) for name, has_backup in self.names.items()}
        """The accounts that a process begins with."""
        self.daemon = SimulatedDaemon(self)

    def timers(self) -> set[asyncio.TimerHandle]:
        """All that is armed."""
        scheduled: list[asyncio.TimerHandle] = getattr(self.loop, "_scheduled")  # noqa: B009  # no public way
        return {handle for handle in scheduled if not handle.cancelled()}

    def clock(self) -> datetime:
        """The wall clock, which somebody may set."""
        return virtual_clock() + timedelta(seconds=self.set_by_s)

    def clocks(self) -> Reading:
        """The machine's clocks."""
        now = self.loop.time()
        return Reading(boottime=now + self.slept_s, monotonic=now)

    def on_crash(self, name: str, error: BaseException) -> None:
        self.crashes.append(f"{name}: {error!r}")

    @property
    def phone(self) -> Phone:
        return self.daemon.phone

    # --- life

    async def start(self) -> None:
        logging.getLogger("phoned").addHandler(self.alarms)
        self.wanted = set(self.names)
        await self.daemon.start(wanted=self.wanted)

    async def stop(self) -> None:
        """The daemon ends as on SIGTERM; then the world does, too."""
        await self.daemon.stop()
        self.exchange.close()
        await asyncio.sleep(10.0)  # what is still on the wire arrives nowhere
        logging.getLogger("phoned").removeHandler(self.alarms)

    async def restart(self) -> None:
        """A hand-over: the next process takes the calls."""
        await self.daemon.stop(hand_over=True)
        self.daemon = SimulatedDaemon(self)
        self.source.closed = False
        await self.daemon.start(wanted=self.wanted)

    def ask(self, verb: Coroutine[Any, Any, object]) -> None:
        """Somebody asks for something, and may be told that it does not fit."""

        async def ask() -> None:
            try:
                await verb
            except PhonedError:
                pass

        self.users.spawn("verb", ask())

    def move(self, address: str | None) -> None:
        """The machine is in another network, or in none."""
        self.wire.move(address)
        self.source.change(ADDRESSES[address])

    def heal(self) -> None:
        """Whatever was wrong is so no more. What was forgotten stays so: that is for the phone to find out."""
        self.wire.edges.clear()
        self.wire.part(False)
        self.wire.delay_s, self.wire.jitter_s, self.wire.duplicate = 0.02, 0.0, 0.0
        self.exchange.mute, self.exchange.manner = False, None
        self.path.up = True
        if self.wire.address is None:
            self.move("10.0.1.2")

    async def events(self) -> list[Event]:
        """All that was published."""
        await self.daemon.bus.flush()
        found = await self.disk.log.after(0, 1_000_000)
        assert found is not None
        return found

    # --- what must hold

    def broken(self) -> list[str]:
        """Bugs that were contained, at any time."""
        agent, core = self.daemon.agent, self.daemon.signaling
        found = [*self.crashes, *self.alarms.heard]
        found += [f"{core.handler_errors} handler errors"] if core.handler_errors else []
        found += [f"{agent.counters.internal_errors} internal errors"] if agent.counters.internal_errors else []
        found += [f"{agent.counters.malformed} malformed"] if agent.counters.malformed else []
        return found

    def unsettled(self) -> list[str]:
        """Minutes after all was healed: where the phone, its core and the far end do not agree."""
        found: list[str] = []
        now = self.loop.time()
        for account in self.daemon.accounts:
            view = account.view()
            bound = [key for key, over_at in self.exchange.bound.get(account.id, {}).items() if over_at > now]
            binding = self.exchange.registrar.binding(account.id, now)
            flows = [flow for flow in self.wire.flows if flow.sent and self._owner(flow.sent[0][1]) == account.id]
            if view.desired == "registered":
                if view.state is not AccountState.ONLINE:
                    found.append(f"{account.id} is {view.state} ({view.registration.last_error})")
                if len(bound) != 1 or binding is None:
                    found.append(f"{account.id} has bindings {bound}, {binding}")
                elif account.flow is None or binding.flow != account.flow.generation:
                    found.append(f"{account.id} is bound to flow {binding.flow}, uses {account.flow}")
                if len(flows) != 1:
                    found.append(f"{account.id} has {len(flows)} flows")
            else:
                if view.state is not AccountState.OFF:
                    found.append(f"{account.id} is {view.state} and should be off")
                if flows and not self.daemon.calls.active(account.id):
                    found.append(f"{account.id} is off and has {len(flows)} flows")
        found += self._calls_unsettled()
        if len(self.users):
            found.append(f"{len(self.users)} verbs do not return")
        return found

    @staticmethod
    def _owner(data: bytes) -> str:
        line = next(line for line in data.split(b"\r\n") if line.lower().startswith(b"from:"))
        return line.partition(b"sip:")[2].partition(b"@")[0].decode()

    def _calls_unsettled(self) -> list[str]:
        found: list[str] = []
        far = self.exchange.calls_up
        for view in self.phone.calls():
            if view.state is CallState.ENDED:
                continue
            if view.state is not CallState.ACTIVE:
                found.append(f"{view.id} is still {view.state}")
            elif (account := self.daemon.accounts.get(view.account)) is None or account.flow is None:
                continue  # its account is off, and nobody can tell it: it ends with its media
            elif view.sip_call_id not in far:
                found.append(f"{view.id} is up here and not there")
            elif view.recovering is not None:
                found.append(f"{view.id} is still recovering ({view.recovering.plane}, {view.media.state})")
        live = self.daemon.calls.active()
        sessions = self.daemon.agent.live
        if live != sessions:
            found.append(f"{live} calls, {sessions} sessions: {self.daemon.agent.left()}")
        return found

    async def left_behind(self) -> list[str]:
        """After `stop`: what should be gone."""
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - self.tasks_before
        found = [f"task {task.get_name()}" for task in tasks]
        found += [f"timer {timer}" for timer in self.timers() - self.timers_before]
        found += [f"flow {flow.generation}" for flow in self.wire.flows]
        return found

    async def told_wrong(self) -> list[str]:
        """After `stop`: what is wrong with the events."""
        found: list[str] = []
        events = await self.events()
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            found.append("the sequence has gaps")
        begun: set[str] = set()
        ended: Counter[str] = Counter()
        lost: set[str] = set()
        for event in events:
            view = event.data.get("call")
            if view is None or not event.type.startswith("call."):
                continue
            if ended[view.id]:
                found.append(f"{event.type} of {view.id} after its end")
            begun.add(view.id)
            if event.type == "call.lost":
                if view.id in lost:
                    found.append(f"{view.id} was lost twice")
                lost.add(view.id)
            elif event.type == "call.ended":
                ended[view.id] += 1
                if (view.end.cause is EndCause.LOST) is not (view.id in lost):
                    found.append(f"{view.id} ended {view.end.cause}, lost: {view.id in lost}")
        found += [f"{call} ended {ended[call]} times" for call in begun if ended[call] != 1]
        return found

    def hammered(self, *, dials_per_s: int, registers_per_s: int, excused: list[float]) -> list[str]:
        """Attempts that came too thick, or at the same time. ``excused``: when somebody asked for one."""
        found: list[str] = []
        for name, spans in self.wire.dials.items():
            ordered = sorted(spans, key=lambda span: span.began)
            for one, other in itertools.pairwise(ordered):
                if other.began < one.ended - 1e-9:
                    found.append(f"{name} dials twice at once: {one}, {other}")
            found += _too_thick(f"{name} dials", [span.began for span in ordered], dials_per_s, excused)
        for name, seen in self.exchange.seen.items():
            found += _too_thick(f"{name} registers", [each.at for each in seen], registers_per_s, excused)
        return found

    def confused(self) -> list[str]:
        """REGISTERs that a strict registrar would take for old ones."""
        found: list[str] = []
        for name, seen in self.exchange.seen.items():
            if len({each.call_id for each in seen}) > 1:
                found.append(f"{name} changed its Call-ID")
            on_flow: dict[int, int] = {}
            for each in seen:
                if each.cseq < on_flow.get(each.flow, 0):
                    found.append(f"{name}: CSeq {each.cseq} after {on_flow[each.flow]} on one flow")
                on_flow[each.flow] = max(each.cseq, on_flow.get(each.flow, 0))
        return found


def _too_thick(what: str, times: list[float], limit: int, excused: list[float]) -> list[str]:
    """Windows of a second with more than ``limit`` of ``times``, each excuse of two seconds around allows as many."""
    for index, first in enumerate(times):
        within = sum(time < first + 1.0 for time in times[index:])
        allowed = limit * (1 + sum(first - 1.0 <= when <= first + 1.0 for when in excused))
        if within > allowed:
            return [f"{what} {within} times in the second after {first:.3f}"]
    return []
