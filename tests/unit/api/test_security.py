"""Every rule of security.md "Control API" that can be judged from the head or the body alone."""

from __future__ import annotations

import json

import pytest

from api import security
from api.errors import Problem
from api.security import Headers, Peer, Policy
from phoned.store.tokens import Scope
from tests.support.cost import cost_s

TCP = Peer(unix=False, address="127.0.0.1")
UNIX = Peer(unix=True, uid=1000, gid=1000)
POLICY = Policy(ports=(8760,), hosts=("phone.example.org",), origins=("https://desk.example.org",))


def head(**values: str | list[str]) -> Headers:
    return [
        (name.replace("_", "-").encode(), item.encode("latin-1"))
        for name, value in values.items()
        for item in (value if isinstance(value, list) else [value])
    ]


def code(found: Problem | None) -> str | None:
    return found.code if found else None


# -- size


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (b"/" * 2048, head(host="h"), None),
        (b"/" * 2049, head(host="h"), "target_too_long"),
        (b"/", [(b"x", b"")] * 64, None),
        (b"/", [(b"x", b"")] * 65, "headers_too_large"),
        (b"/", [(b"x", b"y" * (16 * 1024 - 5))], None),
        (b"/", [(b"x", b"y" * (16 * 1024 - 4))], "headers_too_large"),
        (b"/", head(content_length="65536"), None),
        (b"/", head(content_length="65537"), "body_too_large"),
        (b"/", head(content_length="9" * 5000), "body_too_large"),
        (b"/", head(content_length="many"), None),
    ],
)
def test_sizes(target: bytes, headers: Headers, expected: str | None) -> None:
    assert code(security.check_size(target, headers)) == expected


# -- method


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_known_methods(method: str) -> None:
    assert security.check_method(method) is None


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "BREW", ""])
def test_other_methods_are_405_with_allow(method: str) -> None:
    found = security.check_method(method)
    assert found is not None
    assert found.status == 405
    assert ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") in found.headers


