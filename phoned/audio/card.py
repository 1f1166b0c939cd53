"""A sound card in a process of its own: `python -m phoned.audio.card watch|input|output [DEVICE]`.

Sound libraries block, crash and cannot look for new devices while one is open. Here they may: the phone starts one such
process for each open device and one that watches, and none can take a call down. Imports no more of phoned than this.

Written to stdout: `watch` a JSON object a line, ``{"devices": [...]}`` or ``{"error": ...}``, at each change; the
others one line ``{"rate", "latency_s"}`` or ``{"error"}`` first. Then `input` raw samples; `output`, which reads
samples from stdin, pairs of 32-bit numbers: samples taken and samples missed by the card. Ends with stdin.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BLOCK_S = 0.01
RATES = (48_000, 16_000, 44_100, 32_000)
"""In order of preference: most cards run at the first."""
LATENCY_S = 0.02
"""Asked of the card's own buffers."""
SERVER_LATENCY_MS = {"input": "20", "output": "25"}
"""Asked of a sound server, which would take up to two seconds else. Less makes ALSA's bridge stop."""
MOST_WAITING_S = 0.5
"""A speaker's samples beyond that are dropped, the oldest first."""
LOOK_S = 1.0
GONE = 3
"""Exit status when the card has ended the stream by itself."""
PLAYED = struct.Struct("=II")
HIDDEN = frozenset({"pulse", "default", "sysdefault", "pipewire", "null", "samplerate", "speexrate", "jack", "oss"})
"""ALSA names that are no devices but ways to some."""

NO_LIBRARY = "the Python package sounddevice is missing: pip install 'phoned[audio]'"
NO_PORTAUDIO = "PortAudio is missing: apt install libportaudio2"
NO_BRIDGE = "ALSA has no way to the sound server: apt install libasound2-plugins"


class NoSound(Exception):
    """With a reason for a person."""


def library() -> Any:
    """sounddevice. Raises `NoSound`."""
    try:
        import sounddevice
    except ImportError:
        raise NoSound(NO_LIBRARY) from None
    except OSError:
        raise NoSound(NO_PORTAUDIO) from None
    return sounddevice


def tell(line: dict[str, Any]) -> None:
    """A line of JSON to the phone."""
    os.write(1, json.dumps(line).encode() + b"\n")


# ---------------------------------------------------------------- names


def stable(name: str) -> str:
    """A card's name without its number, which is another after each boot: ``USB Audio: - (hw:1,0)``."""
    head, bracket, tail = name.rpartition(" (hw:")
    return head.rstrip(" -:") if bracket and tail.endswith(")") else name


def numbered(names: list[str]) -> Iterator[str]:
    """Two of the same name become ``X`` and ``X #2``."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"


def cards(sounddevice: Any) -> list[dict[str, Any]]:
    """What PortAudio sees by itself, without the ways to a sound server, with PortAudio's index."""
    found = [
        (index, facts)
        for index, facts in enumerate(sounddevice.query_devices())
        if facts["name"] not in HIDDEN and sounddevice.query_hostapis(facts["hostapi"])["name"] == "ALSA"
    ]
    names = numbered([stable(facts["name"]) for _, facts in found])
    return [
        {
            "name": name,
            "description": facts["name"],
            "backend": "alsa",
            "kinds": [kind for kind in ("input", "output") if facts[f"max_{kind}_channels"]],
            "default": False,
            "index": index,
        }
        for name, (index, facts) in zip(names, found, strict=True)
    ]


def nodes(pulse: Any) -> list[dict[str, Any]]:
    """The sources and sinks of a PulseAudio or PipeWire server."""
    server = pulse.server_info()
    listed = [
        *(("input", source, server.default_source_name) for source in pulse.source_list()),
        *(("output", sink, server.default_sink_name) for sink in pulse.sink_list()),
    ]
    return [
        {
            "name": node.name,
            "description": node.description or node.name,
            "backend": "pulse",
            "kinds": [kind],
            "default": node.name == default,
        }
        for kind, node, default in listed
    ]


# ---------------------------------------------------------------- watching


def server_library() -> Any:
    """pulsectl; None without it, or without libpulse."""
    try:
        import pulsectl
    except (ImportError, OSError):
        return None
    return pulsectl


class Server:
    """The connection to a sound server, made again when it breaks; there may be none at all."""

    def __init__(self, pulsectl: Any = None) -> None:
        self._pulsectl = pulsectl or server_library()
        self._pulse: Any = None
        self._news = False

    def nodes(self) -> list[dict[str, Any]]:
        """Sources and sinks; none without a server."""
        if self._pulsectl is None:
            return []
        try:
            if self._pulse is None:
                self._pulse = self._pulsectl.Pulse("phoned", connect=False)
                self._pulse.connect(autospawn=False)
                self._pulse.event_mask_set("sink", "source", "server")
                self._pulse.event_callback_set(self._on_event)
            return nodes(self._pulse)
        except self._pulsectl.PulseError:
            self.drop()
            return []

    def drop(self) -> None:
        """It is broken."""
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.close()

    def _on_event(self, event: Any) -> None:
        self._news = True
        raise self._pulsectl.PulseLoopStop

    def wait(self, seconds: float) -> bool:
        """Until something changed there, or the time is over. True: look again."""
        if self._pulse is None:
            time.sleep(seconds)
            return self._pulsectl is not None
        self._news = False
        try:
            self._pulse.event_listen(timeout=seconds)
        except self._pulsectl.PulseError:
            self.drop()
            return True
        return self._news


