"""An account that is changed while it lives: other credentials, another behaviour, and nothing that is up is lost."""

from __future__ import annotations

import dataclasses

import pytest

from phoned.errors import InvalidValue, NotFound
from phoned.sip.accessors import cseq
from phoned.sip.account import AccountParameters
from phoned.sip.events import Answered, Ended, Modified, ModifyCause, ModifyRefused, Registered, RegistrationFailed
from phoned.sip.message import Request, Response
from tests.support.sip_network import Phone, SipNetwork
from tests.support.sip_server import Answer, Challenger, Server, registered
from tests.support.sip_server import accept_all as accept

PARAMETERS = AccountParameters(aor="sip:alice@example.com", secret="pw", instance_id="urn:uuid:1-2-3-4-5")


class World:
    """Alice at a registrar that knows one password; what is said inside a dialog is challenged, too."""

    def __init__(self, **changes: object) -> None:
        self.parameters = dataclasses.replace(PARAMETERS, **changes)  # type: ignore[arg-type]  # fields
        self.network = SipNetwork()
        self.alice = self.network.phone("alice", parameters=self.parameters)
        self.asks(password="pw")
        self.server = Server(self.network, self.alice, lambda request: self._answer(request))
        self.register()

    def asks(self, *, password: str, realm: str = "example.com") -> None:
        registrar = Challenger(registered, status=401, password=password, realm=realm)
        proxy = Challenger(accept, status=407, password=password, realm=realm)

        def answer(request: Request) -> Response | None:
            return (registrar if request.method == "REGISTER" else proxy)(request)

        self._answer: Answer = answer

    def change(self, **changes: object) -> None:
        self.parameters = dataclasses.replace(self.parameters, **changes)  # type: ignore[arg-type]  # fields
        self.alice.ua.change_account("alice", self.parameters)

    def register(self) -> Request:
        self.alice.take(self.alice.ua.register("alice", self.server.flow, self.network.now))
        self.network.run()
        return self.server.requests("REGISTER")[-1]

    def call(self) -> None:
        self.alice.call()
        self.network.run()
        self.alice.one(Answered)

    def reinvite(self) -> None:
        self.alice.reinvite(ModifyCause.HOLD)
        self.network.run()


def answered(phone: Phone) -> tuple[int, int]:
    return len(phone.all(Modified)), len(phone.all(ModifyRefused))


def test_a_new_password_serves_the_next_register_and_the_call_that_is_up() -> None:
    world = World()
    world.call()
    before = world.server.requests("REGISTER")[-1]
    world.asks(password="new")
    world.change(secret="new")
    assert world.server.requests("REGISTER")[-1] is before  # it says nothing by itself
    world.reinvite()
    assert answered(world.alice) == (1, 0)
    after = world.register()
    assert len(world.alice.all(Registered)) == 2
    for name in ("Call-ID", "Contact"):
        assert after.headers.get(name) == before.headers.get(name)
    assert cseq(after).number > cseq(before).number
    world.alice.hangup()
    world.network.drain()
    assert world.alice.all(RegistrationFailed) == []


def test_new_credentials_are_for_the_realm_that_had_the_old_ones() -> None:
    world = World()
    world.asks(password="new", realm="thief")
    world.change(secret="new")
    sent = world.register()
    assert world.alice.one(RegistrationFailed).cause == "foreign_realm"
    assert "Authorization" not in sent.headers


def test_another_user_name_and_another_expiry_are_said_next() -> None:
    world = World()
    world.change(auth_username="alice", expires_s=600)
    assert world.register().headers.get("Expires") == "600"


def test_an_account_that_loses_its_password_answers_no_challenge() -> None:
    world = World()
    world.change(secret=None)
    world.register()
    assert world.alice.one(RegistrationFailed).cause == "auth"


def test_the_policy_for_challenges_inside_dialogs_changes_for_a_call_that_is_up() -> None:
    world = World()
    world.call()
    world.asks(password="new")  # what was proven before does not pass any more
    world.change(secret="new", in_dialog_auth="never")
    world.reinvite()
    assert answered(world.alice) == (0, 1)
    world.change(in_dialog_auth="407")
    world.reinvite()
    assert answered(world.alice) == (1, 1)
    world.alice.hangup()
    world.network.run()
    world.alice.one(Ended)


def test_another_kind_of_contact_is_bound_next() -> None:
    world = World()
    invalid = world.server.requests("REGISTER")[-1].headers.get("Contact") or ""
    world.change(contact_host="192.0.2.7")
    assert "@192.0.2.7;" in (world.register().headers.get("Contact") or "")
    world.change(contact_host=None)
    assert world.register().headers.get("Contact") == invalid


def test_another_address_of_record_is_another_account() -> None:
    world = World()
    with pytest.raises(InvalidValue):
        world.change(aor="sip:bob@example.com")
    with pytest.raises(NotFound):
        world.alice.ua.change_account("bob", PARAMETERS)
    world.register()
    assert len(world.alice.all(Registered)) == 2
