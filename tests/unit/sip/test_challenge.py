"""The grammar of challenges and credentials: tolerant, complete, and linear."""

from __future__ import annotations

from contextlib import suppress

import pytest

from phoned.errors import MalformedMessage
from phoned.sip.challenge import Challenge, Credentials, challenges, parse_challenges
from phoned.sip.message import Headers, Response
from tests.support.cost import cost_s


def test_digest_challenge_is_read() -> None:
    challenge = Challenge.parse(
        'Digest realm="a, \\"b\\"", Nonce = "n,1==", qop="auth , Auth-int", algorithm=sha-256, stale=TRUE, opaque=""'
    )
    assert challenge.is_digest
    assert (challenge.realm, challenge.nonce, challenge.opaque) == ('a, "b"', "n,1==", "")
    assert (challenge.qop, challenge.algorithm, challenge.stale) == (("auth", "auth-int"), "SHA-256", True)


def test_what_is_not_said_has_its_default() -> None:
    challenge = Challenge.parse('digest realm="r",nonce=bm9uY2U==')
    assert (challenge.algorithm, challenge.qop, challenge.stale, challenge.opaque) == ("MD5", (), False, None)
    assert challenge.nonce == "bm9uY2U=="


@pytest.mark.parametrize(
    "text", ["Digest", 'Digest realm="r"', 'Digest nonce="n"', 'Digest realm="r",nonce=""', "NTLM"]
)
def test_challenge_without_realm_or_nonce_cannot_be_answered(text: str) -> None:
    challenge = Challenge.parse(text)
    assert not challenge.is_digest
    assert challenge.realm in ("", "r")
    assert challenge.nonce in ("", "n")


def test_several_challenges_share_a_line() -> None:
    found = parse_challenges(
        ', Digest realm="a", nonce="1", algorithm=SHA-256,Digest realm="a",nonce="2",, Negotiate YWI=, NTLM, '
        "Basic realm=x, Odd , New p=1"
    )
    assert [(one.scheme, one.token68, one.parameters) for one in found] == [
        ("Digest", "", (("realm", "a"), ("nonce", "1"), ("algorithm", "SHA-256"))),
        ("Digest", "", (("realm", "a"), ("nonce", "2"))),
        ("Negotiate", "YWI=", ()),
        ("NTLM", "", ()),
        ("Basic", "", (("realm", "x"),)),
        ("Odd", "", ()),
        ("New", "", (("p", "1"),)),
    ]


def test_missing_commas_are_borne() -> None:
    assert Challenge.parse('Digest realm="a" nonce="b"').nonce == "b"
    assert parse_challenges("") == []


@pytest.mark.parametrize(
    "text",
    [
        'realm="a"', 'Digest realm="a', 'Digest realm="a\\"', 'Digest realm="a", realm="b"', 'Digest "a"',
        "Digest a=1, (=2", "=", 'Digest a="b"!(c', ",".join(f"S{i}" for i in range(17)),
    ],
)  # fmt: skip
def test_malformed_challenge_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_challenges(text)


@pytest.mark.parametrize("text", ["", "NTLM, Negotiate"])
def test_one_challenge_is_neither_none_nor_two(text: str) -> None:
    with pytest.raises(MalformedMessage):
        Challenge.parse(text)


@pytest.mark.parametrize("count", [22, 60, 22_000])
@pytest.mark.parametrize("end", ["", "!", '"', "\\", ',p="'])
@pytest.mark.parametrize("start", ["Digest ", "", "Digest realm=", "Basic "])
def test_many_parameters_cost_linear_time(count: int, start: str, end: str) -> None:
    text = start + ", ".join(f'p{i}="v,\\"{i}"' for i in range(count)) + end

    def read() -> None:
        with suppress(MalformedMessage):  # refused is as good as read
            parse_challenges(text)

    assert cost_s(read) < 0.05


def test_a_broken_line_does_not_hide_a_good_one() -> None:
    response = Response(
        401, "Unauthorized", Headers([("WWW-Authenticate", 'Digest realm="'), ("WWW-Authenticate", "NTLM, Negotiate")])
    )
    assert [one.scheme for one in challenges(response, "WWW-Authenticate")] == ["NTLM", "Negotiate"]
    assert challenges(response, "Proxy-Authenticate") == []


def test_credentials_hide_what_they_hold() -> None:
    credentials = Credentials.parse('Digest username="bob", response="canary"')
    assert (credentials.get("username"), credentials.get("response"), credentials.get("nc")) == ("bob", "canary", None)
    assert repr(credentials) == "Credentials(scheme='Digest')"
    assert Credentials.parse("Basic Y2FuYXJ5").token68 == "Y2FuYXJ5"
