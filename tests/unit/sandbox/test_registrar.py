"""The exchange's gate: who may register, and where they are reached."""

from __future__ import annotations

import pytest

from phoned.sandbox.registrar import MOST_EXPIRES_S, Registrar, caller_of
from phoned.signaling import SystemRandom
from phoned.sip.auth import ChallengeOutcome, DigestClient
from phoned.sip.challenge import Challenge
from phoned.sip.headers import Headers
from phoned.sip.message import Request


def registrar() -> Registrar:
    return Registrar(domain="s.test", users={"alice": "pw"}, random=SystemRandom())


def request(
    method: str = "REGISTER", *, user: str = "alice", contact: str | None = "<sip:x@h.invalid>", **more: str
) -> Request:
    headers = Headers()
    headers.add("Via", "SIP/2.0/WS h.invalid;branch=z9hG4bKx")
    headers.add("From", f"<sip:{user}@s.test>;tag=f" if user else "nonsense <")
    headers.add("To", "<sip:alice@s.test>")
    headers.add("Call-ID", "c")
    headers.add("CSeq", f"1 {method}")
    if contact is not None:
        headers.add("Contact", contact)
    for name, value in more.items():
        headers.add(name, value)
    return Request(method=method, uri="sip:s.test", headers=headers, body=b"")


def test_a_binding_lasts_as_long_as_was_granted() -> None:
    gate = registrar()
    answer = gate.register(request(Expires="60"), 7, 0.0)
    assert answer.status == 200
    assert answer.headers.get("Contact") == "<sip:x@h.invalid>;expires=60"
    binding = gate.binding("alice", 59)
    assert binding is not None
    assert (binding.flow, binding.contact) == (7, "sip:x@h.invalid")
    assert gate.binding("alice", 60) is None
    assert gate.binding("alice", 0) is None


def test_too_short_is_refused_with_the_least_and_too_long_is_cut() -> None:
    gate = registrar()
    answer = gate.register(request(contact="<sip:x@h.invalid>;expires=5"), 1, 0.0)
    assert (answer.status, answer.headers.get("Min-Expires")) == (423, "10")
    gate.register(request(contact='<sip:x@h.invalid>;+sip.instance="<urn:uuid:1>";expires=999999'), 1, 0.0)
    binding = gate.binding("alice", 0)
    assert binding is not None
    assert binding.expires_at == MOST_EXPIRES_S


@pytest.mark.parametrize("contact", ["<sip:x@h.invalid>;expires=0", "*"])
def test_a_binding_is_removed(contact: str) -> None:
    gate = registrar()
    gate.register(request(), 1, 0.0)
    assert gate.register(request(contact=contact, Expires="0"), 1, 0.0).status == 200
    assert gate.binding("alice", 0) is None


def test_a_socket_takes_its_bindings_along() -> None:
    gate = registrar()
    gate.register(request(), 1, 0.0)
    gate.forget_flow(2)
    assert gate.binding("alice", 0) is not None
    gate.forget_flow(1)
    assert gate.binding("alice", 0) is None


def test_a_fetch_tells_the_binding() -> None:
    gate = registrar()
    gate.register(request(), 1, 0.0)
    answer = gate.register(request(contact=None), 1, 0.0)
    assert answer.headers.get("Contact") == "<sip:x@h.invalid>;expires=300"


@pytest.mark.parametrize(
    ("contact", "status"), [("<sip:a@x>, <sip:b@x>", 403), ("<<", 400), ("<sip:a@x>;expires=junk", 200)]
)
def test_a_contact_that_is_none_is_answered(contact: str, status: int) -> None:
    assert registrar().register(request(contact=contact), 1, 0.0).status == status


def test_a_stranger_is_forbidden_and_a_user_is_challenged() -> None:
    gate = registrar()
    assert gate.knows("alice")
    for user in ("mallory", ""):
        answer = gate.challenge(request(user=user), 0.0)
        assert answer is not None
        assert answer.status == 403
    answer = gate.challenge(request(), 0.0)
    assert answer is not None
    assert answer.status == 401
    assert len(answer.headers.all("WWW-Authenticate")) >= 1
    answer = gate.challenge(request("INVITE"), 0.0)
    assert answer is not None
    assert (answer.status, "Proxy-Authenticate" in answer.headers) == (407, True)
    answer = gate.challenge(request(Authorization='Digest username="open'), 0.0)
    assert answer is not None
    assert answer.status == 400


def test_a_caller_is_the_user_of_from() -> None:
    assert caller_of(request()) == "alice"
    assert caller_of(request(user="")) is None


def authorised(gate: Registrar, password: str, *, now: float = 0.0) -> Request:
    """A REGISTER that answers the gate's challenge."""
    challenge = gate.challenge(request(), now)
    assert challenge is not None
    client = DigestClient(username="alice", password=password, realm="s.test", random=SystemRandom())
    offered = [Challenge.parse(value) for value in challenge.headers.all("WWW-Authenticate")]
    assert client.consider(offered) is ChallengeOutcome.ANSWER
    return request(Authorization=client.authorization("REGISTER", "sip:s.test"))


def test_the_right_password_passes_and_the_wrong_one_does_not() -> None:
    gate = registrar()
    assert gate.challenge(authorised(gate, "pw"), 1.0) is None
    answer = gate.challenge(authorised(gate, "wrong"), 1.0)
    assert answer is not None
    assert answer.status == 403


def test_an_old_nonce_is_stale_and_not_wrong() -> None:
    gate = registrar()
    answer = gate.challenge(authorised(gate, "pw"), 1e6)
    assert answer is not None
    assert answer.status == 401
    assert "stale=true" in (answer.headers.get("WWW-Authenticate") or "").lower()


def test_only_the_contact_that_is_named_is_removed() -> None:
    gate = registrar()
    gate.register(request(), 1, 0.0)
    answer = gate.register(request(contact="<sip:other@h.invalid>;expires=0"), 2, 0.0)
    assert answer.status == 200
    assert gate.binding("alice", 0) is not None


def test_a_question_changes_nothing_and_is_answered_with_the_binding() -> None:
    gate = registrar()
    gate.register(request(), 1, 0.0)
    answer = gate.register(request(contact=None), 2, 0.0)
    assert (answer.headers.get("Contact") or "").startswith("<sip:x@h.invalid>")
    binding = gate.binding("alice", 0)
    assert binding is not None
    assert binding.flow == 1