# -- host


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8760",
        "127.0.0.1:8760",
        "[::1]:8760",
        "LOCALHOST:8760",
        "phone.example.org",
        "phone.example.org:8760",
        "Phone.Example.Org",
    ],
)
def test_our_names(host: str) -> None:
    assert security.check_host(TCP, POLICY, head(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:8760",
        "localhost",  # without our port
        "localhost:80",
        "localhost:08760",
        "localhost.:8760",
        "a.localhost:8760",
        "127.0.0.2:8760",
        "127.1:8760",
        "2130706433:8760",
        "0.0.0.0:8760",
        "::1:8760",
        "[::]:8760",
        "[::ffff:127.0.0.1]:8760",
        "localhost:8760@evil.test",
        "evil.test#localhost:8760",
        "phone.example.org:1",
        "phone.example.org.",
        "x.phone.example.org",
        "",
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    assert code(security.check_host(TCP, POLICY, head(host=host))) == "host_not_allowed"


def test_no_host_and_two_hosts_are_refused() -> None:
    assert code(security.check_host(TCP, POLICY, [])) == "host_not_allowed"
    both = head(host=["localhost:8760", "localhost:8760"])
    assert code(security.check_host(TCP, POLICY, both)) == "host_not_allowed"


def test_a_whole_url_must_name_the_same_host() -> None:
    headers = head(host="localhost:8760")
    assert security.check_host(TCP, POLICY, headers, "localhost:8760") is None
    assert code(security.check_host(TCP, POLICY, headers, "evil.test")) == "host_not_allowed"


def test_the_host_does_not_matter_on_the_unix_socket() -> None:
    assert security.check_host(UNIX, POLICY, head(host="anything")) is None
    assert security.check_host(UNIX, POLICY, []) is None


def test_port_80_may_be_left_out() -> None:
    assert security.check_host(TCP, Policy(ports=(80,)), head(host="localhost")) is None


# -- origin


@pytest.mark.parametrize(
    "headers",
    [
        head(host="localhost:8760"),
        head(host="localhost:8760", origin="http://localhost:8760"),
        head(host="LOCALHOST:8760", origin="http://localhost:8760"),
        head(host="localhost:8760", origin="https://desk.example.org", sec_fetch_site="cross-site"),
        head(host="localhost:8760", origin="https://desk.example.org", referer="https://desk.example.org/page"),
        head(host="localhost:8760", sec_fetch_site="none"),
        head(host="localhost:8760", sec_fetch_site="same-origin", referer="http://localhost:8760/console/"),
    ],
)
def test_origins_that_may(headers: Headers) -> None:
    assert security.check_origin(TCP, POLICY, headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        head(host="localhost:8760", origin="null"),
        head(host="localhost:8760", origin=""),
        head(host="localhost:8760", origin="https://evil.test"),
        head(host="localhost:8760", origin="https://localhost:8760"),  # another scheme
        head(host="localhost:8760", origin="http://localhost:3000"),  # another port
        head(host="localhost:8760", origin="http://127.0.0.1:8760"),  # another name of this machine
        head(host="localhost:8760", origin="https://desk.example.org.evil.test"),
        head(host="localhost:8760", origin="https://desk.example.org:444"),
        head(host="localhost:8760", origin=["http://localhost:8760", "https://evil.test"]),
        head(host="localhost:8760", sec_fetch_site="cross-site"),
        head(host="localhost:8760", sec_fetch_site="same-site"),
        head(host="localhost:8760", sec_fetch_site="Cross-Site"),
        head(host="localhost:8760", sec_fetch_site=["none", "cross-site"]),
        head(host="localhost:8760", origin="http://localhost:8760", sec_fetch_site="cross-site"),
        head(host="localhost:8760", referer="https://evil.test/page"),
        head(host="localhost:8760", referer="https://evil.test/http://localhost:8760/"),
        head(host="localhost:8760", referer="about:blank"),
        head(host="localhost:8760", referer="http://[broken/"),
        head(origin="http://localhost:8760"),  # no host: nothing is our own
    ],
)
def test_every_other_origin_is_refused(headers: Headers) -> None:
    assert code(security.check_origin(TCP, POLICY, headers)) == "origin_not_allowed"


def test_on_the_unix_socket_no_origin_is_our_own() -> None:
    own = head(host="localhost:8760", origin="http://localhost:8760")
    assert code(security.check_origin(UNIX, POLICY, own)) == "origin_not_allowed"
    assert security.check_origin(UNIX, POLICY, head(origin="https://desk.example.org")) is None


# -- tokens


@pytest.mark.parametrize(
    "query",
    [
        b"token=x",
        b"a=1&access_token=x",
        b"a=1;Token=x",
        b"api_key=",
        b"bearer=x",
        b"ticket=x",
        b"%74oken=x",
        b"authorization",
        b"q=phoned_" + b"A" * 43,
        b"q=phoned%5F" + b"A" * 43,
    ],
)
def test_a_token_in_the_query_is_refused(query: bytes) -> None:
    assert code(security.check_url(query)) == "token_in_url"


def test_a_token_in_the_path_is_refused() -> None:
    assert code(security.check_url(b"", b"/v1/calls/phoned_" + b"A" * 43)) == "token_in_url"


@pytest.mark.parametrize("query", [b"", b"after=3", b"state=active&tokens=1", b"q=phoned_short"])
def test_other_queries_pass(query: bytes) -> None:
    assert security.check_url(query) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (head(), None),
        (head(authorization="Bearer abc"), "abc"),
        (head(authorization="bearer  abc "), "abc"),
        (head(authorization="BEARER abc"), "abc"),
        (head(authorization="Bearer"), ""),
        (head(authorization="Basic abc"), ""),
        (head(authorization="abc"), ""),
        (head(authorization=["Bearer a", "Bearer b"]), ""),
        (head(cookie="token=abc"), None),
        (head(x_api_key="abc"), None),
    ],
)
def test_bearer(headers: Headers, expected: str | None) -> None:
    assert security.bearer(headers) == expected


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([], None),
        (["phoned.v1"], None),
        (["phoned.v1", "bearer.abc"], "abc"),
        (["bearer.a", "bearer.b"], None),
    ],
)
def test_ticket(offered: list[str], expected: str | None) -> None:
    assert security.ticket(offered) == expected


# -- content type


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", head(content_type="text/plain"), None),
        ("POST", head(), None),
        ("POST", head(content_length="0"), None),
        ("POST", head(content_type="application/json"), None),
        ("POST", head(content_type="Application/JSON; charset=UTF-8"), None),
        ("POST", head(content_type='application/json;charset="utf-8"; x=y;'), None),
        ("POST", head(content_type="application/json; charset=latin-1"), "unsupported_media_type"),
        ("POST", head(content_type="text/plain"), "unsupported_media_type"),
        ("POST", head(content_type="application/x-www-form-urlencoded"), "unsupported_media_type"),
        ("POST", head(content_type="multipart/form-data; boundary=application/json"), "unsupported_media_type"),
        ("POST", head(content_type="text/plain;application/json"), "unsupported_media_type"),
        ("POST", head(content_type="application/jsonp"), "unsupported_media_type"),
        ("POST", head(content_type=["application/json", "text/plain"]), "unsupported_media_type"),
        ("POST", head(content_type=""), "unsupported_media_type"),
        ("POST", head(content_length="2"), "unsupported_media_type"),
        ("POST", head(transfer_encoding="chunked"), "unsupported_media_type"),
        ("PUT", head(content_length="2"), "unsupported_media_type"),
        ("PATCH", head(content_length="2"), "unsupported_media_type"),
        ("DELETE", head(content_length="2"), "unsupported_media_type"),
    ],
)
def test_writes_are_json(method: str, headers: Headers, expected: str | None) -> None:
    assert code(security.check_content_type(method, headers)) == expected


