"""The accounts of a running phone: how they come, change and go without anybody losing a call.

`Roster` turns settings into accounts and keeps the SIP core, the table of accounts and the registration identity in
step. What can be changed in place is. Another address of record is another account: the old one leaves first. An
account that leaves unregisters at once, keeps its flow for the calls that are up, and goes when the last has ended.
It must not know where settings come from (`phoned.configuration`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from phoned.accounts.account import Account
from phoned.accounts.policy import AccountListener
from phoned.accounts.registry import Accounts
from phoned.assembly import account_options_of, parameters_of, policy_of, repair_policy_of
from phoned.calls.repair_context import RepairPolicy
from phoned.clock import WallClock, wall_clock
from phoned.config.single import AccountSettings
from phoned.errors import Draining
from phoned.events import EventBus
from phoned.media.options import SessionOptions
from phoned.recovery.backoff import Uniform
from phoned.signaling import Signaling
from phoned.sip.account import AccountParameters
from phoned.sip.registration import credentials_of
from phoned.store.identity import IdentityStore, RegistrationIdentity
from phoned.tasks import Tasks
from phoned.transport.flow import Dialer

log = logging.getLogger(__name__)

LEAVE_BUDGET_S = 3.0
"""To unregister, once no call is up."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    settings: AccountSettings
    identity: RegistrationIdentity
    parameters: AccountParameters
    account: Account
    leaving: asyncio.Task[None] | None = None
    closing: bool = False
    """No call is up any more: there is no way back."""
    successor: AccountSettings | None = None
    """What is to be in its place once it has left."""