def kernel_cards() -> str:
    """What changes when a card comes or goes."""
    try:
        return Path("/proc/asound/cards").read_text()
    except OSError:
        return ""


def changes(sounddevice: Any, server: Server, kernel: Callable[[], str] = kernel_cards) -> Iterator[dict[str, Any]]:
    """What there is, now and after each change, for ever."""
    before, told, local = kernel(), None, cards(sounddevice)
    while True:
        found = {"devices": [{key: one[key] for key in one if key != "index"} for one in (*server.nodes(), *local)]}
        if found != told:
            told = found
            yield found
        while not server.wait(LOOK_S) and kernel() == before:
            pass
        if (now := kernel()) != before:
            before = now
            sounddevice._terminate()  # PortAudio looks for devices once, when it begins
            sounddevice._initialize()
            local = cards(sounddevice)


# ---------------------------------------------------------------- open devices


def address(sounddevice: Any, kind: str, device: str, server: Server) -> int:
    """PortAudio's index of a device; a server's is reached through ALSA's ``pulse`` and the environment. Raises
    `NoSound`."""
    if device == "default":
        chosen = sounddevice.default.device[kind == "output"]
        if chosen < 0:
            raise NoSound(f"there is no {kind} device")
        os.environ.setdefault("PULSE_LATENCY_MSEC", SERVER_LATENCY_MS[kind])  # `default` may lead to a server, too
        return int(chosen)
    for card in cards(sounddevice):
        if card["name"] == device and kind in card["kinds"]:
            return int(card["index"])
    on_server = server.nodes()
    server.drop()
    if on_server and not any(node["name"] == device and kind in node["kinds"] for node in on_server):
        raise NoSound(f"there is no {kind} device {device!r}")  # PipeWire would take its default one without a word
    for index, facts in enumerate(sounddevice.query_devices()):
        if facts["name"] == "pulse":
            os.environ["PULSE_SOURCE" if kind == "input" else "PULSE_SINK"] = device
            os.environ.setdefault("PULSE_LATENCY_MSEC", SERVER_LATENCY_MS[kind])
            return index
    raise NoSound(NO_BRIDGE)


def opened(sounddevice: Any, kind: str, device: str, callback: Callable[..., None]) -> Any:
    """A stream at the first rate that the device takes, begun. Raises `NoSound`."""
    index = address(sounddevice, kind, device, Server())
    make = sounddevice.RawInputStream if kind == "input" else sounddevice.RawOutputStream
    reason = ""
    for rate in RATES:
        try:
            stream = make(
                samplerate=rate,
                blocksize=int(rate * BLOCK_S),
                device=index,
                channels=1,
                dtype="int16",
                latency=LATENCY_S,
                callback=callback,
                finished_callback=lambda: os._exit(GONE),
            )
        except sounddevice.PortAudioError as error:
            reason = str(error.args[0] if error.args else error)
            continue
        tell({"rate": rate, "latency_s": round(float(stream.latency), 4)})
        stream.start()
        return stream
    raise NoSound(reason)


def until_end(source: int) -> None:
    """Until the phone has enough."""
    while os.read(source, 4096):
        pass


def record(sounddevice: Any, device: str, source: int = 0, sink: int = 1) -> None:
    """A microphone to ``sink``, until ``source`` ends. What the pipe cannot hold is lost."""
    os.set_blocking(sink, False)

    def callback(data: Any, *_: object) -> None:
        try:
            os.write(sink, bytes(data))
        except BlockingIOError:
            pass  # the phone stands still: it wants no old sound afterwards

    stream = opened(sounddevice, "input", device, callback)
    until_end(source)
    assert stream is not None  # held until here: a stream that nobody holds is closed


def play(sounddevice: Any, device: str, source: int = 0, sink: int = 1) -> None:
    """``source`` to a speaker, and to ``sink`` what became of it."""
    os.set_blocking(sink, False)
    waiting = bytearray()
    lock = threading.Lock()

    def callback(out: Any, *_: object) -> None:
        with lock:
            size = min(len(out), len(waiting))
            out[:size] = bytes(waiting[:size])
            del waiting[:size]
        out[size:] = bytes(len(out) - size)
        try:
            os.write(sink, PLAYED.pack(size // 2, (len(out) - size) // 2))
        except BlockingIOError:
            pass  # as above

    stream = opened(sounddevice, "output", device, callback)
    most = int(stream.samplerate * MOST_WAITING_S) * 2
    odd = b""
    while data := os.read(source, 65536):
        data = odd + data
        odd = data[len(data) & ~1 :]
        with lock:
            waiting += data[: len(data) & ~1]
            if len(waiting) > most:
                del waiting[: len(waiting) - most]


def end_with_stdin() -> None:
    """Nobody listens any more: go, whatever a library is waiting for."""
    until_end(0)
    os._exit(0)


def main(arguments: list[str]) -> int:
    """The program."""
    verb, device = arguments[0], arguments[1] if len(arguments) > 1 else "default"
    try:
        sounddevice = library()
        match verb:
            case "watch":
                threading.Thread(target=end_with_stdin, daemon=True).start()
                for found in changes(sounddevice, Server()):
                    tell(found)
            case "input":
                record(sounddevice, device)
            case "output":
                play(sounddevice, device)
    except NoSound as error:
        tell({"error": str(error)})
        return 1
    os._exit(0)  # PortAudio may hang when it is to close a device that is gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
