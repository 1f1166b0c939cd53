"""Digest authentication: the RFC's own figures, both sides against each other, nonces, refusals."""

from __future__ import annotations

import pytest

from phoned.errors import InvalidValue, WrongState
from phoned.sip.auth import ChallengeOutcome, DigestClient, DigestServer, Verdict
from phoned.sip.challenge import Challenge, Credentials
from phoned.sip.digest import DigestInput, rank


class _Counter:
    """Predictable words."""

    def __init__(self) -> None:
        self.count = 0

    def token(self) -> str:
        self.count += 1
        return f"word{self.count}"


def _client(password: str = "canary", *, realm: str = "r") -> DigestClient:
    return DigestClient(username="bob", password=password, realm=realm, random=_Counter())


def _challenge(text: str) -> list[Challenge]:
    return [Challenge.parse(f"Digest {text}")]


def _verify(
    server: DigestServer,
    line: str,
    *,
    method: str = "REGISTER",
    uri: str = "sip:r",
    body: bytes = b"",
    now: float = 0.0,
) -> Verdict:
    credentials = Credentials.parse(line)
    return server.verify(credentials, method, uri, body, username="bob", password="canary", now=now)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_response_of_rfc_7616_3_9_1(algorithm: str, response: str) -> None:
    terms = DigestInput(
        algorithm=algorithm,
        username="Mufasa",
        realm="http-auth@example.org",
        password="Circle of Life",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        method="GET",
        uri="/dir/index.html",
        qop="auth",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert terms.response() == response
    assert "Circle" not in repr(terms)


def test_response_of_rfc_2069_form() -> None:
    # RFC 2069 2.4 with its erratum 749
    terms = DigestInput(
        algorithm="MD5",
        username="Mufasa",
        realm="testrealm@host.com",
        password="CircleOfLife",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        method="GET",
        uri="/dir/index.html",
    )
    assert terms.response() == "1949323746fe6a43ef61f9606e7febea"


def test_order_of_preference() -> None:
    names = ["MD5", "SHA-256", "SHA-512-256-sess", "sha-512-256", "md5-sess"]
    assert [rank(name) for name in names] == [2, 1, 0, 0, 2]
    assert rank("SHA-1") is None


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"])
def test_both_sides_agree(algorithm: str, qop: str) -> None:
    server = DigestServer(realm="r", random=_Counter(), algorithms=(algorithm,), qop=(qop,))
    client = _client()
    assert client.consider([Challenge.parse(line) for line in server.challenge(0.0)]) is ChallengeOutcome.ANSWER
    line = client.authorization("REGISTER", "sip:r", b"body")
    assert _verify(server, line, body=b"body") is Verdict.OK
    line = client.authorization("REGISTER", "sip:r", b"body")
    assert "nc=00000002" in line
    assert _verify(server, line, body=b"other") is (Verdict.OK if qop == "auth" else Verdict.WRONG)


def test_best_algorithm_of_our_realm_is_taken() -> None:
    offered = [
        *_challenge('realm="r", nonce="1", algorithm=MD5, qop="auth"'),
        *_challenge('realm="other", nonce="2", algorithm=SHA-512-256, qop="auth"'),
        *_challenge('realm="r", nonce="3", algorithm=SHA-1, qop="auth"'),
        *_challenge('realm="r", nonce="4", algorithm=SHA-256, qop="auth-conf"'),
        *_challenge('realm="r", nonce="5", algorithm=SHA-256, qop="auth-int,auth", opaque="o"'),
        *_challenge('realm="r", nonce="6", algorithm=SHA-256, qop="auth"'),
        Challenge.parse("Basic realm=r"),
    ]
    client = _client()
    assert client.consider(offered) is ChallengeOutcome.ANSWER
    credentials = Credentials.parse(client.authorization("REGISTER", "sip:r"))
    assert [credentials.get(name) for name in ("nonce", "algorithm", "qop", "opaque", "nc", "cnonce")] == [
        "5", "SHA-256", "auth", "o", "00000001", "word1",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ['realm="x", nonce="1"', 'realm="r", nonce="1", algorithm=SHA-1', 'realm="r"'])
def test_challenge_that_is_not_for_us_leaves_nothing_to_answer_with(text: str) -> None:
    client = _client()
    assert client.consider(_challenge(text)) is ChallengeOutcome.UNSUPPORTED
    assert not client.ready
    with pytest.raises(WrongState):
        client.authorization("REGISTER", "sip:r")


def test_wrong_password_is_refused_at_the_second_challenge() -> None:
    server = DigestServer(realm="r", random=_Counter())
    client = _client("wrong")
    client.consider([Challenge.parse(line) for line in server.challenge(0.0)])
    line = client.authorization("REGISTER", "sip:r")
    assert _verify(server, line) is Verdict.WRONG
    again = [Challenge.parse(text) for text in server.challenge(1.0)]
    assert client.consider(again, sent=line) is ChallengeOutcome.REFUSED
    assert not client.ready


def test_stale_nonce_is_answered_with_the_new_one() -> None:
    server = DigestServer(realm="r", random=_Counter(), nonce_lifetime_s=10.0)
    client = _client()
    client.consider([Challenge.parse(line) for line in server.challenge(0.0)])
    line = client.authorization("REGISTER", "sip:r")
    assert _verify(server, line, now=10.0) is Verdict.STALE
    again = [Challenge.parse(text) for text in server.challenge(10.0, stale=True)]
    assert again[0].stale
    assert client.consider(again, sent=line) is ChallengeOutcome.STALE
    line = client.authorization("REGISTER", "sip:r")
    assert "nc=00000001" in line
    assert _verify(server, line, now=11.0) is Verdict.OK


def test_nonce_that_worked_before_has_aged_even_when_the_server_does_not_say_so() -> None:
    client = _client()
    client.consider(_challenge('realm="r", nonce="1", qop="auth"'))
    client.authorization("REGISTER", "sip:r")
    line = client.authorization("INVITE", "sip:x")
    again = _challenge('realm="r", nonce="2", qop="auth"')
    assert client.consider(again, sent=line) is ChallengeOutcome.STALE
    line = client.authorization("INVITE", "sip:x")
    assert client.consider(_challenge('realm="r", nonce="3", qop="auth"'), sent=line) is ChallengeOutcome.REFUSED


def test_nonce_that_is_called_stale_and_offered_again_is_a_refusal() -> None:
    client = _client()
    challenge = _challenge('realm="r", nonce="1", qop="auth", stale=true')
    client.consider(challenge)
    line = client.authorization("REGISTER", "sip:r")
    assert client.consider(challenge, sent=line) is ChallengeOutcome.REFUSED


def test_count_goes_on_when_another_request_is_given_the_same_nonce() -> None:
    client = _client()
    challenge = _challenge('realm="r", nonce="1", qop="auth"')
    client.consider(challenge)
    client.authorization("REGISTER", "sip:r")
    assert client.consider(challenge) is ChallengeOutcome.ANSWER
    assert "nc=00000002" in client.authorization("INVITE", "sip:x")


def test_nonce_without_qop_serves_once() -> None:
    client = _client()
    client.consider(_challenge('realm="r", nonce="1"'))
    line = client.authorization("REGISTER", "sip:r")
    assert all(word not in line for word in ("qop", "nc=", "cnonce", "algorithm"))
    assert not client.ready
    with pytest.raises(WrongState):
        client.authorization("REGISTER", "sip:r")
    assert client.consider(_challenge('realm="r", nonce="2"'), sent=line) is ChallengeOutcome.REFUSED


def test_session_algorithm_without_qop_still_says_its_cnonce() -> None:
    client = _client()
    client.consider(_challenge('realm="r", nonce="1", algorithm=MD5-sess'))
    assert 'cnonce="word1"' in client.authorization("REGISTER", "sip:r")


def test_forgotten_nonce_is_gone_and_the_password_is_never_shown() -> None:
    client = _client()
    client.consider(_challenge('realm="r", nonce="1", qop="auth"'))
    assert client.ready
    assert client.realm == "r"
    client.forget()
    assert not client.ready
    assert "canary" not in repr(client)
    assert "bob" in repr(client)


def test_names_are_quoted() -> None:
    client = DigestClient(username='b"ob', password="x", realm='r\\"', random=_Counter())
    client.consider(_challenge('realm="r\\\\\\"", nonce="1", qop="auth"'))
    credentials = Credentials.parse(client.authorization("REGISTER", "sip:r"))
    assert (credentials.get("username"), credentials.get("realm")) == ('b"ob', 'r\\"')


def _line(**changes: str) -> str:
    """Right credentials for the first nonce of a fresh server, then changed."""
    said = {
        "username": "bob", "realm": "r", "nonce": "word1", "uri": "sip:r", "algorithm": "MD5", "qop": "auth",
        "nc": "00000001", "cnonce": "c",
    }  # fmt: skip
    said |= changes
    if "response" not in said:
        said["response"] = DigestInput(
            algorithm=said["algorithm"], username="bob", realm="r", password="canary", nonce=said["nonce"],
            method="REGISTER", uri=said["uri"], qop=said["qop"], nc=said["nc"], cnonce=said["cnonce"],
        ).response()  # fmt: skip
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in said.items())


