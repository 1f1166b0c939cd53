"""The HTTP side of `phonectl`: where the daemon is, one request, and which exit code an error is.

httpx is loaded with the first request: that takes longer than everything else of `phonectl` together.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from phoned.config.places import default_state_dir

if TYPE_CHECKING:
    import httpx

OK, ERROR, USAGE, UNREACHABLE, NOT_FOUND, WRONG_STATE, NOT_ANSWERED, AUTH, TIMEOUT = range(9)
BAD_CONFIGURATION = 78

PROBE_S = 5.0
MACHINES = "/run/phoned/api.sock"
"""The socket of the system's daemon."""

_BY_STATUS = {
    401: AUTH,
    404: NOT_FOUND,
    409: WRONG_STATE,
    410: WRONG_STATE,
    408: TIMEOUT,
    504: TIMEOUT,
    422: USAGE,
    429: ERROR,
    502: NOT_ANSWERED,
}
_AUTH_CODES = frozenset(
    {
        "insufficient_scope",
        "host_not_allowed",
        "origin_not_allowed",
        "too_many_failures",
        "stream_url_not_allowed",
    }
)
_FIXES = {
    "unauthorized": "make a token with 'phoned token' and pass it as PHONED_TOKEN or --token-file",
    "too_many_failures": "wait a minute, then use a token that 'phoned token' printed",
    "insufficient_scope": "make a token with 'phoned token --scope ...'",
    "host_not_allowed": "use a loopback address in --url, or list the name in [api] allowed_hosts",
    "not_registered": "see 'phonectl accounts' for the cause, or 'phonectl register ACCOUNT'",
    "destination_denied": "see [dial] in the configuration",
    "stream_url_not_allowed": "list the bot in [api] stream_urls, or use a token of 'phoned token --scope admin'",
    "address_not_allowed": "list the bot's network in [network] allow_private",
    "emergency_disabled": "this is no telephone for emergencies; see [dial] emergency",
    "not_found": "list what there is: 'phonectl calls', 'phonectl accounts', 'phonectl stream'",
    "bad_configuration": "'phoned check-config' shows the same",
}

_START = "is it running? 'systemctl status phoned', or 'phoned run'; PHONED_SOCKET names another socket"