# -- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'"text"',
        b"\xc3\xa9".join((b'"', b'"')),
        b'{"a": "[[[[[[[[[[[[[[[[[[[[[[["}',
        b'{"a": "\\"[[[[[[[[[[[[[[[[[[[["}',
        b"[" * 16 + b"]" * 16,
        b"[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]",
        b'"\\ud83d\\ude00"',
    ],
)
def test_json_that_passes(body: bytes) -> None:
    assert security.check_json(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{]",
        b"nope",
        b"NaN",
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 1}}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\x00"',
        b"9" * 10_000,
        b'"unended',
        b"[" * 17 + b"]" * 17,
        b"[" * 60_000,
        b'{"a":' * 10_000,
        "{}".encode("utf-16"),
        b"'single'",
    ],
)
def test_json_that_is_refused_cleanly(body: bytes) -> None:
    assert code(security.check_json(body)) == "invalid_json"


def test_numbers_beyond_double_precision_do_not_become_infinity_silently_somewhere_else() -> None:
    assert security.check_json(b"1e999") is None  # the schema refuses it: allow_inf_nan is off


@pytest.mark.parametrize("body", [b'"' + b"\\" * 65_000, b'"' * 65_000, b'"\\"' * 20_000, b"[]" * 32_000])
def test_the_depth_is_found_in_linear_time(body: bytes) -> None:
    assert cost_s(lambda: security.too_deep(body)) < 0.25


def test_depth_counts_brackets_outside_strings() -> None:
    assert not security.too_deep(json.dumps(["[{" * 40] * 3).encode())
    assert security.too_deep(b"[{" * 9)


# -- scopes


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/healthz", None),
        ("HEAD", "/readyz", None),
        ("POST", "/healthz", "call"),
        ("GET", "/healthz/", "read"),
        ("GET", "/v1/status", "read"),
        ("OPTIONS", "/v1/status", "read"),
        ("GET", "/problems/gone", "read"),
        ("GET", "/nowhere", "read"),
        ("POST", "/v1/tickets", "read"),
        ("POST", "/v1/login", None),
        ("GET", "/v1/login", "read"),
        ("DELETE", "/v1/login", "read"),
        ("GET", "/console", None),
        ("GET", "/console/js/main.js", None),
        ("POST", "/console/", "call"),
        ("GET", "/consoles", "read"),
        ("POST", "/v1/calls", "call"),
        ("PUT", "/v1/calls/call_1", "call"),
        ("DELETE", "/v1/calls/call_1", "call"),
        ("POST", "/v1/accounts/front/register", "call"),
        ("DELETE", "/v1/recordings/rec_1", "call"),
        ("POST", "/v1/calls/call_1/streams", "media"),
        ("DELETE", "/v1/streams/str_1", "media"),
        ("PUT", "/v1/accounts/front", "admin"),
        ("DELETE", "/v1/accounts/front", "admin"),
        ("POST", "/v1/accounts/front/outbound-proxy", "admin"),
        ("POST", "/v1/webhooks", "admin"),
        ("PATCH", "/v1/webhooks/wh_1", "admin"),
        ("PATCH", "/v1/devices", "call"),
        ("POST", "/v1/drain", "admin"),
        ("POST", "/v1/reload", "admin"),
        ("POST", "/v1/doctor", "admin"),
        ("POST", "/v1/network/changed", "admin"),
    ],
)
def test_required_scope(method: str, path: str, expected: Scope | None) -> None:
    assert security.required_scope(method, path) == expected


# -- answers


def test_answers_forbid_everything_a_browser_might_try() -> None:
    headers = security.answer_headers("/v1/status")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert not [name for name in headers if name.startswith("Access-Control")]


def test_the_console_may_load_its_own_files() -> None:
    assert security.answer_headers("/console/")["Content-Security-Policy"].startswith("default-src 'self'")
    assert security.answer_headers("/consolex")["Content-Security-Policy"].startswith("default-src 'none'")


def test_wrong_tokens_are_counted_by_user_or_address() -> None:
    assert UNIX.key == "uid:1000"
    assert TCP.key == "ip:127.0.0.1"
