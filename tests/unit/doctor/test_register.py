"""What the doctor makes of a registrar's answers, without a network."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from phoned.config.accounts import AccountConfig
from phoned.config.types import Secret
from phoned.doctor.chain import Chain
from phoned.doctor.clock import Evidence
from phoned.doctor.register import Registrar
from phoned.model import Cause, CheckView
from phoned.sip.message import Request, parse, response_to, serialise
from phoned.tasks import Tasks
from phoned.transport.flow import Address, TransportName
from tests.support.calls import virtual

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Wire:
    """A flow whose far end gives these answers to the REGISTERs, one each: a status, or None for silence."""

    generation = 1
    transport: TransportName = "WS"
    local = Address("192.0.2.9", 4711)
    remote = Address("192.0.2.1", 443)
    last_received = 0.0
    is_open = True

    def __init__(self, registrar: Registrar, *answers: int | None) -> None:
        self._registrar = registrar
        self._answers = list(answers)
        self.requests: list[Request] = []

    def send(self, data: bytes) -> bool:
        request = parse(data)
        assert isinstance(request, Request)
        self.requests.append(request)
        status = self._answers.pop(0)
        if status is not None:
            response = response_to(request, status, to_tag="t")
            response.headers.add("Date", "Sat, 21 Nov 2026 11:59:00 GMT")
            if status == 200 and request.headers.get("Contact") is not None:
                response.headers.add("Contact", request.headers.get("Contact") or "")
            answers.spawn("answer", self._later(serialise(response)))
        return True

    async def _later(self, data: bytes) -> None:
        self._registrar.on_message(self, data)

    async def ping(self, timeout_s: float) -> float:
        return 0.0

    def set_user_timeout(self, seconds: float) -> None: ...

    def close(self) -> None: ...

    def abort(self, cause: Cause = Cause.CLOSED, detail: str = "aborted") -> None: ...


def crashed(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


answers = Tasks("answers", crashed)


async def talked(
    *answers: int | None, password: bool = True, aor: str = "sip:alice@example.org", contact: str = "invalid"
) -> tuple[CheckView, Wire, Evidence]:
    account = AccountConfig(
        id="a",
        aor=aor,
        outbound_proxy="wss://e/",
        contact_host=contact,
    )
    evidence = Evidence(clock=lambda: NOW)
    registrar = Registrar(account, Secret(b"pw") if password else None, evidence=evidence, server="e")
    wire = Wire(registrar, *answers)
    chain = Chain("register")
    await registrar.talk(chain, wire, may_bind=True, own=None)
    registrar.close()
    [check] = chain.checks
    return check, wire, evidence


@virtual
async def test_it_asks_then_binds_under_an_identity_of_its_own_and_removes_that_alone() -> None:
    check, wire, evidence = await talked(200, 200, 200, contact="local_ip")
    assert check.detail == "user and password are good; registered for 60 s and removed"
    ask, bind, remove = wire.requests
    assert ask.headers.get("Contact") is None
    assert "192.0.2.9:4711" in (bind.headers.get("Contact") or "")
    assert bind.headers.get("Expires") == "60"
    assert "expires=0" in (remove.headers.get("Contact") or "")
    assert (remove.headers.get("Contact") or "").split(";")[0] == (bind.headers.get("Contact") or "").split(";")[0]
    assert ask.headers.get("Call-ID") != bind.headers.get("Call-ID") == remove.headers.get("Call-ID")
    assert (bind.headers.get("User-Agent") or "").startswith("phoned-doctor/")
    assert {told.ahead_s for told in evidence.told} == {60.0}


@virtual
async def test_a_removal_without_an_answer_is_told() -> None:
    check, _, _ = await talked(200, 200, None)
    assert check.ok
    assert "not removed, which ends by itself within 60 s" in check.detail


@pytest.mark.parametrize(
    ("answers", "said"), [((None,), "within 5 s"), ((200, None), "within 5 s"), ((404,), "404"), ((200, 503), "503")]
)
@virtual
async def test_a_refusal_or_silence_is_what_is_broken(answers: tuple[int | None, ...], said: str) -> None:
    check, _, _ = await talked(*answers)
    assert check.ok is False
    assert said in check.detail


@virtual
async def test_a_server_that_wants_no_password() -> None:
    check, _, _ = await talked(200, 200, 200, password=False)
    assert check.detail.startswith("the server wants no password; ")


@virtual
async def test_an_address_that_the_core_does_not_take() -> None:
    check, wire, _ = await talked(aor="sip:alice@[nonsense")
    assert check.ok is False
    assert check.fix == "check aor and auth_username"
    assert wire.requests == []


@virtual
async def test_what_is_no_message_is_no_evidence() -> None:
    _, wire, evidence = await talked(200, 200, 200)
    told = len(evidence.told)
    wire._registrar.on_message(wire, b"nonsense")
    wire._registrar.on_closed(wire, Cause.CLOSED, "")
    assert len(evidence.told) == told
