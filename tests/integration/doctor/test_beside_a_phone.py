"""The doctor beside a phone, and inside one: the phone stays registered, is called, and calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from phoned.config.load import load_config
from phoned.daemon import Daemon
from phoned.doctor.examination import examine
from phoned.doctor.parts import Patient
from phoned.doctor.resident import Resident
from phoned.doctor.surroundings import Surroundings
from phoned.errors import WrongState
from phoned.model import AccountState, CallRequest, CallState, Cause, DoctorView, LastError
from phoned.store.lock import StateLock
from phoned.tasks import Tasks
from tests.support.clinic import found, only_broken
from tests.support.phones import Phones, Watch


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Phones]:
    async with Phones(tmp_path) as running:
        yield running


async def examined(home: Path, around: Surroundings | None = None) -> DoctorView:
    environ = {"RUNTIME_DIRECTORY": str(home / "run"), "HOME": str(home)}
    return await examine(lambda: load_config(home / "phoned.toml", environ=environ), around=around)


async def is_called(phones: Phones, caller: Daemon, callee: Daemon, heard: Watch) -> None:
    placed = await caller.phone.place_call(CallRequest(account="bob", to="alice"))
    incoming = await heard.until("call.incoming")
    await callee.phone.answer(incoming.data["call"].id)
    assert (await callee.phone.hangup(incoming.data["call"].id)).state is CallState.ENDED
    await asyncio.sleep(0)
    assert caller.phone.call(placed.id)


async def test_a_phone_at_the_same_address_stays_registered_and_is_called(phones: Phones, tmp_path: Path) -> None:
    alice, watch = await phones.online()
    bob, _ = await phones.online("bob")
    before = phones.exchange.exchange.binding("alice")
    doctoring = Tasks("test", lambda name, error: None)
    examination = doctoring.spawn("doctor", examined(tmp_path / "alice"))
    for _ in range(3):  # before, while and after
        await is_called(phones, bob, alice, watch)
    view = await examination
    await is_called(phones, bob, alice, watch)
    after = phones.exchange.exchange.binding("alice")
    assert view.ok
    assert "1 registered at sip:alice@sandbox.test, left alone" in found(view, "register").detail
    assert before is not None
    assert after is not None
    assert (after.flow, after.contact) == (before.flow, before.contact)
    await alice.phone.drain(True)
    await watch.until("system.draining")
    assert not {"account.reconnecting", "account.registration_failed"} & set(watch.types())


async def test_nothing_is_bound_while_a_phone_runs_here_even_where_the_registrar_holds_nothing(
    phones: Phones, tmp_path: Path
) -> None:
    alice, _ = await phones.online()
    await alice.stop()  # its configuration stays
    state = tmp_path / "alice" / "state"
    with StateLock(state):
        view = await examined(tmp_path / "alice")
    assert view.ok
    assert "nothing was registered, because a phone runs here" in found(view, "register").detail
    bound = await examined(tmp_path / "alice", replace(Surroundings(), phone_runs=lambda state_dir: False))
    assert "registered for 60 s and removed" in found(bound, "register").detail
    assert phones.exchange.exchange.binding("alice") is None


async def test_the_phone_examines_itself_one_at_a_time(phones: Phones) -> None:
    alice, _ = await phones.online()
    before = alice.phone.status().event_seq
    tasks = Tasks("test", lambda name, error: None)
    first = tasks.spawn("first", alice.phone.doctor())
    await asyncio.sleep(0)
    with pytest.raises(WrongState, match="an examination runs already"):
        await alice.phone.doctor()
    view = await first
    assert view.ok, view
    assert (await alice.phone.doctor()).ok
    await alice.bus.flush()
    assert alice.phone.status().event_seq == before  # nothing happened to the phone


async def test_the_phone_looks_at_what_it_goes_by_and_at_the_file_too(phones: Phones, tmp_path: Path) -> None:
    alice, _ = await phones.online()
    config = tmp_path / "alice" / "phoned.toml"
    await asyncio.to_thread(config.write_text, "[phone]\nstate_dri = 1\n")
    view = await alice.phone.doctor()
    assert only_broken(view).name == "configuration"
    assert found(view, "register").ok  # with what is in force


async def test_an_account_that_was_made_at_run_time_is_looked_at_too(phones: Phones) -> None:
    alice, _ = await phones.online()
    document = {"aor": "sip:bob@sandbox.test", "outbound_proxy": phones.url, "password": "wrong-one"}
    await alice.phone.put_account("second", document)
    failed = [check for check in (await alice.phone.doctor()).checks if check.ok is False]
    assert [(check.name, check.account) for check in failed] == [("register", "second")]
    assert "wrong-one" not in str(failed)


async def test_the_phone_tells_when_its_own_account_is_not_online(phones: Phones, tmp_path: Path) -> None:
    alice, _ = await phones.online()
    error = LastError(cause=Cause.TIMEOUT, sip_code=None, detail="no pong")
    view = alice.phone.account("alice")
    registration = replace(view.registration, last_error=error)
    offline = replace(view, state=AccountState.BACKOFF, registration=registration)
    environ = {"RUNTIME_DIRECTORY": str(tmp_path / "run"), "HOME": str(tmp_path)}
    loaded = await asyncio.to_thread(load_config, tmp_path / "alice" / "phoned.toml", environ=environ)
    resident = Resident(lambda: loaded, lambda: Patient.of(loaded), {"alice": offline}.get)
    check = only_broken(await resident.examine())
    assert check.name == "register"
    assert check.detail.endswith("but the running phone's account is backoff: timeout no pong")
    assert "phonectl retry alice" in (check.fix or "")


async def test_a_backup_proxy_is_looked_at_too(phones: Phones, tmp_path: Path) -> None:
    _, _ = await phones.online(account='outbound_proxy_backup = "ws://127.0.0.1:9/"')
    check = only_broken(await examined(tmp_path / "alice"))
    assert (check.name, check.account, check.proxy) == ("tcp", "alice", "backup")
