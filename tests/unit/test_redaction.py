"""Nothing secret and nothing harmful gets into a line of text."""

from __future__ import annotations

import pytest

from phoned.redaction import Redactor, one_entry, visible
from tests.support.cost import cost_s

CANARY = "s3cr3tCANARY"


@pytest.mark.parametrize(
    "text",
    [
        f'Authorization: Digest username="a", response="{CANARY}", nonce="n"\r\nVia: x',
        f"Proxy-Authorization: Basic {CANARY}",
        f"authorization:{CANARY} {CANARY}",
        repr(f"REGISTER x\r\nAuthorization: Digest {CANARY}\r\nVia: x"),
        f"{{'Authorization': 'Bearer {CANARY}'}}",
        f"sent Bearer {CANARY} to x",
        f'response="{CANARY}"',
        f"cnonce={CANARY},nc=1",
        f'rspauth = "{CANARY}"',
        f"GET /v1?token={CANARY}&x=1",
        f'{{"password": "{CANARY}"}}',
        f"secret={CANARY}",
        f"whsec_{CANARY}/+=",
        f"phoned_{CANARY}{CANARY}",
        f"a=ice-pwd:{CANARY}\r\na=ice-ufrag:x",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{CANARY}\r\n",
        f"wss://alice:{CANARY}@edge.example.org/ws",
        f"turn+x://{CANARY}@h",
        f"sip:alice:{CANARY}@example.org",
        repr(f"x\nresponse={CANARY}\nwhsec_{CANARY}\nBearer {CANARY}\tphoned_{CANARY}{CANARY}\ntoken={CANARY}"),
        f'password="unfinished {CANARY}',
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    shown = Redactor()(text)
    assert CANARY not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/WSS x;branch=z9hG4bKabc\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@b.invalid>",
        "wss://edge.example.org/ws?x=1",
        "sip:alice@example.org",
        'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"',
        "no response within 5 s",
        "password_file: /etc/phoned/alice.secret",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor()(text) == text


def test_the_rest_of_a_message_stays() -> None:
    shown = Redactor()(f"REGISTER x\r\nAuthorization: Digest {CANARY}\r\nVia: y\r\n")
    assert shown == "REGISTER x\r\nAuthorization: ***\r\nVia: y\r\n"


def test_exact_secrets_are_hidden_wherever_they_stand_and_short_ones_spoil_nothing() -> None:
    redact = Redactor([CANARY, "1234"])
    redact.hide(CANARY + "longer")
    redact.hide(CANARY)
    assert redact(f"x{CANARY}longery{CANARY}z 1234") == "x***y***z 1234"


@pytest.mark.parametrize(
    "hostile", ["a=crypto:" * 20_000, 'response="' + '\\"' * 50_000, "a" * 100_000, "x://" * 25_000]
)
def test_redaction_takes_linear_time(hostile: str) -> None:
    redact = Redactor()
    assert cost_s(lambda: redact(hostile)) < 1.0


def test_control_characters_and_direction_marks_are_shown_as_escapes() -> None:
    assert visible("a\x1b[31m\x00\x7f\x9b\u202e\r b\tc\r\nd") == "a\\x1b[31m\\x00\\x7f\\x9b\\u202e\\x0d b\tc\r\nd"


def test_further_lines_are_marked() -> None:
    assert one_entry("one\r\n12:00 ERROR fake\n") == "one\n    | 12:00 ERROR fake"


def test_the_name_of_a_secret_file_is_no_secret() -> None:
    text = "/etc/phoned/alice.secret: No such file or directory"
    assert Redactor()(text) == text
    assert Redactor()("secret: hunter2 X-Auth-Token: abcdef") == "secret: *** X-Auth-Token: ***"