class Failure(Exception):
    """Ends the command: what went wrong, what would help, the exit code."""

    def __init__(
        self,
        code: int,
        message: str,
        fix: str = "",
        problem: Mapping[str, Any] | None = None,
        each: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.each = tuple(each)
        """When several things are wrong: a line for each."""
        self.code = code
        self.message = message
        self.fix = fix
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Target:
    """Where the daemon is: a unix socket or a URL, with or without a token."""

    socket: str | None = None
    url: str | None = None
    token: str | None = None


def find_target(unix: str | None, url: str | None, token_file: Path | None, environ: Mapping[str, str]) -> Target:
    """Options first, then the environment, then the usual places. Raises `Failure`."""
    if unix and url:
        raise Failure(USAGE, "--socket and --url are two ways to the same daemon; give one")
    token = environ.get("PHONED_TOKEN") or None
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise Failure(USAGE, f"{token_file}: {error.strerror}", "name a file that holds a token alone") from error
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise Failure(AUTH, "the token has characters that no token has", _FIXES["unauthorized"])
    if unix or url:
        return Target(unix, url, token)
    if environ.get("PHONED_SOCKET"):
        return Target(socket=environ["PHONED_SOCKET"], token=token)
    if environ.get("PHONED_URL"):
        return Target(url=environ["PHONED_URL"], token=token)
    return Target(socket=next(filter(os.path.exists, usual_sockets(environ)), MACHINES), token=token)


def usual_sockets(environ: Mapping[str, str]) -> list[str]:
    """Where a daemon listens that was told nothing else: the user's, the system's, and one that a user started without
    a session."""
    own = [os.path.join(environ["XDG_RUNTIME_DIR"], "phoned/api.sock")] if environ.get("XDG_RUNTIME_DIR") else []
    return [*own, MACHINES, str(default_state_dir(environ) / "run" / "api.sock")]


def _load() -> None:
    """Load httpx without the command line of its own: that needs rich, pygments and click, half of its time to load."""
    if "httpx" not in sys.modules:
        cast(dict[str, Any], sys.modules)["httpx._main"] = None  # as if those were not installed


class Client:
    """One daemon. Every method raises `Failure` when it did not work."""

    def __init__(self, target: Target, *, timeout_s: float = 30.0) -> None:
        self._target = target
        if target.socket:
            _probe(target.socket, min(PROBE_S, timeout_s))
        _load()
        import httpx

        headers = {"Accept": "application/json"}
        if target.token:
            headers["Authorization"] = f"Bearer {target.token}"
        transport = httpx.HTTPTransport(uds=target.socket) if target.socket else None
        base = "http://localhost" if target.socket else _checked(target.url or "")
        self._http = httpx.Client(
            transport=transport, base_url=base, headers=headers, timeout=timeout_s, trust_env=False
        )

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._request("GET", path, params={name: value for name, value in query.items() if value is not None})

    def download(self, path: str, media_type: str) -> bytes:
        """The answer in another form than JSON."""
        return self._sent("GET", path, headers={"Accept": media_type}).content

    def text(self, path: str) -> str:
        """The answer as text for people."""
        return self.download(path, "text/plain").decode()

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float = 30.0) -> Any:
        return self._request("POST", path, json=body, timeout=timeout_s)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._request("PUT", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change what stands there."""
        return self._request("PATCH", path, json=body)

    def delete(self, path: str, **query: Any) -> Any:
        """Undo what stands there; what is left of it, if anything."""
        return self._request("DELETE", path, params=query)

    def follow(self, after: int | None) -> Iterator[dict[str, Any]]:
        """The events as they happen, until the connection ends."""
        import httpx

        headers = {"Accept": "text/event-stream"}
        query = {} if after is None else {"after": after}
        try:
            with self._http.stream(
                "GET", "/v1/events", params=query, headers=headers, timeout=httpx.Timeout(10.0, read=45.0)
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise _failure(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line[5:])
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _request(self, method: str, path: str, **options: Any) -> Any:
        response = self._sent(method, path, **options)
        return response.json() if response.content else None

    def _sent(self, method: str, path: str, **options: Any) -> httpx.Response:
        import httpx

        try:
            response = self._http.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise Failure(TIMEOUT, "the daemon did not answer in time") from error
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return response
        raise _failure(response)

    def _unreachable(self, error: Exception) -> Failure:
        return Failure(UNREACHABLE, f"no phoned at {self._target.socket or self._target.url} ({error})", _START)


def _checked(url: str) -> str:
    import httpx

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise Failure(USAGE, f"{url!r} is no address of a daemon", "write http://127.0.0.1:8760")
    return url


def _probe(path: str, timeout_s: float) -> None:
    """Whether somebody listens there: says plainly what is wrong where httpx would not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(path)
        except PermissionError as error:
            fix = "join the group phoned, or use --url with a token"
            raise Failure(UNREACHABLE, f"{path}: no permission", fix) from error
        except OSError as error:
            raise Failure(UNREACHABLE, f"no phoned at {path} ({error.strerror or error})", _START) from error


def _failure(response: httpx.Response) -> Failure:
    try:
        problem = response.json()
        code, message = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return Failure(ERROR, f"HTTP {response.status_code}: not an answer of phoned", "check --url")
    exit_code = AUTH if code in _AUTH_CODES else _BY_STATUS.get(response.status_code, ERROR)
    each: list[str] = []
    if code == "bad_configuration":
        exit_code, message = BAD_CONFIGURATION, "the configuration is wrong; nothing was changed"
        each = [str(found["detail"]) for found in problem["errors"]]
    elif len(problem.get("errors") or ()) > 1:
        message = "several values are wrong"
        each = [f"{found['pointer']}: {found['detail']}" for found in problem["errors"]]
    if "sip" in problem:
        message = f"refused: {problem['sip']['code']} {problem['sip']['reason']}".rstrip()
    elif problem.get("allowed_in"):
        message = f"{message} (works when: {', '.join(problem['allowed_in'])})"
    fix = _FIXES.get(code, "")
    if code == "wrong_state" and str(problem.get("instance")).startswith("/v1/calls/"):
        fix = "see 'phonectl calls' for the state it is in"
    return Failure(exit_code, message, fix, problem, each)
