"""What the phone is to be, while it runs: whose account is whose, what is kept, what is read again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from phoned.config.load import load_config
from phoned.config.report import ConfigError
from phoned.daemon import Daemon
from phoned.errors import Draining, InvalidValues, NotFound, WrongState
from phoned.model import AccountState, Cause, ReloadView
from phoned.service import Context, ServicePlugin
from phoned.services.twilio.service import TwilioService
from phoned.store.accounts import FILE
from phoned.store.database import StoreFailed
from phoned.transport.flow import FlowError
from tests.support.flows import FakeDialer
from tests.support.media import until

MADE = {"aor": "sip:b@example.org", "outbound_proxy": "wss://elsewhere.invalid/", "password": "of the body"}
PASSWORD = "of the body"


class Table(BaseModel):
    """The table of the service under test."""

    colour: str = "red"
    size: int = 1


class Lamp:
    """A plug-in and its service: its colour can be changed while it runs, its size cannot."""

    name = "lamp"
    config_model: type[BaseModel] = Table
    default = True

    def __init__(self, *, breaks: bool = False) -> None:
        self.colour = ""
        self._breaks = breaks
        self._size = 0

    def create(self, context: Context) -> Lamp:
        self.colour, self._size = context.config.colour, context.config.size
        return self

    async def start(self) -> None: ...

    async def stop(self, budget_s: float) -> None: ...

    def reconfigure(self, config: Any) -> Iterable[str]:
        if self._breaks:
            raise RuntimeError("the bulb")
        self.colour = config.colour
        return [] if config.size == self._size else ["size"]


class Stone:
    """A service that cannot be changed."""

    name = "stone"
    config_model: type[BaseModel] = Table
    default = False

    def create(self, context: Context) -> Stone:
        return self

    async def start(self) -> None: ...

    async def stop(self, budget_s: float) -> None: ...


class Home:
    """A daemon's files, and the daemon that runs on them; servers never answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "phoned.toml"
        self.hidden: list[str] = []
        self.lamp, self.stone = Lamp(), Stone()
        self.dialer = FakeDialer(always=FlowError(Cause.REFUSED, "nobody there"))
        self.daemon: Daemon | None = None
        secret = path / "secret"
        secret.touch(mode=0o600)
        secret.write_text("of the file")
        self.write()

    def write(self, *tables: str, accounts: Iterable[str] = ("a",)) -> None:
        """The configuration file, with these accounts."""
        written = [
            f'[[accounts]]\nid = "{name}"\naor = "sip:{name}@example.org"\npassword_file = "secret"\n'
            'outbound_proxy = "wss://proxy.invalid/"\n'
            for name in accounts
        ]
        self.file.write_text("\n".join(['[phone]\nstate_dir = "state"\n', *tables, *written]))

    async def start(self) -> Daemon:
        plugins: dict[str, ServicePlugin] = {"lamp": self.lamp, "stone": self.stone, "twilio": TwilioService}
        models = {name: plugin.config_model for name, plugin in plugins.items()}
        environ = {"RUNTIME_DIRECTORY": str(self.path / "run"), "HOME": str(self.path)}
        loaded = await asyncio.to_thread(load_config, self.file, models=models, environ=environ)
        self.daemon = Daemon(loaded, plugins=plugins, dialer=self.dialer, hide=self.hidden.append)
        await self.daemon.start()
        return self.daemon

    async def again(self) -> Daemon:
        assert self.daemon is not None
        await self.daemon.stop()
        return await self.start()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    yield made
    if made.daemon is not None:
        await made.daemon.stop()


def names(daemon: Daemon) -> list[str]:
    return [account.id for account in daemon.phone.accounts()]


async def types(daemon: Daemon) -> list[str]:
    await daemon.bus.flush()
    return [event.type for event in await daemon.bus.log.after(0, 10_000) or []]


