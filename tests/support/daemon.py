"""`phoned run` as a process of its own, seen from outside: configuration, control API, events, log, exit code."""

from __future__ import annotations

import gc
import json
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.asyncapi import model_of
from tests.support.child import Child, until

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """An event as a client of the control API gets it."""

    seq: int | None
    """None for ``events.snapshot`` and ``events.gap``."""
    type: str
    data: Json
    at: float = 0.0
    """When it arrived, CLOCK_MONOTONIC."""

    @property
    def call(self) -> Json:
        """The call object of a ``call.*`` event."""
        return dict(self.data["call"])


class Canaries:
    """Secrets that must be seen nowhere: not in logs, answers, events, the state directory, nor in what anybody on the
    machine may read of a process. Every test that runs the daemon as a process is a test of that."""

    def __init__(self, secrets: Iterable[str], known: str) -> None:
        """A secret that stands in ``known`` text, as a user's name may, says nothing."""
        self._secrets = {secret for secret in secrets if len(secret) >= 6 and secret not in known}
        self.seen: list[str] = []

    def add(self, secret: str) -> None:
        """One more, such as a token."""
        self._secrets.add(secret)

    def look_at(self, where: str, text: str | bytes) -> None:
        """Note whether one of them stands there."""
        data = text.encode() if isinstance(text, str) else text
        self.seen += [f"{where} shows a secret" for secret in self._secrets if secret.encode() in data]

    def look_into(self, directory: Path) -> None:
        """All files below."""
        for path in directory.rglob("*"):
            if path.is_file():
                self.look_at(str(path.relative_to(directory)), path.read_bytes())


class EventReader:
    """Reads ``GET /v1/events`` in a thread, from the first event of the log."""

    def __init__(self, path: Path, canaries: Canaries) -> None:
        self._path = path
        self._canaries = canaries
        self._events: list[SeenEvent] = []
        self._changed = threading.Condition()
        self._over: str | None = None
        self.undescribed: list[str] = []
        """Events that are not as AsyncAPI says."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[SeenEvent]:
        """Everything so far, in order."""
        with self._changed:
            return list(self._events)

    def of(self, type_: str, call: str | None = None) -> list[SeenEvent]:
        """The events of a type so far, of one call if asked."""
        return [event for event in self.seen if event.type == type_ and (call is None or event.call["id"] == call)]

    def wait_for(
        self,
        type_: str,
        where: Callable[[Json], bool] = lambda _: True,
        timeout_s: float = 10.0,
        after: SeenEvent | None = None,
    ) -> SeenEvent:
        """The first event of ``type_`` whose data satisfy ``where``, among those that came already, too."""
        first = 0 if after is None else (after.seq or 0) + 1

        def search() -> SeenEvent | None:
            for event in self._events:
                if event.type == type_ and (event.seq or 0) >= first and where(event.data):
                    return event
            return None

        with self._changed:
            found = self._changed.wait_for(lambda: search() or self._over, timeout_s)
            if isinstance(found, SeenEvent):
                return found
            seen = ", ".join(f"{event.seq} {event.type}" for event in self._events)
            raise TimeoutError(f"{type_}: {self._over or f'not within {timeout_s} s'}; seen: {seen or 'nothing'}")

    def join(self, timeout_s: float = 5.0) -> None:
        """Wait until the stream has ended; the daemon ends it."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        transport = httpx.HTTPTransport(uds=str(self._path))
        try:
            # a client that finds nobody leaves its socket open (httpcore): better look first
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self._path))
            with (
                httpx.Client(transport=transport, base_url="http://localhost", timeout=None) as client,
                client.stream("GET", "/v1/events", params={"after": 0}, headers={"Accept": "text/event-stream"}) as got,
            ):
                if got.status_code != 200:
                    raise RuntimeError(f"/v1/events answered {got.status_code}")
                for line in got.iter_lines():
                    self._canaries.look_at("an event", line)
                    if line.startswith("data:"):
                        self._take(json.loads(line[5:]))
            self._finish("the event stream ended")
        except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
            words = f"the event stream failed: {error!r}"
            with warnings.catch_warnings():
                # the daemon may end between the look and the client: its socket must not outlive this
                warnings.simplefilter("ignore", ResourceWarning)
                error.__traceback__ = error.__cause__ = error.__context__ = None
                gc.collect()
            self._finish(words)

    def _take(self, envelope: Json) -> None:
        with self._changed:
            seq, type_, data = envelope.get("seq"), envelope["type"], envelope["data"]
            self._events.append(SeenEvent(seq=seq, type=type_, data=data, at=time.monotonic()))
            self._changed.notify_all()
        try:
            model_of(type_).model_validate(envelope)
        except (KeyError, ValueError) as error:
            self.undescribed.append(f"{type_}: {error}")

    def _finish(self, why: str) -> None:
        with self._changed:
            self._over = why
            self._changed.notify_all()