class Roster:
    """See the module's docstring. Driven by `phoned.configuration` and by the daemon."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        signaling: Signaling,
        bus: EventBus,
        identity: IdentityStore,
        dialer: Dialer,
        listener: AccountListener,
        user_agent: str,
        allow_refer: bool = False,
        hide: Callable[[str], None] = lambda secret: None,
        uniform: Uniform | None = None,
        clock: WallClock = wall_clock,
    ) -> None:
        self._accounts = accounts
        self._signaling = signaling
        self._bus = bus
        self._identity = identity
        self._dialer = dialer
        self._listener = listener
        self._user_agent = user_agent
        self._allow_refer = allow_refer
        self._hide = hide
        self._uniform = uniform or random.SystemRandom().uniform
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = asyncio.Lock()
        """Held while an account is made, changed or forgotten; not while one waits for its calls to end."""
        self._tasks = Tasks("roster", self._on_crash)
        self._closed = False

    # --- views

    @property
    def wanted(self) -> Mapping[str, AccountSettings]:
        """The accounts as they are to be, by id."""
        wanted = {name: entry.successor or entry.settings for name, entry in self._entries.items()}
        return {name: settings for name, settings in wanted.items() if not self._goes(name)}

    def _goes(self, name: str) -> bool:
        entry = self._entries[name]
        return entry.leaving is not None and entry.successor is None

    def repair_policy(self, account: str) -> RepairPolicy:
        """How the media of the account's new calls is repaired."""
        entry = self._entries.get(account)
        return RepairPolicy() if entry is None else repair_policy_of(entry.settings.config)

    def session_options(self, account: str, common: SessionOptions) -> SessionOptions:
        """The media of the account's new calls."""
        entry = self._entries.get(account)
        return common if entry is None else account_options_of(entry.settings.config, common)

    @property
    def retention_s(self) -> Mapping[str, float]:
        """By account: how long a call may be without signalling."""
        return {name: entry.settings.config.recovery.signalling_retention_s for name, entry in self._entries.items()}

    # --- verbs

    async def add(self, settings: AccountSettings) -> None:
        """An account from the start on. It registers when it is told to."""
        async with self._lock:
            await self._make(settings)

    async def put(self, settings: AccountSettings) -> None:
        """There shall be an account of these settings: it is made, or changed, or made once the one of the same name
        has left. Returns when that is done, or as far as it can be while calls are up."""
        leaving = await self._put(settings)
        if leaving is not None and not self._listener.calls_up(settings.id):
            await asyncio.wait({leaving}, timeout=LEAVE_BUDGET_S + 1)

    async def _put(self, settings: AccountSettings) -> asyncio.Task[None] | None:
        async with self._lock:
            entry = self._entries.get(settings.id)
            if entry is None:
                account = await self._make(settings)
                self._bus.publish("account.added", account=account.view())
                self._begin(account, settings)
            elif entry.closing or entry.account.aor != settings.config.aor:
                entry.successor = settings
                return self._leave(entry)
            else:
                self._take_back(entry)
                self._change(entry, settings)
            return None

    async def remove(self, account: str) -> bool:
        """It shall leave. True once it has, False while calls keep it."""
        async with self._lock:
            entry = self._entries.get(account)
            if entry is None:
                return True
            entry.successor = None
            leaving = self._leave(entry)
        if self._listener.calls_up(account):
            return False
        await asyncio.wait({leaving}, timeout=LEAVE_BUDGET_S + 1)
        return account not in self._entries

    def allow_refer(self, on: bool) -> None:
        """Whether far ends may transfer us, from now on."""
        if on == self._allow_refer:
            return
        self._allow_refer = on
        for entry in self._entries.values():
            entry.parameters = self._parameters(entry.settings, entry.identity)
            self._signaling.change_account(entry.settings.id, entry.parameters)

    async def close(self, budget_s: float | None) -> None:
        """All of them, within the budget; without one their bindings stay as they are. None comes after that."""
        self._closed = True
        await self._tasks.close()
        await asyncio.gather(*(account.close(budget_s) for account in self._accounts))

    # --- inside

    async def _make(self, settings: AccountSettings) -> Account:
        if self._closed:
            raise Draining("the daemon is stopping")
        identity = await self._identity.open_account(settings.id)
        parameters = self._parameters(settings, identity)
        self._signaling.add_account(settings.id, parameters)
        account = Account(
            settings.id,
            settings.config.aor,
            policy_of(settings.config, settings.proxy_credential),
            signaling=self._signaling,
            dialer=self._dialer,
            bus=self._bus,
            listener=self._listener,
            uniform=self._uniform,
            clock=self._clock,
        )
        self._entries[settings.id] = _Entry(
            settings=settings, identity=identity, parameters=parameters, account=account
        )
        self._accounts.add(account)
        return account

    def _parameters(self, settings: AccountSettings, identity: RegistrationIdentity) -> AccountParameters:
        if settings.password is not None:
            self._hide(settings.password.text())
        return parameters_of(
            settings.config,
            settings.password,
            instance_id=identity.instance_id,
            reg_id=identity.reg_id,
            call_id=identity.call_id,
            cseq=identity.cseq,
            allow_refer=self._allow_refer,
            user_agent=self._user_agent,
        )

    @staticmethod
    def _begin(account: Account, settings: AccountSettings) -> None:
        if settings.config.recovery.connect == "always":
            account.want_registered()

    def _change(self, entry: _Entry, settings: AccountSettings) -> None:
        old, entry.settings = entry.settings, settings
        if old == settings:
            return
        parameters = self._parameters(settings, entry.identity)
        renewed = credentials_of(parameters) != credentials_of(entry.parameters)
        if parameters != entry.parameters:
            entry.parameters = parameters
            self._signaling.change_account(settings.id, parameters)
        entry.account.change(policy_of(settings.config, settings.proxy_credential), register=renewed)
        if old.config.recovery.connect != settings.config.recovery.connect:
            self._begin(entry.account, settings)
        self._bus.publish("account.changed", account=entry.account.view())

    def _take_back(self, entry: _Entry) -> None:
        """It was to leave, and its calls kept it: now it is to stay."""
        leaving, entry.leaving, entry.successor = entry.leaving, None, None
        if leaving is not None:
            leaving.cancel()
            entry.account.leaving = False
            self._begin(entry.account, entry.settings)

    def _leave(self, entry: _Entry) -> asyncio.Task[None]:
        if entry.leaving is None:
            entry.account.leave()
            entry.leaving = self._tasks.spawn(f"leave {entry.settings.id}", self._see_off(entry))
        return entry.leaving

    async def _see_off(self, entry: _Entry) -> None:
        name, account = entry.settings.id, entry.account
        await account.without_calls()
        entry.closing = True
        await account.close(LEAVE_BUDGET_S)
        async with self._lock:
            self._signaling.remove_account(name)
            self._accounts.remove(name)
            del self._entries[name]
            self._bus.publish("account.removed", account=account.view())
            if entry.successor is None:
                await self._identity.forget(name)
                return
            successor = await self._make(entry.successor)
            self._bus.publish("account.added", account=successor.view())
            self._begin(successor, entry.successor)

    def _on_crash(self, name: str, error: BaseException) -> None:
        log.error("%s crashed; the account stays as it is until the next start", name, exc_info=error)
