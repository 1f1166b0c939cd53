"""RFC 4475 against a whole user agent, in each dialog state: what it answers, and that it answers the next one at once.

The RFC's own messages are collected where their folder is; those of our own, one for each class, always.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from phoned.sip.account import AccountParameters, Limits
from phoned.sip.events import Ended, IncomingCall
from phoned.sip.message import Response
from tests.scenario.sip.test_requests import send
from tests.support.sip_network import Phone, SipNetwork

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "rfc4475"
CALL, NOTHING = "call", "nothing"
"""An INVITE that is taken (100, and an event); bytes that get no answer."""

RFC_4475: dict[str, set[int | str]] = {
    "wsinv.dat": {481}, "intmeth.dat": {501}, "esc01.dat": {CALL}, "escnull.dat": {405}, "esc02.dat": {501},
    "lwsdisp.dat": {200}, "longreq.dat": {CALL}, "dblreq.dat": {405}, "semiuri.dat": {200}, "transports.dat": {200},
    "mpart01.dat": {200, 202, 405, 415}, "unreason.dat": {NOTHING}, "noreason.dat": {NOTHING}, "badinv01.dat": {400},
    "clerr.dat": {400}, "ncl.dat": {400}, "scalar02.dat": {400}, "scalarlg.dat": {NOTHING}, "quotbal.dat": {400},
    "ltgtruri.dat": {400, CALL}, "lwsruri.dat": {400}, "lwsstart.dat": {400, CALL}, "trws.dat": {400, 200},
    "escruri.dat": {400, CALL}, "baddate.dat": {400, CALL}, "regbadct.dat": {400, 405}, "badaspec.dat": {400, 200},
    "baddn.dat": {400, 200}, "badvers.dat": {505}, "mismatch01.dat": {400}, "mismatch02.dat": {501, 400},
    "bigcode.dat": {NOTHING}, "badbranch.dat": {400, 200}, "insuf.dat": {400, NOTHING}, "unkscm.dat": {416},
    "novelsc.dat": {416, 404}, "unksm2.dat": {400, 405}, "bext01.dat": {420}, "invut.dat": {415}, "regaut01.dat": {405},
    "multi01.dat": {400}, "mcl01.dat": {400}, "bcast.dat": {NOTHING}, "zeromf.dat": {200}, "cparam01.dat": {405},
    "cparam02.dat": {405}, "regescrt.dat": {405}, "sdp01.dat": {406, 400}, "inv2543.dat": {CALL},
    "test.dat": {400, NOTHING},
}  # fmt: skip


def _alone(network: SipNetwork) -> Phone:
    return _pair(network)[1]


def _early(network: SipNetwork) -> Phone:
    alice, bob = _pair(network)
    alice.call()
    network.run()
    bob.ring()
    return bob


def _confirmed(network: SipNetwork) -> Phone:
    alice, bob = _pair(network)
    bob.auto_answer = True
    alice.call()
    network.run()
    bob.auto_answer = False
    return bob


def _calling(network: SipNetwork) -> Phone:
    _, bob = _pair(network)
    bob.call()
    network.run()
    return bob


def _pair(network: SipNetwork) -> tuple[Phone, Phone]:
    parameters = AccountParameters(
        aor="sip:bob@example.com", contact_user="bob", allow_unregistered_incoming=True, answers_for_all=True
    )
    return network.pair(parameters=parameters, limits=Limits(new_requests_burst=1000))


STATES = pytest.mark.parametrize("state", [_alone, _early, _confirmed, _calling])


def outcome(network: SipNetwork, phone: Phone, data: bytes) -> int | str:
    """What the phone makes of the bytes; it must answer a valid request at once, and its call must be as before."""
    calls, ends, sent = len(phone.all(IncomingCall)), len(phone.all(Ended)), len(phone.sent)
    phone.take(phone.ua.receive(phone.flows[0], data, network.now))
    responses = [message.status for message in phone.sent[sent:] if isinstance(message, Response)]
    assert send(network, phone, "OPTIONS").status == 200
    assert len(phone.all(Ended)) == ends
    assert phone.ua.counters.internal_errors == 0
    if len(phone.all(IncomingCall)) > calls:
        assert responses in ([100], [])
        return CALL
    finals = [status for status in responses if status >= 200]
    assert len(finals) <= 1
    return finals[0] if finals else NOTHING


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the messages of RFC 4475 are not in {DATA}")
@STATES
@pytest.mark.parametrize("name", sorted(RFC_4475))
def test_rfc_4475(name: str, state: Callable[[SipNetwork], Phone]) -> None:
    network = SipNetwork()
    phone = state(network)
    assert outcome(network, phone, (DATA / name).read_bytes()) in RFC_4475[name]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the messages of RFC 4475 are not in {DATA}")
def test_every_message_of_the_rfc_is_here() -> None:
    assert {path.name for path in DATA.glob("*.dat")} == set(RFC_4475)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the messages of RFC 4475 are not in {DATA}")
@STATES
def test_wsinv_is_a_call_once_it_does_not_claim_to_be_in_a_dialog(state: Callable[[SipNetwork], Phone]) -> None:
    # it has a To tag: RFC 3261 12.2.2 lets a user agent that knows no such dialog answer 481
    network = SipNetwork()
    phone = state(network)
    data = (DATA / "wsinv.dat").read_bytes().replace(b" ;   tag    = 1918181833n", b"")
    assert outcome(network, phone, data) == CALL


HEAD = (
    "Via: SIP/2.0/WS a.invalid;branch=z9hG4bKown\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n"
    "Call-ID: own\r\nMax-Forwards: 70\r\n"
)
OWN: dict[str, tuple[bytes, set[int | str]]] = {
    "folded and compact": (
        b"INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/WS\r\n a.invalid;branch=z9hG4bKfold\r\n"
        b"f: <sip:a@b>;tag=1\r\nt: <sip:bob@example.com>\r\ni: x\r\nm: <sip:a@a.invalid>\r\n"
        b"CSeq: 1\r\n INVITE\r\nl: 0\r\n\r\n",
        {CALL},
    ),
    "no final line end": (
        f"OPTIONS sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS".encode(),
        {400, NOTHING, 200},
    ),
    "negative length": (
        f"OPTIONS sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\nContent-Length: -5\r\n\r\n".encode(),
        {400},
    ),
    "method mismatch": (f"OPTIONS sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n".encode(), {400}),
    "unknown method": (f"WINK sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 WINK\r\n\r\n".encode(), {501}),
    "unknown scheme": (f"OPTIONS mailto:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\n\r\n".encode(), {416}),
    "version": (f"OPTIONS sip:bob@example.com SIP/7.0\r\n{HEAD}CSeq: 1 OPTIONS\r\n\r\n".encode(), {505}),
    "stray response": (f"SIP/2.0 200 OK\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n".encode(), {NOTHING}),
    "stray ack": (f"ACK sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 ACK\r\n\r\n".encode(), {NOTHING}),
    "status 999": (f"SIP/2.0 999 What\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n".encode(), {NOTHING}),
    "broken session-expires": (
        f"INVITE sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\nContact: <sip:a@a.invalid>\r\n"
        "Session-Expires: soon\r\n\r\n".encode(),
        {400},
    ),
    "broken min-se": (
        f"INVITE sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\nContact: <sip:a@a.invalid>\r\n"
        "Min-SE: soon\r\n\r\n".encode(),
        {400},
    ),
    "broken content-type": (
        f"INVITE sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\nContact: <sip:a@a.invalid>\r\n"
        "Content-Type: ;\r\nContent-Length: 1\r\n\r\nx".encode(),
        {400, 415},
    ),
    "binary": (bytes(range(256)), {NOTHING}),
    "too large": (b"OPTIONS sip:bob@example.com SIP/2.0\r\nX: " + b"a" * 70_000, {513, NOTHING}),
    "too many header fields": (
        f"OPTIONS sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\n{'X: y' + chr(13) + chr(10)}".encode() * 200,
        {400, 513, NOTHING},
    ),
    "22,000 parameters": (
        f"OPTIONS sip:bob@example.com SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\nAuthorization: Digest ".encode()
        + b"a=b," * 2000
        + b"\r\n\r\n",
        {200, 400, 513, NOTHING},
    ),
}


@STATES
@pytest.mark.parametrize("name", sorted(OWN))
def test_messages_of_our_own(name: str, state: Callable[[SipNetwork], Phone]) -> None:
    network = SipNetwork()
    phone = state(network)
    data, allowed = OWN[name]
    assert outcome(network, phone, data) in allowed


@pytest.mark.parametrize("state", [_early, _confirmed, _calling])
def test_any_cut_and_any_flipped_byte_of_a_dialog_s_own_messages(state: Callable[[SipNetwork], Phone]) -> None:
    network = SipNetwork()
    phone = state(network)
    heard = list(network.heard[phone.name])
    for data in heard[-3:]:
        for at in range(0, len(data), 7):
            for mutant in (data[:at], data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]):
                phone.take(phone.ua.receive(phone.flows[0], mutant, network.now))
    assert phone.ua.counters.internal_errors == 0
    assert send(network, phone, "OPTIONS", branch="afterwards").status == 200