async def test_an_account_is_made_changed_and_deleted_and_outlives_the_process(home: Home) -> None:
    daemon = await home.start()
    view, created = await daemon.phone.put_account("b", MADE)
    assert (view.id, view.desired, created) == ("b", "registered", True)
    assert set(home.hidden) == {"of the file", PASSWORD}
    view, created = await daemon.phone.put_account("b", {**MADE, "profile": "pipe"})
    assert not created
    assert [type_ for type_ in await types(daemon) if type_ in ("account.added", "account.changed")] == [
        "account.added",
        "account.changed",
    ]
    daemon = await home.again()
    assert names(daemon) == ["a", "b"]
    assert daemon.phone.account("b").desired == "registered"
    settings = daemon.roster.wanted["b"]
    assert settings.password is not None
    assert (settings.password.text(), settings.config.profile) == (PASSWORD, "pipe")
    assert await daemon.phone.delete_account("b") is None
    assert (await types(daemon)).count("account.removed") == 1
    assert names(daemon) == ["a"]
    assert names(await home.again()) == ["a"]
    assert "b" not in json.loads((home.path / "state" / "identity.json").read_text())["accounts"]


async def test_a_password_stays_where_none_is_named_and_is_in_no_answer_and_no_listing(home: Home) -> None:
    daemon = await home.start()
    await daemon.phone.put_account("b", MADE)
    later = {name: value for name, value in MADE.items() if name != "password"}
    await daemon.phone.put_account("b", later)
    settings = daemon.roster.wanted["b"]
    assert settings.password is not None
    assert settings.password.text() == PASSWORD
    await daemon.phone.put_account("b", {**later, "password_file": str(home.path / "secret")})
    assert not list((home.path / "state" / "account-secrets").iterdir())
    await daemon.bus.flush()
    told = repr(await daemon.bus.log.after(0, 1000)) + repr(settings) + (home.path / "state" / FILE).read_text()
    assert PASSWORD not in told


async def test_the_account_for_twilios_api_is_taken_while_the_phone_runs_and_no_log_shows_its_token(home: Home) -> None:
    daemon = await home.start()
    token = home.path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef")
    home.write('[twilio]\naccount_sid = "AC1"\nauth_token_file = "token"\n')
    view = await daemon.phone.reload()
    assert view.applied == ("twilio.account_sid", "twilio.auth_token_file")
    assert view.restart_needed == ()
    await until(lambda: "0123456789abcdef" in home.hidden)


async def test_the_name_of_an_account_of_the_files_is_taken(home: Home) -> None:
    daemon = await home.start()
    calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: daemon.phone.put_account("a", MADE),
        lambda: daemon.phone.delete_account("a"),
    ]
    for call in calls:
        with pytest.raises(WrongState) as refusal:
            await call()
        assert f"{home.file}:" in refusal.value.detail
    with pytest.raises(NotFound):
        await daemon.phone.delete_account("c")
    with pytest.raises(InvalidValues):
        await daemon.phone.put_account("b", {})
    assert names(daemon) == ["a"]


async def test_a_disk_that_refuses_makes_no_account(home: Home) -> None:
    daemon = await home.start()
    (home.path / "state" / FILE).mkdir()
    with pytest.raises(StoreFailed):
        await daemon.phone.put_account("b", MADE)
    assert names(daemon) == ["a"]


async def test_an_account_whose_file_is_gone_waits_to_be_put_again_or_deleted(home: Home) -> None:
    own = home.path / "own"
    own.touch(mode=0o600)
    own.write_text("x")
    daemon = await home.start()
    await daemon.phone.put_account("b", {**MADE, "password": None, "password_file": str(own)} | {"password": None})
    own.unlink()
    daemon = await home.again()
    assert names(daemon) == ["a"]
    assert await daemon.phone.delete_account("b") is None
    with pytest.raises(NotFound):
        await daemon.phone.delete_account("b")


async def test_an_account_made_at_run_time_gives_way_to_one_of_its_name_in_the_files(home: Home) -> None:
    daemon = await home.start()
    await daemon.phone.put_account("b", MADE)
    await daemon.phone.put_account("c", {**MADE, "aor": "sip:c@example.org"})
    home.write(accounts=("a", "b"))
    view = await daemon.phone.reload()
    assert view.accounts.added == ("b",)
    assert "account b is in the configuration now" in view.warnings[-1]
    assert daemon.phone.account("b").outbound_proxy.primary == "wss://proxy.invalid/"
    home.write(accounts=("a", "b", "c"))
    daemon = await home.again()
    assert daemon.phone.account("c").outbound_proxy.primary == "wss://proxy.invalid/"
    assert json.loads((home.path / "state" / FILE).read_text())["accounts"] == {}