class PhonedProcess(Child):
    """A running daemon with a state directory of its own. ``configuration`` is what the TOML file shall hold.

    The secrets of ``secrets`` (file name to content) are written beside it with mode 0600. ``[api]`` and
    ``[phone] state_dir`` are filled in when they are absent: control socket only, no TCP port.
    """

    def __init__(self, configuration: Mapping[str, Any], *, secrets: Mapping[str, str] | None = None) -> None:
        super().__init__("phoned")
        self.state = self.directory / "state"
        self.runtime = self.directory / "run"
        self.media = self.directory / "media"
        self.recordings = self.directory / "recordings"
        for directory in (self.state, self.runtime, self.media, self.recordings):
            directory.mkdir(mode=0o700)
        for name, content in (secrets or {}).items():
            path = self.directory / name
            path.touch(mode=0o600)
            path.write_text(content)
        self.socket = self.runtime / "api.sock"
        self.canaries = Canaries((secrets or {}).values(), known=toml(configuration))
        self.configuration_file = self.directory / "phoned.toml"
        self.configuration_file.write_text(
            toml(
                {
                    **configuration,
                    "phone": {"state_dir": str(self.state), **configuration.get("phone", {})},
                    "media": {
                        "allow_loopback": True,
                        "media_dir": str(self.media),
                        "recordings_dir": str(self.recordings),
                        **configuration.get("media", {}),
                    },
                    "api": {"socket": str(self.socket), "port": 0, "rate_per_s": 1000, **configuration.get("api", {})},
                }
            )
        )
        self.arguments: Sequence[str] = ()
        """More of them for `phoned run`."""
        self.environment: Mapping[str, str] = {}
        """More of it."""
        self._client: httpx.Client | None = None
        self._events: EventReader | None = None

    def start(self, timeout_s: float = 20.0) -> PhonedProcess:
        """Start the daemon, wait until its control socket answers, and begin to read events."""
        executable = Path(sys.executable).parent / "phoned"
        environment = {
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CONFIG_HOME": str(self.directory),
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }
        argv = [str(executable), "run", "--config", str(self.configuration_file), *self.arguments]
        self.spawn(argv, environment=environment)
        try:
            self.until(self._listens, f"{self.socket} takes connections", timeout_s)
            transport = httpx.HTTPTransport(uds=str(self.socket))
            self._client = httpx.Client(transport=transport, base_url="http://localhost", timeout=30.0)
            self._client.event_hooks = {"response": [self._look_at]}
            for name in ("environ", "cmdline"):
                self.canaries.look_at(name, Path(f"/proc/{self.process.pid}/{name}").read_bytes())
            self.until(lambda: self._answers("/healthz"), "/healthz answers 200", timeout_s)
            self._events = EventReader(self.socket, self.canaries)
        except BaseException:
            self.close()
            raise
        return self

    @property
    def http(self) -> httpx.Client:
        """A client of the control API over the unix socket."""
        if self._client is None:
            raise RuntimeError("phoned was not started")
        return self._client

    @property
    def events(self) -> EventReader:
        """What happened."""
        if self._events is None:
            raise RuntimeError("phoned was not started")
        return self._events

    def wait_ready(self, timeout_s: float = 15.0) -> None:
        """Until ``/readyz`` answers 200: an account is online."""
        self.until(lambda: self._answers("/readyz"), "/readyz answers 200", timeout_s)

    def get(self, path: str) -> Json:
        """A GET that must be answered 200."""
        return self._json(self.http.get(path), 200)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, status: int = 200) -> Json:
        """A POST that must be answered ``status``."""
        return self._json(self.http.post(path, json=dict(body or {})), status)

    def account(self, account: str) -> Json:
        """The account object."""
        return self.get(f"/v1/accounts/{account}")

    def call(self, call: str) -> Json:
        """The call object."""
        return self.get(f"/v1/calls/{call}")

    def stats(self, call: str) -> Json:
        """The counters of a call."""
        return self.get(f"/v1/calls/{call}/stats")

    def place(self, account: str, to: str, **fields: Any) -> str:
        """Call; returns the call's id."""
        return str(self.post("/v1/calls", {"account": account, "to": to, **fields}, status=201)["id"])

    def verb(self, call: str, verb: str, *, status: int = 200, **body: Any) -> Json:
        """``POST /v1/calls/{call}/{verb}``."""
        return self.post(f"/v1/calls/{call}/{verb}", body, status=status)

    def incoming(self, timeout_s: float = 10.0, after: SeenEvent | None = None) -> str:
        """Wait for ``call.incoming``; returns the call's id."""
        return str(self.events.wait_for("call.incoming", timeout_s=timeout_s, after=after).call["id"])

    def wait_call(self, call: str, what: str, condition: Callable[[Json], bool], timeout_s: float = 10.0) -> Json:
        """Poll the call object until ``condition`` holds; the error shows the object and the log."""
        latest: Json = {}

        def check() -> bool:
            nonlocal latest
            latest = self.call(call)
            return condition(latest)

        try:
            until(check, what, timeout_s, 0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{json.dumps(latest, indent=1)}\n{self.log[-6000:]}") from None
        return latest

    def stop(self, grace_s: float = 15.0) -> int | None:
        """SIGTERM; returns the exit code."""
        code = super().stop(grace_s)
        if self._client is not None:
            self._client.close()
        if self._events is not None:
            self._events.join()
            assert self._events.undescribed == []
        self.canaries.look_at("the log", self.log)
        self.canaries.look_into(self.state)
        assert self.canaries.seen == []
        return code

    def _look_at(self, response: httpx.Response) -> None:
        if "text/event-stream" not in response.headers.get("content-type", ""):
            self.canaries.look_at(f"{response.request.method} {response.request.url.path}", response.read())

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx leaks the socket of a connection that is refused
            return probe.connect_ex(str(self.socket)) == 0

    def _answers(self, path: str) -> bool:
        try:
            return self.http.get(path).status_code == 200
        except httpx.TransportError:
            return False

    @staticmethod
    def _json(answer: httpx.Response, status: int) -> Json:
        if answer.status_code != status:
            raise AssertionError(
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, not {status}: {answer.text}"
            )
        return dict(answer.json())


def toml(table: Mapping[str, Any]) -> str:
    """TOML text of nested mappings, lists of mappings, and plain values."""
    return "\n".join(_toml_lines(table, ())) + "\n"


def _toml_lines(table: Mapping[str, Any], path: Sequence[str]) -> list[str]:
    plain, nested = [], []
    for key, value in table.items():
        name = ".".join((*path, key))
        if isinstance(value, Mapping):
            nested += [f"[{name}]", *_toml_lines(value, (*path, key))]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                nested += [f"[[{name}]]", *_toml_lines(item, (*path, key))]
        else:
            plain.append(f"{key} = {json.dumps(value)}")  # JSON's strings, numbers, booleans and lists are TOML's
    return plain + nested