def _server() -> DigestServer:
    server = DigestServer(realm="r", random=_Counter())
    server.challenge(0.0)
    return server


def test_seen_count_is_a_replay_and_a_greater_one_is_not() -> None:
    server = _server()
    assert _verify(server, _line(nc="00000003")) is Verdict.OK
    assert _verify(server, _line(nc="00000003")) is Verdict.REPLAYED
    assert _verify(server, _line(nc="00000002")) is Verdict.REPLAYED
    assert _verify(server, _line(nc="0000000a")) is Verdict.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "eve"}, {"realm": "x"}, {"response": "0" * 32}, {"response": "ü"}, {"uri": "sip:elsewhere"},
        {"uri": "%"}, {"qop": ""}, {"qop": "auth-int"}, {"nc": "1"}, {"nc": "0000000x"}, {"cnonce": ""},
        {"algorithm": "SHA-512-256"},
    ],
)  # fmt: skip
def test_wrong_credentials_are_wrong(changes: dict[str, str]) -> None:
    assert _verify(_server(), _line(**changes)) is Verdict.WRONG


def test_credentials_of_another_scheme_are_wrong() -> None:
    assert _verify(_server(), "Basic Ym9iOmNhbmFyeQ==") is Verdict.WRONG
    assert _verify(_server(), "Digest") is Verdict.WRONG


