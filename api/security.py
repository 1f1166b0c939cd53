"""The defences of the control API as small pure functions: given a request's head, say what is wrong with it.

Order (security.md): size, method, Host, Origin and Sec-Fetch, authentication, content type, schema, rate. `api.gate`
applies them; nothing here knows ASGI, sockets or time other than what is passed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from api.errors import Problem, problem
from phoned.store.tokens import Scope

MAX_BODY = 64 * 1024
MAX_HEAD = 16 * 1024
MAX_HEADERS = 64
MAX_TARGET = 2 * 1024
MAX_DEPTH = 16
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
TICKET_PROTOCOL = "bearer."

CONSOLE_POLICY = (
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script or style, nothing from elsewhere, and no text that becomes markup (Trusted Types)."""

_SECRET_PARAMETERS = frozenset({"token", "access_token", "api_key", "apikey", "authorization", "bearer", "ticket"})
_TOKEN_SHAPE = re.compile(r"phoned_[A-Za-z0-9_-]{43}")

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of the connection. ``uid`` is None on TCP."""

    unix: bool
    uid: int | None = None
    gid: int | None = None
    address: str = ""

    @property
    def key(self) -> str:
        """What wrong tokens are counted by."""
        return f"uid:{self.uid}" if self.unix else f"ip:{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the configuration allows. ``ports`` are those of our TCP listeners."""

    ports: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def host_ok(self, host: str) -> bool:
        """Exactly a loopback name with our port, or a configured name (with or without our port)."""
        host = host.lower()
        ours = {f"{name}:{port}" for name in LOOPBACK_NAMES for port in self.ports}
        if 80 in self.ports:
            ours.update(LOOPBACK_NAMES)
        named = {f"{name}:{port}" for name in self.hosts for port in self.ports}
        return host in ours or host in named or host in self.hosts

    def origin_ok(self, origin: str, own: str | None) -> bool:
        """``own`` is the origin under which this very request reached us, None where there is no such thing."""
        origin = origin.lower()
        return origin in self.origins or (own is not None and origin == own)


def values(headers: Headers, name: bytes) -> list[str]:
    """All values of a header, in order."""
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def single(headers: Headers, name: bytes) -> str | None:
    """The value of a header that stands once; None when it is absent or repeated."""
    found = values(headers, name)
    return found[0] if len(found) == 1 else None


def check_size(target: bytes, headers: Headers) -> Problem | None:
    """414, 431, and 413 for a body that announces itself as too large."""
    if len(target) > MAX_TARGET:
        return problem("target_too_long")
    if len(headers) > MAX_HEADERS or sum(len(key) + len(value) + 4 for key, value in headers) > MAX_HEAD:
        return problem("headers_too_large")
    length = single(headers, b"content-length")
    if length is not None and length.isdigit() and (len(length) > 9 or int(length) > MAX_BODY):
        return problem("body_too_large")
    return None


def check_method(method: str) -> Problem | None:
    """Known methods only; which of them a path has is the router's matter. ``X-HTTP-Method-Override`` is ignored."""
    return None if method in METHODS else problem("method_not_allowed", allow=METHODS)


def check_url(query: bytes, raw_path: bytes = b"") -> Problem | None:
    """A token in the URL would stand in logs and histories: refused, even when it is a good one."""
    text = unquote_plus(query.decode("latin-1"))
    names = {part.partition("=")[0].strip().lower() for part in re.split("[&;]", text)}
    if names & _SECRET_PARAMETERS or _TOKEN_SHAPE.search(text) or _TOKEN_SHAPE.search(raw_path.decode("latin-1")):
        return problem("token_in_url")
    return None


def check_host(peer: Peer, policy: Policy, headers: Headers, authority: str | None = None) -> Problem | None:
    """DNS rebinding: on TCP the browser's idea of our name must be one of ours. ``authority`` of an absolute target."""
    if peer.unix:
        return None
    host = single(headers, b"host")
    if host is None or not policy.host_ok(host) or (authority is not None and authority.lower() != host.lower()):
        return problem("host_not_allowed")
    return None


