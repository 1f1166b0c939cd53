"""The composition root: builds every part, starts them in order, and stops them in phases with a budget each.

Nothing else knows all parts. Services are found by entry point and get protocols only.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from phoned.accounts.registry import Accounts
from phoned.assembly import engine_options_of, keep_limits_of, recovered_view, session_options_of
from phoned.audio.fetch import SoundFetcher
from phoned.audio.handset import Handset, Surroundings
from phoned.audio.portaudio import PortAudio
from phoned.audio.sound import SoundSystem
from phoned.calls.ended import EndedCalls
from phoned.calls.journal import CallJournal
from phoned.calls.manager import CallManager
from phoned.calls.policy import DialPolicy
from phoned.config.load import LoadedConfig, load_config
from phoned.config.schema import Config
from phoned.config.secrets import read_secret_file
from phoned.config.types import Secret
from phoned.configuration import Configuration
from phoned.context import Offers, ServiceContext
from phoned.doctor.parts import Patient
from phoned.doctor.resident import Resident
from phoned.errors import PhonedError
from phoned.events import EventBus
from phoned.lifecycle import Lifecycle
from phoned.links import Links
from phoned.media.continuation import Continuation
from phoned.media.engine import MediaEngine
from phoned.media.events import MediaEvent
from phoned.media.session import MediaSession
from phoned.model import AccountView, RecordingView
from phoned.notify import Notifier
from phoned.phases import Phase, Phases
from phoned.phone import DO_NOT_DISTURB, Phone
from phoned.recording.catalogue import Catalogue
from phoned.recording.recover import recover
from phoned.recording.retention import Reason, Retention
from phoned.roaming import Roaming, source_of
from phoned.roster import Roster
from phoned.service import ServicePlugin, installed_services
from phoned.signaling import Signaling, SystemRandom
from phoned.sip.account import Limits
from phoned.sip.user_agent import UserAgent
from phoned.store.accounts import AccountStore
from phoned.store.audit import AuditLog
from phoned.store.database import Database
from phoned.store.events import SqliteEventLog
from phoned.store.identity import IdentityStore
from phoned.store.journal import SqliteJournal
from phoned.store.keyvalue import SqliteKeyValue
from phoned.store.lock import StateLock
from phoned.store.outbox import SqliteOutbox
from phoned.tasks import Tasks
from phoned.trace import SipTrace
from phoned.transport.dialer import WebSocketDialer
from phoned.transport.flow import Dialer
from phoned.transport.resolver import Resolver
from phoned.urls import Reach, UrlGuard

log = logging.getLogger(__name__)

CALLS_BUDGET_S = 3.0
ACCOUNTS_BUDGET_S = 3.0
SERVICES_BUDGET_S = 3.0
BUDGET_S = 2.0
"""For each part that waits for nobody but this machine."""
GRACE_S = 0.5
"""What a part's budget may be overrun by before it is cut off."""
ROOM_FOR_CALLS = 256
"""The least that the SIP core has room for, so that ``max_concurrent`` may be raised while it runs."""
STATE_MODE = 0o700
STDERR = 2


