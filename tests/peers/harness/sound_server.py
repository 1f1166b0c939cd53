"""A sound server of the test's own, with devices of its own: nothing of the machine's sound is touched.

``room`` is where people stand: what is played into it is what the microphone ``mic`` hears. ``speaker`` and ``bell``
are speakers; what they say is heard at their monitors. PipeWire speaks PulseAudio's protocol, so programs see no
difference.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.peers.harness.sound import Sound, sine, write_wav
from tests.support.child import Child, program

RATE = 16_000

DEVICES = (
    ("module-null-sink", "sink_name=room", "rate=48000"),
    ("module-remap-source", "source_name=mic", "master=room.monitor", "source_properties=device.description=Mic"),
    ("module-null-sink", "sink_name=speaker", "rate=48000", "sink_properties=device.description=Speaker"),
    ("module-null-sink", "sink_name=bell", "rate=48000"),
)
DEFAULTS = """\
load_module("metadata")
load_module("default-nodes", {})
"""
"""For WirePlumber's policies, which come without the part that looks for devices and remembers them."""


class SoundServer(Child):
    """Ended by its pid, with its directory."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._socket = self.directory / "pulse" / "native"
        self._pactl = program("pactl")

    def furnish(self) -> None:
        """Wait until it answers, and give it its devices."""
        self.until(lambda: "Server Name" in self.control("info"), "it answers")
        for module in DEVICES:
            self.load(*module)
        self.until(lambda: "mic" in self.control("list", "short", "sources"), "it has its microphone")
        self.control("set-default-sink", "speaker")
        self.control("set-default-source", "mic")

    @property
    def own(self) -> dict[str, str]:
        """For the server itself: its files are in its directory."""
        home = str(self.directory)
        return {"XDG_RUNTIME_DIR": home, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}

    @property
    def environment(self) -> Mapping[str, str]:
        """For whoever shall use it."""
        return {"PULSE_SERVER": f"unix:{self._socket}", "PULSE_COOKIE": f"{self.directory}/cookie"}

    def control(self, *arguments: str) -> str:
        """`pactl`."""
        done = subprocess.run(
            [self._pactl, *arguments],
            env=self._whole,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.stdout.strip()

    def sinks(self) -> str:
        """What speakers there are."""
        return self.control("list", "short", "sinks")

    def load(self, *module: str) -> str:
        """A module more: its index."""
        index = self.control("load-module", *module)
        assert index.isdigit(), f"{module} cannot be loaded: {index}"
        return index

    def unload(self, index: str) -> None:
        """As if it were pulled out."""
        self.control("unload-module", index)

    def module_of(self, sink: str) -> str:
        """The index of the module that made a sink."""
        lines = self.control("list", "short", "modules").splitlines()
        return next(line.split()[0] for line in lines if f"sink_name={sink}" in line.split())

    @contextmanager
    def says(self, frequency_hz: float, where: str = "room") -> Iterator[None]:
        """Somebody in the room says a tone meanwhile; `paplay`, for a minute at most."""
        path = self.directory / f"{frequency_hz:g}.wav"
        write_wav(path, sine(frequency_hz, 60.0))
        with subprocess.Popen(
            [program("paplay"), f"--device={where}", "--latency-msec=20", str(path)], env=self._whole
        ) as voice:
            try:
                yield
            finally:
                voice.terminate()

    @contextmanager
    def listening(self, where: str) -> Iterator[Callable[[float], Sound]]:
        """Somebody stands at a speaker's monitor: gives what was heard in so many last seconds; `parec`."""
        argv = [program("parec"), f"--device={where}.monitor", "--raw", "--format=s16le", f"--rate={RATE}"]
        heard = bytearray()
        with subprocess.Popen(
            [*argv, "--channels=1", "--latency-msec=20"], env=self._whole, stdout=subprocess.PIPE
        ) as ear:
            assert ear.stdout is not None
            descriptor = ear.stdout.fileno()

            def listen() -> None:
                while data := os.read(descriptor, 65536):
                    heard.extend(data)

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()

            def last(seconds: float) -> Sound:
                size = int(seconds * RATE) * 2
                return Sound.from_pcm16(bytes(heard[: len(heard) & ~1][-size:]), RATE)

            try:
                yield last
            finally:
                ear.terminate()
                thread.join(5)

    @property
    def _whole(self) -> dict[str, str]:
        return {**self.own, **self.environment, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class PulseAudio(SoundServer):
    """PulseAudio itself."""

    def __init__(self) -> None:
        super().__init__("pulse")
        self._socket.parent.mkdir()
        argv = [program("pulseaudio"), "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
        argv += ["--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        argv += ["-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"]
        self.spawn(argv, environment=self.own)
        self.furnish()


class PipeWire(SoundServer):
    """PipeWire, its session manager, which looks for no devices, and its server of PulseAudio's protocol."""

    def __init__(self) -> None:
        super().__init__("pipewire")
        self._others: list[Child] = []
        self.spawn([program("pipewire")], environment=self.own)
        self.until((self.directory / "pipewire-0").exists, "it listens")
        policies = self.directory / "wireplumber" / "policy.lua.d"
        policies.mkdir(parents=True)
        (policies / "80-defaults.lua").write_text(DEFAULTS)
        for name, *arguments in (("wireplumber", "-c", "policy.conf"), ("pipewire-pulse",)):
            other = Child(name)
            self._others.append(other)
            other.spawn([program(name), *arguments], environment=self.own)
        self.furnish()

    def close(self) -> None:
        """As `Child.close`."""
        for other in self._others:
            other.close()
        super().close()