def check_origin(peer: Peer, policy: Policy, headers: Headers) -> Problem | None:
    """Cross-site requests of browsers, on every method and on upgrades."""
    host = single(headers, b"host")
    own = f"http://{host.lower()}" if host and not peer.unix else None
    origins = values(headers, b"origin")
    if len(origins) > 1 or any(not policy.origin_ok(origin, own) for origin in origins):
        return problem("origin_not_allowed")
    if origins and origins[0].lower() in policy.origins:
        return None  # the administrator listed it: its Sec-Fetch-Site and Referer are necessarily foreign
    if any(site.lower() in ("cross-site", "same-site") for site in values(headers, b"sec-fetch-site")):
        return problem("origin_not_allowed")
    if any(not policy.origin_ok(_origin_of(referer), own) for referer in values(headers, b"referer")):
        return problem("origin_not_allowed")
    return None


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "null"


def bearer(headers: Headers) -> str | None:
    """The token of ``Authorization: Bearer``; None when there is none; an empty text when what is there is no token."""
    found = values(headers, b"authorization")
    if not found:
        return None
    scheme, _, token = found[0].partition(" ")
    return token.strip() if len(found) == 1 and scheme.lower() == "bearer" else ""


def ticket(subprotocols: Sequence[str]) -> str | None:
    """The ticket that a browser hides in ``Sec-WebSocket-Protocol: bearer.TICKET``."""
    found = [name[len(TICKET_PROTOCOL) :] for name in subprotocols if name.startswith(TICKET_PROTOCOL)]
    return found[0] if len(found) == 1 else None


def has_body(headers: Headers) -> bool:
    """Whether the head announces a body (RFC 9112 6.3)."""
    return bool(values(headers, b"transfer-encoding")) or any(
        length != "0" for length in values(headers, b"content-length")
    )


def check_content_type(method: str, headers: Headers) -> Problem | None:
    """Writes are JSON. One without a body and without a type is fine: no form and no text/plain can look like it."""
    if method not in WRITES:
        return None
    found = values(headers, b"content-type")
    if not found and not has_body(headers):
        return None
    media_type, _, parameters = (found[0] if len(found) == 1 else "").partition(";")
    if media_type.strip().lower() != "application/json":
        return problem("unsupported_media_type")
    for parameter in filter(None, (part.strip().lower() for part in parameters.split(";"))):
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            return problem("unsupported_media_type", "JSON is sent in UTF-8.")
    return None


def check_json(body: bytes) -> Problem | None:
    """Whether the body is JSON that the rest may parse again without harm. Linear in its size, no recursion first."""
    if too_deep(body):
        return problem("invalid_json", f"The body is nested deeper than {MAX_DEPTH}.")
    try:
        parsed = json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # finds lone surrogates, which no answer could carry
    except ValueError as error:
        return problem("invalid_json", f"The body is no JSON: {_plain_reason(error)}.")
    return None


def too_deep(body: bytes) -> bool:
    """Whether brackets outside strings are nested deeper than `MAX_DEPTH`."""
    depth = 0
    for match in _BRACKETS.finditer(body):
        first = match[0][:1]
        if first in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in (b"]", b"}"):
            depth -= 1
    return False


_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return found


def _plain_reason(error: ValueError) -> str:
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at character {error.pos}"
        case UnicodeError():
            return "not UTF-8, or half of a surrogate pair"
        case _:
            return str(error).split(":")[0][:120]


_ADMIN = re.compile(
    r"/v1/(accounts/[^/]+$|accounts/[^/]+/outbound-proxy$|webhooks\b|drain$|reload$|doctor$|network/changed$)"
)
_MEDIA = re.compile(r"/v1/(calls/[^/]+/streams$|streams\b)")


def required_scope(method: str, path: str) -> Scope | None:
    """The scope that a request needs; None for what is open: health, the console's files (they tell nothing), and the
    login, which asks for a code. Unknown paths ask for what their method asks."""
    if method in ("GET", "HEAD") and (path in ("/healthz", "/readyz") or in_console(path)):
        return None
    if (method, path) == ("POST", "/v1/login"):
        return None
    if method not in WRITES or path in ("/v1/tickets", "/v1/login"):
        return "read"
    if _MEDIA.match(path):
        return "media"
    return "admin" if _ADMIN.match(path) else "call"


def in_console(path: str) -> bool:
    """Whether the path is the console's."""
    return path == "/console" or path.startswith("/console/")


def answer_headers(path: str) -> Mapping[str, str]:
    """What every answer carries. No Server, no CORS, nothing cached."""
    policy = "default-src 'none'; frame-ancestors 'none'"
    if in_console(path):
        policy = CONSOLE_POLICY
    return {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
