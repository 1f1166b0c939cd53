"""Names and addresses of devices, with libraries that are played. Sound itself: `tests/peers/test_sound_devices.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from phoned.audio import card


def alsa(name: str, inputs: int, outputs: int, api: int = 0) -> dict[str, Any]:
    return {
        "name": name,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "hostapi": api,
    }


class Library:
    """sounddevice, as far as names go."""

    class PortAudioError(Exception):
        pass

    def __init__(
        self, *devices: dict[str, Any], default: tuple[int, int] = (0, 0), rates: tuple[int, ...] = ()
    ) -> None:
        self.devices = devices
        self.begun = 0
        self.default = SimpleNamespace(device=default)
        self.rates = rates
        self.made: list[dict[str, Any]] = []

    def query_devices(self) -> tuple[dict[str, Any], ...]:
        return self.devices

    def _terminate(self) -> None:
        """Before it begins anew."""

    def _initialize(self) -> None:
        self.begun += 1

    def query_hostapis(self, index: int) -> dict[str, Any]:
        return {"name": ("ALSA", "OSS")[index]}

    def RawInputStream(self, **options: Any) -> SimpleNamespace:
        self.made.append(options)
        if options["samplerate"] not in self.rates:
            raise self.PortAudioError("Invalid sample rate")
        return SimpleNamespace(latency=0.0213, start=lambda: None, samplerate=options["samplerate"])

    RawOutputStream = RawInputStream


USB = alsa("USB Audio: - (hw:1,0)", 1, 2)
ALL = (
    alsa("HDA Intel PCH: ALC257 Analog (hw:0,0)", 2, 2),
    USB,
    alsa("USB Audio: - (hw:2,0)", 1, 2),
    alsa("pulse", 32, 32),
    alsa("default", 32, 32),
    alsa("/dev/dsp", 2, 2, 1),
)


def test_a_card_keeps_its_name_whatever_its_number() -> None:
    assert card.stable("USB Audio: - (hw:1,0)") == card.stable("USB Audio: - (hw:7,0)") == "USB Audio"
    assert card.stable("Loopback (stereo)") == "Loopback (stereo)"
    assert list(card.numbered(["a", "b", "a", "a"])) == ["a", "b", "a #2", "a #3"]


def test_ways_to_a_sound_server_are_no_devices() -> None:
    found = card.cards(Library(*ALL))
    assert [one["name"] for one in found] == ["HDA Intel PCH: ALC257 Analog", "USB Audio", "USB Audio #2"]
    assert [one["index"] for one in found] == [0, 1, 2]
    assert found[0]["kinds"] == ["input", "output"]


def test_a_servers_sources_and_sinks_are_devices() -> None:
    pulse = SimpleNamespace(
        server_info=lambda: SimpleNamespace(default_source_name="mic", default_sink_name="out"),
        source_list=lambda: [SimpleNamespace(name="mic", description="Microphone")],
        sink_list=lambda: [SimpleNamespace(name="out", description=None), SimpleNamespace(name="b", description="B")],
    )
    found = [(one["name"], one["description"], one["kinds"], one["default"]) for one in card.nodes(pulse)]
    assert found == [
        ("mic", "Microphone", ["input"], True),
        ("out", "out", ["output"], True),
        ("b", "B", ["output"], False),
    ]


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PULSE_SINK", "PULSE_SOURCE", "PULSE_LATENCY_MSEC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(card, "server_library", lambda: None)
    library, nowhere = Library(*ALL, default=(4, 4)), card.Server()
    assert card.address(library, "output", "USB Audio #2", nowhere) == 2
    assert card.address(library, "input", "default", nowhere) == 4
    assert os.environ.pop("PULSE_LATENCY_MSEC") == "20"
    assert card.address(library, "output", "alsa_output.usb", nowhere) == 3
    assert os.environ["PULSE_SINK"] == "alsa_output.usb"
    assert os.environ["PULSE_LATENCY_MSEC"] == "25"
    assert card.address(library, "input", "alsa_input.usb", nowhere) == 3
    assert os.environ["PULSE_SOURCE"] == "alsa_input.usb"
    with pytest.raises(card.NoSound, match="libasound2-plugins"):
        card.address(Library(USB), "output", "alsa_output.usb", nowhere)
    with pytest.raises(card.NoSound, match="no input device"):
        card.address(Library(default=(-1, -1)), "input", "default", nowhere)


def test_a_name_that_the_server_does_not_know_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SINK", "")
    monkeypatch.setenv("PULSE_LATENCY_MSEC", "20")
    library, pulse = Library(*ALL), Pulse()
    assert card.address(library, "output", "speaker", card.Server(pulse)) == 3
    assert pulse.closed == 1
    for kind, name in (("output", "headset"), ("input", "speaker")):
        with pytest.raises(card.NoSound, match=f"no {kind} device '{name}'"):
            card.address(library, kind, name, card.Server(pulse))
    pulse.there = False
    assert card.address(library, "output", "headset", card.Server(pulse)) == 3, "who knows"


def test_the_first_rate_that_the_card_takes_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    library = Library(USB, rates=(44_100,))
    card.opened(library, "input", "USB Audio", lambda *_: None)
    assert [one["samplerate"] for one in library.made] == [48_000, 16_000, 44_100]
    assert library.made[-1]["blocksize"] == 441
    assert capfd.readouterr().out == '{"rate": 44100, "latency_s": 0.0213}\n'
    with pytest.raises(card.NoSound, match="Invalid sample rate"):
        card.opened(Library(USB), "output", "USB Audio", lambda *_: None)


class Pulse:
    """pulsectl, with a server that can be taken away."""

    class PulseError(Exception):
        pass

    class PulseLoopStop(Exception):
        pass

    def __init__(self) -> None:
        self.there = True
        self.sinks = ["speaker"]
        self.events: list[str] = []
        """What the server says next: an event, or that it goes."""
        self.closed = 0

    def Pulse(self, name: str, connect: bool) -> Pulse:
        return self

    def connect(self, autospawn: bool) -> None:
        if not self.there:
            raise self.PulseError("refused")

    def event_mask_set(self, *masks: str) -> None:
        assert masks == ("sink", "source", "server")

    def event_callback_set(self, callback: Any) -> None:
        self._callback = callback

    def event_listen(self, timeout: float) -> None:
        if not self.events:
            return
        if self.events.pop(0) == "goes":
            self.there = False
            raise self.PulseError("gone")
        with pytest.raises(self.PulseLoopStop):
            self._callback(None)

    def server_info(self) -> SimpleNamespace:
        return SimpleNamespace(default_source_name="", default_sink_name="speaker")

    def source_list(self) -> list[SimpleNamespace]:
        return []

    def sink_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, description=name) for name in self.sinks]

    def close(self) -> None:
        self.closed += 1


def names(found: dict[str, Any]) -> list[str]:
    return [one["name"] for one in found["devices"]]


def test_changes_of_server_and_cards_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "LOOK_S", 0.0)
    library, pulse, kernel = Library(USB), Pulse(), ["one"]
    told = card.changes(library, card.Server(pulse), lambda: kernel[0])
    assert names(next(told)) == ["speaker", "USB Audio"]
    pulse.events = ["news", "news"]
    pulse.sinks = ["speaker", "headset"]
    assert names(next(told)) == ["speaker", "headset", "USB Audio"]
    pulse.events = ["goes"]
    assert names(next(told)) == ["USB Audio"]
    assert pulse.closed
    pulse.there = True
    assert names(next(told)) == ["speaker", "headset", "USB Audio"]
    library.devices, kernel[0] = (), "two"
    assert names(next(told)) == ["speaker", "headset"]
    assert library.begun == 1


def test_without_a_server_cards_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "LOOK_S", 0.0)
    monkeypatch.setattr(card, "server_library", lambda: None)
    kernel = iter(["a", "a", "a", "b", "b", "b"])
    library = Library(USB)
    told = card.changes(library, card.Server(), lambda: next(kernel))
    assert names(next(told)) == ["USB Audio"]
    library.devices = ()
    assert names(next(told)) == []


def ends() -> tuple[tuple[int, int], tuple[int, int]]:
    """Two pipes, the first with an end already."""
    return os.pipe(), os.pipe()


def test_a_microphone_goes_to_the_pipe_and_what_does_not_fit_is_lost() -> None:
    (source, feeder), (reader, sink) = ends()
    os.close(feeder)
    library = Library(USB, rates=(48_000,))
    card.record(library, "USB Audio", source, sink)
    hear = library.made[-1]["callback"]
    hear(b"ab" * 480, 480, None, None)
    for _ in range(100):
        hear(b"ab" * 480, 480, None, None)  # nobody reads
    assert os.read(reader, 960) == b"ab" * 480
    for end in (source, reader, sink):
        os.close(end)


def test_a_speaker_takes_whole_samples_drops_the_oldest_and_tells_what_it_missed() -> None:
    (source, feeder), (reader, sink) = ends()
    os.write(feeder, b"\1" * 49_001)
    os.write(feeder, b"\2")
    os.close(feeder)
    library = Library(USB, rates=(48_000,))
    card.play(library, "USB Audio", source, sink)
    fill = library.made[-1]["callback"]
    out = bytearray(48_000)
    fill(memoryview(out), 24_000, None, None)
    assert (out[0], out[-1]) == (1, 2)  # half a second; what was more is gone from the front
    fill(memoryview(out), 24_000, None, None)
    assert not any(out)
    assert os.read(reader, 16) == card.PLAYED.pack(24_000, 0) + card.PLAYED.pack(0, 24_000)
    for _ in range(10_000):
        fill(memoryview(out)[:2], 1, None, None)  # nobody reads
    for end in (source, reader, sink):
        os.close(end)


def test_the_kernels_cards_are_text_or_nothing() -> None:
    assert isinstance(card.kernel_cards(), str)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("failure", "cure"), [("ImportError", "pip install 'phoned[audio]'"), ("OSError", "apt install libportaudio2")]
)
def test_what_is_missing_is_said_with_its_cure(failure: str, cure: str) -> None:
    finder = (
        "import sys, builtins; real = builtins.__import__\n"
        "def fake(name, *rest):\n"
        f"    if name == 'sounddevice': raise {failure}\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = fake\n"
        "from phoned.audio.card import main; sys.exit(main(['watch']))"
    )
    done = run(finder)
    assert done.returncode == 1
    assert cure in done.stdout


def test_a_headless_phone_imports_no_sound_library() -> None:
    done = run("import sys, phoned.daemon; print({'sounddevice', 'pulsectl', '_sounddevice'} & set(sys.modules))")
    assert done.stdout == "set()\n"
