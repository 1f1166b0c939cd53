"""A PulseAudio of the test's own, with devices of its own: nothing of the machine's sound is touched.

``room`` is where people stand: what is played into it is what the microphone ``mic`` hears. ``speaker``, ``second`` and
``bell`` are speakers; what they say is heard at their monitors.
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

MODULES = """\
load-module module-native-protocol-unix auth-anonymous=1 socket={directory}/native
load-module module-null-sink sink_name=room rate=48000
load-module module-remap-source source_name=mic master=room.monitor source_properties=device.description=Mic
load-module module-null-sink sink_name=speaker rate=48000 sink_properties=device.description=Speaker
load-module module-null-sink sink_name=bell rate=48000
set-default-sink speaker
set-default-source mic
"""


class PulseAudio(Child):
    """Ended by its pid, with its directory."""

    def __init__(self) -> None:
        super().__init__("pulse")
        script = self.directory / "start.pa"
        script.write_text(MODULES.format(directory=self.directory))
        argv = [program("pulseaudio"), "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
        argv += ["--disable-shm=yes", "--realtime=no", "--high-priority=no", "-F", str(script)]
        self.spawn(argv, environment=self._own)
        self._pactl = program("pactl")
        self.until(lambda: (self.directory / "native").exists() and "bell" in self.sinks(), "it has its devices")

    @property
    def _own(self) -> dict[str, str]:
        home = str(self.directory)
        return {"XDG_RUNTIME_DIR": home, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}

    @property
    def environment(self) -> Mapping[str, str]:
        """For whoever shall use it."""
        return {"PULSE_SERVER": f"unix:{self.directory}/native", "PULSE_COOKIE": f"{self.directory}/cookie"}

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
        return {**self._own, **self.environment, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
