"""The machine's sound through PortAudio, over ALSA and, by ALSA's bridge, PulseAudio or PipeWire.

Owns the processes that do it (`phoned.audio.card`): one that watches, one for each open device. All of it is pipes on
the loop; nothing blocks, and a library that crashes ends one device. Made by the daemon, and only if ``[audio]`` or
somebody asks for a device: without, nothing is started or imported.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from phoned.audio.card import PLAYED
from phoned.audio.sound import SoundListener
from phoned.model import DeviceKind, DeviceView
from phoned.tasks import Tasks

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "phoned.audio.card")
MOST_WRITTEN = 48_000
"""Bytes that wait for a pipe: half a second."""
AGAIN_S = (1.0, 2.0, 5.0, 10.0)
"""A watcher that ended is started again after that."""
MOST_SAID = 2000
"""Of what libraries print, for the log."""
LONGEST_LINE = 1 << 20


class _Process(asyncio.SubprocessProtocol):
    """One of them: started by a task, ended by `close`."""

    def __init__(self, tasks: Tasks, program: Sequence[str], arguments: Sequence[str]) -> None:
        self._program = program
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._said = b""
        self.gone = asyncio.get_running_loop().create_future()
        self.closed = False
        tasks.spawn(" ".join(arguments), self._start(arguments))

    async def _start(self, arguments: Sequence[str]) -> None:
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self, *self._program, *arguments, start_new_session=True
            )
        except OSError as error:
            self._end(f"cannot be started: {error.strerror}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        pipe = transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        self._input = pipe
        if self.closed:
            self._finish()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._said = (self._said + data)[-MOST_SAID:]
        elif not self.closed:
            self.data(data)

    def process_exited(self) -> None:
        status = self._transport.get_returncode() if self._transport is not None else None
        if self._said and not self.closed:
            log.debug("a sound process said: %s", self._said.decode(errors="replace"))
        self._end(f"its process ended with {status}")

    def _end(self, reason: str) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        if self._transport is not None:
            self._transport.close()
        if not self.closed:
            self.closed = True
            self.ended(reason)

    def write(self, data: bytes) -> None:
        """To its stdin; dropped while it takes nothing."""
        if self._input is not None and not self.closed and self._input.get_write_buffer_size() < MOST_WRITTEN:
            self._input.write(data)

    def close(self) -> None:
        """End it, and hear nothing more."""
        self.closed = True
        self._finish()

    def _finish(self) -> None:
        if self._transport is not None and self._transport.get_returncode() is None:
            try:
                self._transport.kill()  # it holds nothing that would have to be saved
            except ProcessLookupError:
                pass  # it has just ended

    def data(self, data: bytes) -> None:
        """From its stdout."""

    def ended(self, reason: str) -> None:
        """By itself."""


class _Watcher(_Process):
    """Tells of devices."""

    def __init__(
        self,
        tasks: Tasks,
        program: Sequence[str],
        on_devices: Callable[[tuple[DeviceView, ...]], None],
        on_ended: Callable[[str], None],
    ) -> None:
        self._on_devices = on_devices
        self._on_ended = on_ended
        self._rest = b""
        self._reason = ""
        super().__init__(tasks, program, ("watch",))

    def data(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = json.loads(line)
            if "error" in found:
                self._reason = found["error"]
            else:
                self._on_devices(tuple(_device(one) for one in found["devices"]))

    def ended(self, reason: str) -> None:
        self._on_ended(self._reason or reason)


def _device(facts: dict[str, Any]) -> DeviceView:
    return DeviceView(**{**facts, "kinds": tuple(facts["kinds"])})


class _Stream(_Process):
    """An open device."""

    def __init__(
        self, tasks: Tasks, program: Sequence[str], kind: DeviceKind, device: str, listener: SoundListener
    ) -> None:
        self._listener = listener
        self._input_kind = kind == "input"
        self._ready = False
        self._rest = b""
        self._reason = ""
        super().__init__(tasks, program, (kind, device))

    def data(self, data: bytes) -> None:
        data = self._rest + data
        self._rest = b""
        if not self._ready:
            line, newline, data = data.partition(b"\n")
            if not newline:
                self._rest = line
                return
            found = json.loads(line)
            if "error" in found:
                self._reason = found["error"]
                return
            self._ready = True
            self._listener.ready(found["rate"], found["latency_s"])
        size = 2 if self._input_kind else PLAYED.size
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        if self._input_kind:
            if whole:
                self._listener.heard(data[:whole])
            return
        for samples, missing in PLAYED.iter_unpack(data[:whole]):
            self._listener.played(samples, missing)

    def ended(self, reason: str) -> None:
        self._listener.ended(self._reason or reason)


class PortAudio:
    """See the module; a `phoned.audio.sound.SoundSystem`."""

    def __init__(self, program: Sequence[str] = PROGRAM, again_s: Sequence[float] = AGAIN_S) -> None:
        self._program = program
        self._again_s = again_s
        self._tasks = Tasks("sound", lambda name, error: log.error("%s crashed", name, exc_info=error))
        self._processes: set[_Process] = set()
        self._watching: tuple[Callable[[tuple[DeviceView, ...]], None], Callable[[str], None]] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._tries = 0
        self._closed = False

    def watch(self, on_devices: Callable[[tuple[DeviceView, ...]], None], on_failure: Callable[[str], None]) -> None:
        """See `SoundSystem`."""
        self._watching = (on_devices, on_failure)
        self._watch()

    def _watch(self) -> None:
        assert self._watching is not None
        self._retry = None
        on_devices, on_failure = self._watching

        def found(devices: tuple[DeviceView, ...]) -> None:
            self._tries = 0
            on_devices(devices)

        def ended(reason: str) -> None:
            pause_s = self._again_s[min(self._tries, len(self._again_s) - 1)]
            self._tries += 1
            if not self._closed:
                self._retry = asyncio.get_running_loop().call_later(pause_s, self._watch)
                on_failure(reason)

        self._keep(_Watcher(self._tasks, self._program, found, ended))

    def open(self, kind: DeviceKind, device: str, listener: SoundListener) -> _Process:
        """See `SoundSystem`."""
        return self._keep(_Stream(self._tasks, self._program, kind, device, listener))

    def _keep(self, process: _Process) -> _Process:
        self._processes.add(process)
        process.gone.add_done_callback(lambda _: self._processes.discard(process))
        return process

    async def close(self) -> None:
        """See `SoundSystem`."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        processes = tuple(self._processes)
        for process in processes:
            process.close()
        if processes:
            await asyncio.wait([process.gone for process in processes], timeout=1.0)
        await self._tasks.close()