async def test_a_reload_takes_what_it_can_and_names_what_waits(home: Home) -> None:
    home.write("[lamp]\nsize = 1\n", accounts=("a", "b"))
    daemon = await home.start()
    home.write(
        '[lamp]\nsize = 2\ncolour = "blue"\n[stone]\n[dial]\ndeny = ["0900*"]\n[network]\nsource = "polling"\n',
        '[[incoming]]\naction = "reject"\n[auto_answer]\ncallers = ["*"]\n[transfer]\nallow_refer = true\n',
        accounts=("a", "c"),
    )
    (home.path / "secret").write_text("of today")
    view = await daemon.phone.reload()
    assert (view.accounts.added, view.accounts.changed, view.accounts.removed) == (("c",), ("a",), ("b",))
    assert set(view.applied) == {
        "dial.deny",
        "incoming",
        "auto_answer.callers",
        "transfer.allow_refer",
        "lamp.colour",
    }
    assert set(view.restart_needed) == {"network.source", "lamp.size", "stone"}
    assert home.lamp.colour == "blue"
    assert names(daemon) == ["a", "c"]
    assert "of today" in home.hidden
    again = await daemon.phone.reload()
    assert (again.applied, set(again.restart_needed)) == ((), {"network.source", "lamp.size", "stone"})
    assert (await types(daemon)).count("system.reloaded") == 2


async def test_nothing_changed_is_said_so(home: Home) -> None:
    daemon = await home.start()
    assert await daemon.phone.reload() == ReloadView()


async def test_a_service_that_breaks_over_its_configuration_keeps_the_old_one(home: Home) -> None:
    home.lamp = Lamp(breaks=True)
    daemon = await home.start()
    home.write('[lamp]\ncolour = "blue"\n')
    view = await daemon.phone.reload()
    assert (view.applied, view.restart_needed) == ((), ("lamp.colour",))


async def test_a_wrong_file_changes_nothing_and_is_told_whole(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    daemon = await home.start()
    home.write("[dial]\nalow = []\n[lamp]\nsize = []\n[transfer]\nallow_refer = 5\n", accounts=("a", "b"))
    with pytest.raises(ConfigError) as refusal:
        await daemon.phone.reload()
    assert {problem.key for problem in refusal.value.problems} == {
        "dial.alow",
        "lamp.size",
        "transfer.allow_refer",
    }
    assert f"{home.file}:5: dial.alow: unknown key: did you mean 'allow'?" in caplog.text
    assert names(daemon) == ["a"]
    assert "system.reloaded" not in await types(daemon)


async def test_a_phone_that_is_leaving_takes_no_configuration(home: Home) -> None:
    daemon = await home.start()
    await daemon.stop()
    with pytest.raises(Draining):
        await daemon.phone.reload()


async def test_changes_at_the_same_time_come_one_after_the_other(home: Home) -> None:
    daemon = await home.start()
    home.write(accounts=("a", "x"))
    puts = [daemon.phone.put_account(f"b{number}", {**MADE, "aor": f"sip:b{number}@x.org"}) for number in range(5)]
    await asyncio.gather(*puts, daemon.phone.reload(), daemon.phone.reload())
    assert set(names(daemon)) == {"a", "x", *(f"b{number}" for number in range(5))}
    await asyncio.gather(*(daemon.phone.delete_account(f"b{number}") for number in range(5)))
    assert set(names(daemon)) == {"a", "x"}


async def test_another_address_of_a_configured_account_is_another_account(home: Home) -> None:
    daemon = await home.start()
    home.file.write_text(home.file.read_text().replace("sip:a@", "sip:other@"))
    view = await daemon.phone.reload()
    assert view.accounts.changed == ("a",)
    assert daemon.phone.account("a").aor == "sip:other@example.org"
    await until(lambda: daemon.phone.account("a").state is not AccountState.OFF)


async def test_peace_lasts_over_a_restart(home: Home) -> None:
    daemon = await home.start()
    assert not daemon.phone.do_not_disturb()
    for _ in range(2):
        assert await daemon.phone.set_do_not_disturb(True)
    daemon = await home.again()
    assert daemon.phone.do_not_disturb()
    assert not await daemon.phone.set_do_not_disturb(False)
    daemon = await home.again()
    assert not daemon.phone.do_not_disturb()
    assert (await types(daemon)).count("system.do_not_disturb") == 2
