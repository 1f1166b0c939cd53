"""The one ASGI middleware: every request and every upgrade passes its checks, in the order of security.md.

Pure judgement lives in `api.security` and `api.access`; here they are applied, the body is read within its limit, the
answer gets its headers, and whatever escapes the application becomes a problem document.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import security
from api.access import Access, Principal, check_scope
from api.errors import MEDIA_TYPE, Problem, ProblemError, from_error, problem
from api.facade import as_twilio, check_form_type, in_facade
from api.record import Outcome, Record
from api.security import Peer, Policy
from phoned.errors import PhonedError
from phoned.ids import new_id

log = logging.getLogger(__name__)

DRAINED = 1024 * 1024
"""How much of a body that is too large is read and thrown away, so that its sender lives to read the 413."""

DRAIN_S = 1.0
"""For how long: a sender that announces much and says nothing gets its 413 then."""

WEBSOCKETS = frozenset({"/v1/events/ws"})

_over_rate: ContextVar[float | None] = ContextVar("over_rate", default=None)


def admit() -> None:
    """The last check, after the schema: raises 429 when this client has spent its rate. Called by each endpoint."""
    wait_s = _over_rate.get()
    if wait_s is not None:
        raise ProblemError(problem("rate_limited", retry_after_s=wait_s))


class _Gone(Exception):
    """The client left while its body was awaited."""


class Gate:
    """See the module. ``app`` sees only what passed, with ``principal`` and ``request_id`` in the scope's state."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        policy: Policy,
        explain: Callable[[Exception, Scope], Problem | None],
        record: Record,
    ) -> None:
        self._app = app
        self._explain = explain
        self._access = access
        self._record = record
        self.policy = policy
        """Asked for each request; a reload sets another."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        answer = _Answer(scope, send)
        scope = _normalised(scope)
        scope["state"]["request_id"] = answer.request_id
        answer.instance = scope["path"]
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._record.note(scope, answer.outcome, asyncio.get_running_loop().time())

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            found = self._judge(scope)
            body = b""
            if found is None and scope["type"] == "http":
                body, found = await _read_body(scope, receive)
            elif found is not None and found.status == 413:
                await _drain(scope, receive)
            if found is not None:
                await answer.refuse(found)
                return
            await self._app(scope, _replay(body, receive) if scope["type"] == "http" else receive, answer.send)
        except _Gone:
            return
        except ProblemError as error:
            await answer.refuse(error.problem)
        except PhonedError as error:
            await answer.refuse(from_error(error))
        except OSError as error:
            log.debug("client left: %s", error)
        except Exception as error:
            found = self._explain(error, scope)
            if found is None:
                what = scope.get("method", "WebSocket")
                log.exception("%s %s failed, request %s", what, scope["path"], answer.request_id)
            await answer.refuse(found or problem("internal"))

    def _judge(self, scope: Scope) -> Problem | None:
        """Everything that the head alone decides."""
        headers, asking, method, path = scope["headers"], peer(scope), scope.get("method", "GET"), scope["path"]
        found = (
            security.check_size(scope["state"]["target"], headers)
            or security.check_method(method)
            or security.check_host(asking, self.policy, headers, scope["state"]["authority"])
            or security.check_origin(asking, self.policy, headers)
            or security.check_url(scope["query_string"], scope["raw_path"])
        )
        if found is not None:
            return found
        needed = security.required_scope(method, path)
        if needed is not None:
            now = asyncio.get_running_loop().time()
            if in_facade(path):
                principal = self._access.identify_at_facade(asking, headers, now)
            else:
                principal = self._access.identify(asking, headers, now, tuple(scope.get("subprotocols", ())))
            if isinstance(principal, Problem):
                return principal
            scope["state"]["principal"] = principal
            found = check_scope(principal, needed)
            if found is not None:
                return found
            _over_rate.set(self._access.rate.take(principal.id, now))
        else:
            scope["state"]["principal"] = None
            _over_rate.set(None)
        if scope["type"] == "websocket":
            return None if path in WEBSOCKETS else problem("not_found", "There is no WebSocket here.")
        return (check_form_type if in_facade(path) else security.check_content_type)(method, headers)


def principal(scope: Scope) -> Principal:
    """Who passed the gate with this request."""
    found = scope["state"]["principal"]
    if not isinstance(found, Principal):
        raise ProblemError(problem("unauthorized"))
    return found


def peer(scope: Scope) -> Peer:
    """Whom the request comes from."""
    found = scope["state"].get("peer")
    return found if isinstance(found, Peer) else Peer(unix=False, address="unknown")


def _normalised(scope: Scope) -> Scope:
    """A copy whose path is a path (RFC 9112 3.2.2 allows a whole URL) and whose HEAD is a GET."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    state = dict(scope.get("state", {}))
    state["target"] = raw_path + b"?" + query if query else raw_path
    state["authority"] = None
    changes: dict[str, Any] = {"raw_path": raw_path}
    if raw_path[:7].lower() == b"http://":
        authority, _, rest = raw_path[7:].partition(b"/")
        state["authority"] = authority.decode("latin-1")
        changes |= {"raw_path": b"/" + rest, "path": unquote("/" + rest.decode("latin-1"))}
    if scope.get("method") == "HEAD" and changes.get("path", scope["path"]) != "/v1/events":
        changes["method"] = "GET"
    return {**scope, **changes, "state": state}


