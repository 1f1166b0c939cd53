"""What the phone is to be, and how that changes while it runs: the files are read again, accounts are put and deleted.

`Configuration` knows whose account is whose: those of the files are the administrator's, those that were made at run
time the control API's, and neither takes the other's name. It must not know how an account leaves (`phoned.roster`).
One change at a time; reading and writing happen off the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import BaseModel

from phoned.accounts.registry import Accounts
from phoned.config.load import LoadedConfig
from phoned.config.report import ConfigError
from phoned.config.schema import Config
from phoned.config.secrets import read_secret_file
from phoned.config.single import PASSWORD, AccountSettings, read_account, settings_of
from phoned.config.types import Secret
from phoned.errors import NotFound, PhonedError, WrongState
from phoned.events import EventBus
from phoned.model import AccountChanges, AccountView, ReloadView
from phoned.reload import difference
from phoned.roster import Roster
from phoned.service import Reconfigurable, Service
from phoned.store.accounts import AccountStore
from phoned.store.database import StoreFailed

log = logging.getLogger(__name__)


class Taker(Protocol):
    """Who takes on what concerns neither accounts nor services."""

    def __call__(self, config: Config, turn_secrets: tuple[Secret, ...], /) -> None: ...


class Watcher(Protocol):
    """Who is told that the configuration is being read again: the service manager."""

    def reloading(self) -> None: ...

    def reloaded(self) -> None: ...


class Configuration:
    """See the module's docstring. `start` first. Driven by `phoned.phone` and by SIGHUP."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        reread: Callable[[LoadedConfig], LoadedConfig],
        take: Taker,
        roster: Roster,
        accounts: Accounts,
        store: AccountStore,
        calls_up: Callable[[str], int],
        bus: EventBus,
        most_calls: int,
    ) -> None:
        self._loaded = loaded
        self._reread = reread
        self._take = take
        self._roster = roster
        self._accounts = accounts
        self._store = store
        self._calls_up = calls_up
        self._bus = bus
        self._most_calls = most_calls
        self._services: dict[str, tuple[Service, BaseModel]] = {}
        self._lock = asyncio.Lock()
        self.watcher: Watcher | None = None

    async def start(self) -> None:
        """Make all accounts; none registers yet."""
        configured, documents = await asyncio.to_thread(self._read_all)
        for settings in configured:
            await self._roster.add(settings)
        for warning in await self._give_way():
            log.warning("%s", warning)
        for account, document in documents.items():
            if account not in self._configured:
                await self._add_stored(account, document)

    async def _add_stored(self, account: str, document: Mapping[str, Any]) -> None:
        try:
            await self._roster.add(await asyncio.to_thread(self._settings, account, document))
        except PhonedError as error:
            log.error("account %s, made at run time, is not registered: %s; put it again, or delete it", account, error)

    def service_started(self, name: str, service: Service, config: BaseModel) -> None:
        """A service runs, with this configuration."""
        self._services[name] = (service, config)

    @property
    def config(self) -> Config:
        """What is in force of the files."""
        return self._loaded.config

    @property
    def _configured(self) -> frozenset[str]:
        return frozenset(account.id for account in self._loaded.config.accounts)

    # --- accounts of the API

    async def put_account(self, account: str, document: Mapping[str, Any]) -> tuple[AccountView, bool]:
        """See `PhoneControl`."""
        async with self._lock:
            self._require_ours(account)
            settings = await asyncio.to_thread(self._settings, account, document)
            created = account not in self._roster.wanted
            secret = None if _elsewhere(settings) else settings.password
            kept = {name: value for name, value in document.items() if name != PASSWORD}
            await self._stored(self._store.put, account, kept, secret.reveal() if secret is not None else None)
            await self._roster.put(settings)
            log.info("account %s was %s at run time", account, "made" if created else "changed")
            return self._view(account), created

    async def delete_account(self, account: str, *, drain: bool = False) -> AccountView | None:
        """See `PhoneControl`."""
        async with self._lock:
            self._require_ours(account)
            if account not in self._store and account not in self._roster.wanted:
                return self._view(account)  # it is on its way out already; or there is none
            calls = self._calls_up(account)
            if calls and not drain:
                raise WrongState(
                    f"{_calls(calls)} up on account {account}: hang up first, or delete it with ?drain=true, which lets"
                    " it go when they have ended",
                    state="in_call",
                    allowed_in=("no_calls",),
                )
            await self._stored(self._store.remove, account)
            log.info("account %s was deleted", account)
            return None if await self._roster.remove(account) else self._view(account)

    def _settings(self, account: str, document: Mapping[str, Any]) -> AccountSettings:
        known = self._store.password(account)
        return read_account(account, document, self._loaded.environ, kept=Secret(known) if known is not None else None)

    def _require_ours(self, account: str) -> None:
        if account in self._configured:
            place = self._place(account)
            raise WrongState(
                f"account {account} is in the configuration ({place}): change it there, then reload", state="configured"
            )

    def _place(self, account: str) -> str:
        index = [each.id for each in self._loaded.config.accounts].index(account)
        return str(self._loaded.origin(("accounts", index, "id")))

    def _view(self, account: str) -> AccountView:
        found = self._accounts.get(account)
        if found is None:
            raise NotFound(f"no account {account}")
        return found.view()

    async def _stored(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StoreFailed(f"the accounts made at run time cannot be written: {error}") from error

    # --- the files again

    async def reload(self) -> ReloadView:
        """See `PhoneControl`."""
        async with self._lock:
            if self.watcher is not None:
                self.watcher.reloading()
            try:
                return await self._reload()
            except PhonedError as error:
                for problem in error.problems if isinstance(error, ConfigError) else (error.detail,):
                    log.error("not reloaded, everything stays as it was: %s", problem)
                raise
            finally:
                if self.watcher is not None:
                    self.watcher.reloaded()

    async def _reload(self) -> ReloadView:
        loaded, configured, turn_secrets = await asyncio.to_thread(self._read_again)
        found = difference(self._loaded.config, loaded.config, most_calls=self._most_calls)
        applied, restart = list(found.applied), list(found.restart_needed)
        before = {name: self._roster.wanted.get(name) for name in self._configured}
        self._loaded = replace(loaded, config=found.config)
        self._take(found.config, turn_secrets)
        for name in dict.fromkeys((*self._services, *loaded.services)):
            self._take_service(name, loaded, applied, restart)
        warnings = [*loaded.warnings, *await self._give_way()]
        view = ReloadView(
            accounts=await self._take_accounts(before, configured),
            applied=tuple(applied),
            restart_needed=tuple(restart),
            warnings=tuple(warnings),
        )
        self._roster.allow_refer(found.config.transfer.allow_refer)
        self._bus.publish("system.reloaded", reload=view)
        log.info("reloaded: %s", _told(view))
        for warning in warnings:
            log.warning("%s", warning)
        if restart:
            log.warning("these stay as they were until a restart: %s", ", ".join(restart))
        return view

    def _take_service(self, name: str, loaded: LoadedConfig, applied: list[str], restart: list[str]) -> None:
        """Give a service its table, if that has changed."""
        new = loaded.services.get(name)
        if name not in self._services:
            if name in loaded.tables:
                restart.append(name)  # it did not run before
            return
        service, old = self._services[name]
        if new is None or new == old:
            return
        changed = [field for field in type(old).model_fields if getattr(old, field) != getattr(new, field, None)]
        kept = changed
        if isinstance(service, Reconfigurable):
            try:
                kept = [field for field in changed if field in set(service.reconfigure(new))]
            except Exception:
                log.exception("service %s does not take its new configuration", name)
        applied += [_key(name, field) for field in changed if field not in kept]
        restart += [_key(name, field) for field in kept]
        self._services[name] = (service, new.model_copy(update={field: getattr(old, field) for field in kept}))

    async def _take_accounts(
        self, before: Mapping[str, AccountSettings | None], configured: tuple[AccountSettings, ...]
    ) -> AccountChanges:
        after = {settings.id: settings for settings in configured}
        added = tuple(name for name in after if name not in before)
        changed = tuple(name for name in after if name in before and before[name] != after[name])
        removed = tuple(name for name in before if name not in after)
        work = [self._roster.put(after[name]) for name in (*added, *changed)]
        await asyncio.gather(*work, *(self._roster.remove(name) for name in removed))
        return AccountChanges(added=added, changed=changed, removed=removed)

    async def _give_way(self) -> list[str]:
        """An account that was made at run time gives way for good to one of its name in the files."""
        told = []
        for account in sorted(self._configured & self._store.accounts.keys()):
            await self._stored(self._store.remove, account)
            told.append(
                f"account {account} is in the configuration now: the one that was made at run time is forgotten"
            )
        return told

    # --- off the loop

    def _read_all(self) -> tuple[tuple[AccountSettings, ...], Mapping[str, Mapping[str, Any]]]:
        self._store.load()
        return settings_of(self._loaded), self._store.accounts

    def _read_again(self) -> tuple[LoadedConfig, tuple[AccountSettings, ...], tuple[Secret, ...]]:
        loaded = self._reread(self._loaded)
        turn_secrets = tuple(read_secret_file(server.credential_file) for server in loaded.config.media.turn)
        return loaded, settings_of(loaded), turn_secrets


def _elsewhere(settings: AccountSettings) -> bool:
    """The password lies in a file or a credential of the administrator's."""
    return settings.config.password_file is not None or settings.config.credential is not None


def _key(table: str, field: str) -> str:
    """``api.port``; of an array of tables (``root``), the array."""
    return table if field == "root" else f"{table}.{field}"


def _calls(count: int) -> str:
    return "1 call is" if count == 1 else f"{count} calls are"


def _told(view: ReloadView) -> str:
    accounts = view.accounts
    parts = [
        f"accounts {word} {', '.join(names)}"
        for word, names in (("added", accounts.added), ("changed", accounts.changed), ("removed", accounts.removed))
        if names
    ]
    parts += [", ".join(view.applied)] if view.applied else []
    return "; ".join(parts) or "nothing has changed"
