"""A receiver of webhooks: a real HTTP server on loopback that checks every signature as the standard's library does."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request that came in, in the order of arrival."""

    id: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    path: str
    genuine: bool
    status: int = 0
    """What it was answered with."""

    @property
    def type(self) -> str:
        return str(self.body["type"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to answer. ``wait``: not before this is set."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: threading.Event | None = None


Answer = Callable[[Received], Reply]


def failing(times: int, reply: Reply | None = None) -> Answer:
    """The first ``times`` requests are answered with ``reply`` (500)."""
    left = iter(range(times))

    def answer(_: Received) -> Reply:
        return Reply() if next(left, None) is None else reply or Reply(status=500)

    return answer


def check_order(got: Sequence[Received], told: Sequence[tuple[str, str | None]]) -> None:
    """Each of ``told`` (event, call) arrived, those of a call in order, and what came twice was the same."""
    first: dict[str, int] = {}
    for index, one in enumerate(got):
        if one.status == 204:
            first.setdefault(one.id, index)
    assert [event for event, _ in told if event not in first] == []
    lanes: dict[str, list[int]] = {}
    for event, call in told:
        if call is not None:
            lanes.setdefault(call, []).append(first[event])
    assert [call for call, places in lanes.items() if places != sorted(places)] == []
    bodies: dict[str, Mapping[str, Any]] = {}
    for one in got:
        assert one.genuine
        assert bodies.setdefault(one.id, one.body) == one.body


class Sink:
    """Use as a context. ``answer`` may be changed at any time; ``secret`` is what signatures are checked with."""

    def __init__(self, answer: Answer = lambda _: Reply(), secret: str = SECRET) -> None:
        self.answer = answer
        self.secret = secret
        self._got: list[Received] = []
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sink", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def got(self) -> list[Received]:
        """Everything so far."""
        with self._changed:
            return list(self._got)

    def types(self) -> list[str]:
        return [received.type for received in self.got]

    def until(self, fits: Callable[[list[Received]], bool], what: str, timeout_s: float = 20.0) -> list[Received]:
        """What was received, once it fits. Blocks: call it in a thread from a coroutine."""
        with self._changed:
            if not self._changed.wait_for(lambda: fits(self._got), timeout_s):
                seen = [(received.type, received.status) for received in self._got]
                raise TimeoutError(f"{what}: not within {timeout_s} s; received {seen}")
            return list(self._got)

    def take(self, received: Received) -> None:
        """Called by the server, before the answer goes out."""
        with self._changed:
            self._got.append(received)
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that is killed in the middle is what the tests are about."""


def _handler(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            text = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                Webhook(sink.secret).verify(text, headers)
                genuine = True
            except WebhookVerificationError:
                genuine = False
            body = json.loads(text)
            seen = Received(
                id=headers.get("webhook-id", ""), body=body, headers=headers, path=self.path, genuine=genuine
            )
            reply = sink.answer(seen)
            sink.take(
                Received(id=seen.id, body=body, headers=headers, path=self.path, genuine=genuine, status=reply.status)
            )
            if reply.wait is not None:
                reply.wait.wait(30)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