async def _read_body(scope: Scope, receive: Receive) -> tuple[bytes, Problem | None]:
    """The whole body, judged; 413 once it grows too large whatever it announced."""
    if not security.has_body(scope["headers"]):
        return b"", None
    body = bytearray()
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        total += len(message.get("body", b""))
        if total <= security.MAX_BODY:
            body += message.get("body", b"")
        if not message.get("more_body", False) or total > DRAINED:
            break
    if total > security.MAX_BODY:
        return b"", problem("body_too_large")
    if scope["method"] not in security.WRITES or not body:
        return b"", None
    return bytes(body), None if in_facade(scope["path"]) else security.check_json(bytes(body))


async def _drain(scope: Scope, receive: Receive) -> None:
    length = security.single(scope["headers"], b"content-length") or ""
    if scope["type"] != "http" or security.values(scope["headers"], b"expect") or len(length) > 9:
        return
    if int(length or 0) <= DRAINED:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while (await receive()).get("more_body", False):
                    pass


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = True

    async def replayed() -> Message:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message

    return replayed


@dataclasses.dataclass(slots=True)
class _Answer:
    """The way back: adds the headers that every answer has, and remembers whether one has begun."""

    scope: Scope
    _send: Send
    instance: str = ""
    request_id: str = dataclasses.field(default_factory=lambda: new_id("req"))
    started: bool = False
    status: int = 499
    """Of a client that left before its answer."""
    code: str | None = "client_gone"
    location: str | None = None

    @property
    def outcome(self) -> Outcome:
        """For the audit log."""
        return Outcome(status=self.status, request_id=self.request_id, code=self.code, location=self.location)

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.started = True
            headers = list(message.get("headers", ()))
            self.status = message["status"]
            if self.code == "client_gone":
                self.code = None
            self.location = next((value.decode("latin-1") for name, value in headers if name == b"location"), None)
            present = {name.lower() for name, _ in headers}
            for name, value in self._always():
                if name not in present:
                    headers.append((name, value))
            message = {**message, "headers": headers}
        elif message["type"] in ("websocket.accept", "websocket.close"):
            self.started = True
        await self._send(message)

    def _always(self) -> list[tuple[bytes, bytes]]:
        fixed = [(b"date", formatdate(usegmt=True).encode()), (b"x-request-id", self.request_id.encode())]
        policy = security.answer_headers(self.instance)
        return [*fixed, *((name.lower().encode(), value.encode()) for name, value in policy.items())]

    async def refuse(self, found: Problem) -> None:
        """Answer with a problem, when it is not too late."""
        if self.started:
            abort = self.scope.get("state", {}).get("abort")
            if abort is not None:
                abort()
            return
        self.code = found.code
        prefix = "" if self.scope["type"] == "http" else "websocket."
        if in_facade(self.instance):
            media_type, (status, body, more) = "application/json", as_twilio(found)
        else:
            media_type, status, more = MEDIA_TYPE, found.status, found.headers
            body = found.body(instance=self.instance, request_id=self.request_id)
        headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in more]
        if found.status in (413, 431, 414):
            headers.append((b"connection", b"close"))
        await self.send({"type": f"{prefix}http.response.start", "status": status, "headers": headers})
        await self.send({"type": f"{prefix}http.response.body", "body": body})