def test_unknown_nonce_with_the_right_password_is_stale() -> None:
    assert _verify(_server(), _line(nonce="made-up")) is Verdict.STALE


def test_uri_may_be_written_otherwise_when_it_is_the_same() -> None:
    assert _verify(_server(), _line(uri="sip:R")) is Verdict.OK


def test_hashed_user_name_is_borne() -> None:
    name = DigestInput(
        algorithm="MD5", username="", realm="", password="", nonce="", method="", uri=""
    ).hash("bob:r")  # fmt: skip
    assert _verify(_server(), _line(username=name, userhash="true")) is Verdict.OK
    assert _verify(_server(), _line(username="bob", userhash="true")) is Verdict.WRONG


def test_nonces_are_bounded_and_forgotten_when_old() -> None:
    server = DigestServer(realm="r", random=_Counter(), nonce_lifetime_s=10.0)
    for _ in range(1025):
        server.challenge(0.0)
    assert _verify(server, _line(nonce="word1")) is Verdict.STALE
    assert _verify(server, _line(nonce="word2")) is Verdict.OK
    server.challenge(20.0)
    assert _verify(server, _line(nonce="word3"), now=20.0) is Verdict.STALE
    assert _verify(server, _line(nonce="word1026"), now=20.0) is Verdict.OK


def test_challenge_offers_the_algorithms_in_order() -> None:
    first, second = DigestServer(realm='a"b', random=_Counter(), qop=("auth", "auth-int")).challenge(0.0)
    assert first == 'Digest realm="a\\"b", nonce="word1", algorithm=SHA-256, qop="auth,auth-int"'
    assert Challenge.parse(second).algorithm == "MD5"


@pytest.mark.parametrize(
    ("algorithms", "qop"), [((), ("auth",)), (("SHA-1",), ("auth",)), (("MD5",), ()), (("MD5",), ("auth-conf",))]
)
def test_server_offers_only_what_it_can_check(algorithms: tuple[str, ...], qop: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue):
        DigestServer(realm="r", random=_Counter(), algorithms=algorithms, qop=qop)