class Daemon:
    """One phone. `start`, then `stop`; `serve` does both around the signals."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        plugins: Mapping[str, ServicePlugin] | None = None,
        dialer: Dialer | None = None,
        sound: Callable[[], SoundSystem] = PortAudio,
        hide: Callable[[str], None] = lambda secret: None,
    ) -> None:
        """``hide`` is told of each password, so that no log shows it."""
        self._loaded = loaded
        self._config = loaded.config
        self._plugins = installed_services() if plugins is None else plugins
        self._dialer = dialer or WebSocketDialer(generations=itertools.count(1))
        self._sound = sound
        self._hide = hide
        self._tasks = Tasks("daemon", self._on_crash)
        self._phases = Phases()
        self._offers = Offers()
        self._catalogue = Catalogue(loaded.config.media.recordings_dir)
        self._running = False
        self._handing_over = False
        """The calls are left to the next process: no BYE, no un-REGISTER."""
        self._failed: asyncio.Future[BaseException] | None = None

    async def start(self) -> None:
        """Build and start everything; accounts begin to register. Raises what made a part fail, and leaves nothing."""
        try:
            await self._start_store()
            await self._start_phone()
            self._register(with_calls=True)  # these lose audio meanwhile; the others wait until services can take calls
            await self.roaming.start()
            await self.calls.ended.load()
            self._start_retention()
            for name, plugin in self._plugins.items():
                await self._start_service(name, plugin)
        except BaseException:
            self._handing_over = True  # what cannot start has no business to hang up
            await self._phases.run()
            raise
        self._running = True
        self.bus.publish("system.started")
        self._register(with_calls=False)

    def _register(self, *, with_calls: bool) -> None:
        for name, settings in self.roster.wanted.items():
            found = self.accounts.get(name)
            wanted = self.calls.active(name) if with_calls else settings.config.recovery.connect == "always"
            if found is not None and wanted:
                found.want_registered()

    async def stop(self, *, hand_over: bool = False) -> None:
        """Refuse new work, hang up, unregister, close flows, media, services, store: each within its budget. With
        ``hand_over`` calls and bindings are left to the next process. Repeating it changes nothing."""
        self._handing_over = self._handing_over or hand_over
        if self._running:
            self._running = False
            self.phone.leaving = True
            self.bus.publish("system.stopping")
        await self._phases.run()

    async def _start_store(self) -> None:
        loaded, phases = self._loaded, self._phases
        self._failed = asyncio.get_running_loop().create_future()
        await asyncio.to_thread(make_directories, loaded)
        self.database = Database(loaded.state_dir / "phoned.sqlite3")
        phases.add(Phase.STORE, "database", self.database.close, BUDGET_S)
        await self.database.open()
        self.identity = IdentityStore(loaded.state_dir)
        phases.add(Phase.STORE, "identity", self.identity.close, BUDGET_S)
        await self.identity.load()
        self.audit = AuditLog(loaded.state_dir)
        phases.add(Phase.STORE, "audit", self.audit.close, BUDGET_S)
        self.outbox = SqliteOutbox(self.database)
        await self.outbox.open()
        dialogs = SqliteJournal(self.database)
        await dialogs.open()
        self.journal = CallJournal(dialogs)
        phases.add(Phase.STORE, "journal", self.journal.close, BUDGET_S)
        self.ended = EndedCalls(SqliteKeyValue(self.database, "calls"))
        phases.add(Phase.STORE, "ended calls", self.ended.close, BUDGET_S)
        self.bus = EventBus(SqliteEventLog(self.database), node=socket.gethostname())
        await self.bus.start()
        phases.add(Phase.TASKS, "tasks", self._tasks.close, BUDGET_S)
        phases.add(Phase.TASKS, "last events", self.bus.flush, BUDGET_S)
        phases.add(Phase.EVENTS, "events", self.bus.flush, BUDGET_S)
        self._tasks.spawn("bus", self.bus.run())
        self._recovered: dict[str, list[RecordingView]] = {}
        for left in await asyncio.to_thread(recover, self._config.media.recordings_dir):
            view = recovered_view(left)
            self._recovered.setdefault(view.call, []).append(view)
            self.bus.publish("recording.recovered", recording=view)

    async def _start_phone(self) -> None:
        loop, config, phases = asyncio.get_running_loop(), self._config, self._phases
        fetcher = SoundFetcher(self._guard(), agent=f"phoned/{version('phoned')}")
        self.engine = MediaEngine(engine_options_of(config), fetch=fetcher.fetch)
        phases.add(Phase.MEDIA, "media", self.engine.stop, BUDGET_S)
        await self.engine.start()
        trace = SipTrace()
        most_calls = max(config.dial.max_concurrent, ROOM_FOR_CALLS)
        limits = Limits(sessions=most_calls + 8)
        self.signaling = Signaling(UserAgent(random=SystemRandom(), limits=limits), trace=trace)
        phases.add(Phase.FLOWS, "flows", self._close_flows, BUDGET_S)
        self.accounts = Accounts()
        turn_secrets = await asyncio.to_thread(
            lambda: tuple(read_secret_file(server.credential_file) for server in config.media.turn)
        )
        self._session_options = session_options_of(config.media, turn_secrets)

        def media(
            account: str,
            call_id: str,
            on_event: Callable[[MediaEvent], None],
            /,
            *,
            continues: Continuation | None = None,
        ) -> MediaSession:
            options = self.roster.session_options(account, self._session_options)
            return self.engine.session(call_id, replace(options, continues=continues), on_event)

        self._dial_policy = DialPolicy(config.dial)
        self.calls = CallManager(
            signaling=self.signaling,
            accounts=self.accounts.get,
            media=media,
            policy=self._dial_policy,
            rules=config.incoming,
            bus=self.bus,
            repair_policy=lambda account: self.roster.repair_policy(account),
            journal=self.journal,
            ended=self.ended,
            trace=trace,
        )
        self.calls.incoming.change(config.incoming, config.auto_answer.callers)
        self.signaling.connect(self.accounts, self.calls)
        self.roaming = Roaming(
            source=source_of(config.network),
            ignore_interfaces=config.network.ignore_interfaces,
            accounts=self.accounts,
            calls=self.calls,
            bus=self.bus,
        )
        phases.add(Phase.NETWORK, "network", self.roaming.close, BUDGET_S)
        self.phone = Phone(
            accounts=self.accounts,
            calls=self.calls,
            bus=self.bus,
            network=self.roaming,
            doctor=Resident(lambda: self._reread(self._loaded), self._patient, self._account_view),
            catalogue=self._catalogue,
            version=version("phoned"),
            node=socket.gethostname(),
            started_at=loop.time(),
        )
        self.phone.wishes = SqliteKeyValue(self.database, "phone")
        self.calls.incoming.do_not_disturb = await self.phone.wishes.get(DO_NOT_DISTURB) is not None
        self.roster = Roster(
            accounts=self.accounts,
            signaling=self.signaling,
            bus=self.bus,
            identity=self.identity,
            dialer=self._dialer,
            listener=Links(self.calls, self.identity),
            user_agent=f"phoned/{version('phoned')}",
            allow_refer=config.transfer.allow_refer,
            hide=self._hide,
        )
        phases.add(Phase.ACCOUNTS, "accounts", self._close_accounts, ACCOUNTS_BUDGET_S + GRACE_S)
        self.configuration = self.phone.configuration = Configuration(
            self._loaded,
            reread=self._reread,
            take=self._take,
            roster=self.roster,
            accounts=self.accounts,
            store=AccountStore(self._loaded.state_dir),
            calls_up=self.calls.active,
            bus=self.bus,
            most_calls=most_calls,
        )
        await self.configuration.start()
        phases.add(Phase.CALLS, "calls", self._end_calls, CALLS_BUDGET_S + GRACE_S)
        await self.calls.restore(self.roster.retention_s, self._recovered)
        around = Surroundings(
            bus=self.bus,
            calls=self.calls.views,
            graphs=self.engine.graph_of,
            clock=self.engine.clock,
            keys=SqliteKeyValue(self.database, "sound"),
        )
        self.phone.sound = handset = Handset(config.audio, self._sound(), around)
        phases.add(Phase.CALLS, "sound devices", handset.close, BUDGET_S)
        await handset.start()

    def _start_retention(self) -> None:
        def deleted(view: RecordingView, reason: Reason) -> None:
            self.phone.recording_deleted(view, reason)
            self.audit.note(who="retention", what="delete recording", outcome="ok", target=view.id, reason=reason)

        self.retention = Retention(
            self._catalogue,
            keep_limits_of(self._config.media),
            known=lambda: {view.id: view for view in self.phone.recordings()},
            deleted=deleted,
        )
        self._phases.add(Phase.MEDIA, "retention", self.retention.close, BUDGET_S)
        self.retention.start()

    def _reread(self, loaded: LoadedConfig) -> LoadedConfig:
        models = {name: plugin.config_model for name, plugin in self._plugins.items()}
        return load_config(loaded.files[0], models=models, environ=loaded.environ)

    def _take(self, config: Config, turn_secrets: tuple[Secret, ...]) -> None:
        """What concerns calls, from now on."""
        self._dial_policy.change(config.dial)
        self.calls.incoming.change(config.incoming, config.auto_answer.callers)
        self._session_options = session_options_of(config.media, turn_secrets)
        self.retention.change(keep_limits_of(config.media))

    def _patient(self) -> Patient:
        accounts = tuple(self.roster.wanted.values())
        return Patient(config=self.configuration.config, state_dir=self._loaded.state_dir, accounts=accounts)

    def _account_view(self, account: str) -> AccountView | None:
        found = self.accounts.get(account)
        return None if found is None else found.view()

    async def _end_calls(self) -> None:
        if self._handing_over:
            await self.calls.hand_over(CALLS_BUDGET_S)
        else:
            await self.calls.end_all(CALLS_BUDGET_S)

    async def _close_accounts(self) -> None:
        await self.roster.close(None if self._handing_over else ACCOUNTS_BUDGET_S)

    async def _close_flows(self) -> None:
        self.signaling.close()

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside the phone that ends with it."""
        return self._tasks.spawn(name, coroutine)

    async def serve(self) -> int:
        """Run until SIGTERM or SIGINT (stop), SIGUSR2 (hand over), or until a part breaks that nothing works without:
        then the calls are handed over, too. Returns the exit status. A second signal ends the patience of the stop."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def on_signal(number: signal.Signals) -> None:
            if asked.is_set():
                self._phases.hurry()
            else:
                self._handing_over = number is signal.SIGUSR2
            asked.set()

        def on_hang_up() -> None:
            if self._running:
                self._tasks.spawn("reload", self._reload())

        loop.add_signal_handler(signal.SIGHUP, on_hang_up)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
        for number in numbers:
            loop.add_signal_handler(number, on_signal, number)
        try:
            await self.start()
            spare_the_collector()
            watched = {"the media clock": self.engine.clock.due, "the SIP core": self.signaling.due}
            lifecycle = Lifecycle(Notifier(os.environ), self.phone, self.bus, watched)
            lifecycle.ready()
            self.configuration.watcher = lifecycle
            assert self._failed is not None
            waiting = self._tasks.spawn("signals", asked.wait())
            await asyncio.wait({waiting, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            status = 1 if self._failed.done() else 0
            lifecycle.stopping()
            await self.stop(hand_over=status != 0)
            await lifecycle.close()
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)
        return status

    async def _reload(self) -> None:
        """Somebody has sent SIGHUP: what came of it stands in the log."""
        outcome = "ok"
        try:
            await self.phone.reload()
        except PhonedError as error:
            outcome = error.code  # the rest is told by the configuration itself
        except Exception:
            outcome = "internal"
            log.exception("SIGHUP: the configuration could not be read again")
        self.audit.note(who="SIGHUP", what="reload", outcome=outcome)

    def _guard(self) -> UrlGuard:
        return UrlGuard(Reach(self._config.network.allow_private), Resolver().addresses)

    async def _start_service(self, name: str, plugin: ServicePlugin) -> None:
        if name not in self._loaded.tables and not plugin.default:
            return
        context = ServiceContext(
            phone=self.phone,
            bus=self.bus,
            keys=SqliteKeyValue(self.database, name),
            outbox=self.outbox,
            urls=self._guard(),
            offers=self._offers,
            hide=self._hide,
            secrets=self._loaded.secrets,
            audit=self.audit,
            config=self._loaded.service(name, plugin.config_model),
            state_dir=self._loaded.state_dir,
            runtime_dir=self._loaded.runtime_dir,
        )
        service = plugin.create(context)
        budget_s = SERVICES_BUDGET_S + GRACE_S
        self._phases.add(Phase.SERVICES, f"service {name}", lambda: service.stop(SERVICES_BUDGET_S), budget_s)
        await service.start()
        self.configuration.service_started(name, service, context.config)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.critical("%s crashed; the daemon cannot go on", name, exc_info=error)
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(error)


def spare_the_collector() -> None:
    """All that exists now stays: looking through it for rubbish would stop the sound for some 80 ms now and then."""
    gc.freeze()
    gc.enable()


def make_directories(loaded: LoadedConfig) -> None:
    """State for us alone; media and recordings below it unless they are somewhere else."""
    media = loaded.config.media
    for directory in (loaded.state_dir, media.media_dir, media.recordings_dir):
        directory.mkdir(mode=STATE_MODE, parents=True, exist_ok=True)
    loaded.runtime_dir.mkdir(mode=0o750, parents=True, exist_ok=True)


def run(loaded: LoadedConfig, *, hide: Callable[[str], None] = lambda secret: None) -> int:
    """`phoned run`: the exit status of the process. ``hide``: see `Daemon`."""
    os.umask(0o077)
    faulthandler.enable(file=STDERR)  # where every thread was, should the watchdog end us (SIGABRT)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    with StateLock(loaded.state_dir):
        return asyncio.run(Daemon(loaded, hide=hide).serve())
