"""One end of N calls: baresip of the Debian package ``baresip-core``, with ICE, DTLS-SRTP and the same speech.

Driven over its TCP socket (netstrings of JSON). Its file source stops at the end of the file, so the file is long. Its
sound goes to an ``aubridge`` that nobody reads: decoded and then dropped, which is less work than playing it.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import time
import wave
from pathlib import Path
from typing import Any

from tests.bench.end import pin
from tests.bench.speech import SECONDS, speech
from tests.peers.harness.place import HERE, Place
from tests.support.child import Child, free_ports, until

Json = dict[str, Any]
MODULES = Path("/usr/lib/baresip/modules")
FILE_S = 120
_WAV_HEADER = 44
BITRATE, COMPLEXITY, LOSS_PCT = 24_000, 1, 0
"""What phoned's encoder is set to when nothing is configured and nothing lost."""


def why_not() -> str | None:
    """Why baresip cannot be measured here; None when it can."""
    if shutil.which("baresip") is None:
        return "baresip is not installed: apt-get install --no-install-recommends baresip-core"
    missing = [name for name in ("opus", "ice", "dtls_srtp") if not (MODULES / f"{name}.so").exists()]
    return f"baresip lacks the modules {', '.join(missing)}" if missing else None


def version() -> str | None:
    """As the package manager knows it."""
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "baresip-core"], capture_output=True, text=True, check=False
    )
    return found.stdout or None


class Baresip(Child):
    """One baresip: answers everything, dials on order."""

    def __init__(
        self,
        codec: str,
        *,
        core: int,
        place: Place = HERE,
        address: str = "127.0.0.1",
        bitrate: int = BITRATE,
        loss_pct: int = LOSS_PCT,
        dump: bool = False,
    ) -> None:
        """``dump``: keep what is decoded (`decoded`)."""
        super().__init__("baresip")
        self.codec = codec
        self.rate = 48_000 if codec == "opus" else 8_000
        self.address = address
        control, self.sip = free_ports(2)
        self._extra = [f"opus_bitrate {bitrate}", f"opus_packet_loss {loss_pct}"]
        if dump:
            self._extra += ["module sndfile.so", f"snd_path {self.directory}"]
        with wave.open(str(self.directory / "speech.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            for _ in range(FILE_S // SECONDS):
                file.writeframesraw(speech(self.rate))
        self._configure(control)
        (self.directory / "contacts").touch()
        self._events: list[Json] = []
        self._buffer = b""
        self._control: socket.socket | None = None
        try:
            argv = place.inside(["baresip", "-f", str(self.directory)])
            self.spawn(argv, environment={"HOME": str(self.directory)})
            pin(self.process.pid, core)
            with place.entered():
                self._control = self.until(lambda: _connect(control), "control socket")
        except BaseException:
            self.close()
            raise

    def _configure(self, control: int) -> None:
        first_port = 40_000 if self.sip % 2 else 44_000
        settings = [
            "poll_method epoll",
            f"sip_listen {self.address}:{self.sip}",
            "call_local_timeout 120",
            "call_max_calls 0",
            f"audio_source aufile,{self.directory}/speech.wav",
            "audio_player aubridge,nobody",
            "audio_alert aubridge,alert",
            "audio_level no",
            "statmode_default off",
            f"rtp_ports {first_port}-{first_port + 3998}",
            "rtcp_mux yes",
            "jitter_buffer_delay 3-10",
            "opus_stereo no",
            "opus_sprop_stereo no",
            "opus_inbandfec yes",
            f"opus_complexity {COMPLEXITY}",
            "opus_application voip",
            f"ctrl_tcp_listen 127.0.0.1:{control}",
            f"module_path {MODULES}",
            *self._extra,
            "module opus.so" if self.codec == "opus" else "module g711.so",
            *(f"module {name}.so" for name in ("aufile", "aubridge", "ice", "dtls_srtp")),
            *(f"module_tmp {name}.so" for name in ("uuid", "account")),
            *(f"module_app {name}.so" for name in ("menu", "ctrl_tcp")),
        ]
        (self.directory / "config").write_text("\n".join(settings) + "\n")
        codecs = "" if self.codec == "opus" else ";audio_codecs=PCMU/8000"
        (self.directory / "accounts").write_text(
            f"<sip:bench@{self.address}:{self.sip}>;regint=0;answermode=auto;medianat=ice;mediaenc=dtls_srtp{codecs}\n"
        )

    def dial(self, other: Baresip, calls: int, timeout_s: float = 30.0) -> None:
        """Set so many more calls up, one after the other, until sound comes in on each; all within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        for _ in range(calls):
            wanted = self.count("CALL_RTPESTAB") + 1, other.count("CALL_RTPESTAB") + 1
            self.order("dial", f"sip:bench@{other.address}:{other.sip}")

            def flowing(mine: int = wanted[0], theirs: int = wanted[1]) -> bool:
                if self.count("CALL_CLOSED") or other.count("CALL_CLOSED"):
                    raise RuntimeError(f"a call ended: {self.log[-2000:]}")
                return self.count("CALL_RTPESTAB") >= mine and other.count("CALL_RTPESTAB") >= theirs

            until(flowing, "baresip: sound in both directions", max(0.0, deadline - time.monotonic()))

    def order(self, command: str, parameters: str = "") -> None:
        """A command of its menu."""
        assert self._control is not None
        body = json.dumps({"command": command, "params": parameters, "token": "bench"}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))

    def decoded(self, since: int = 0) -> bytes:
        """What its decoder gave after so many bytes, at `rate`. Time in which it gave nothing is not in it."""
        (path,) = self.directory.glob("dump-*-dec.wav")
        # the sizes in the header are written when the call ends
        return path.read_bytes()[_WAV_HEADER + since :]

    def count(self, type_: str) -> int:
        """How many events of a type have come."""
        self._read()
        return sum(event.get("type") == type_ for event in self._events)

    def stop(self, grace_s: float = 5.0) -> int | None:
        if self._control is not None:
            self._control.close()
            self._control = None
        return super().stop(grace_s)

    def _read(self) -> None:
        assert self._control is not None
        while select.select([self._control], [], [], 0)[0]:
            data = self._control.recv(65536)
            if not data:
                raise RuntimeError(f"baresip ended:\n{self.log[-2000:]}")
            self._buffer += data
        while (colon := self._buffer.find(b":")) > 0:
            end = colon + 1 + int(self._buffer[:colon])
            if len(self._buffer) <= end:
                break
            self._events.append(json.loads(self._buffer[colon + 1 : end]))
            self._buffer = self._buffer[end + 1 :]


def _connect(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), 1.0)
    except OSError:
        return None


def datagrams() -> int:
    """UDP datagrams that this machine has received."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index("InDatagrams")])


def rate_of_datagrams(seconds: float) -> float:
    """Datagrams a second, just now."""
    before, began = datagrams(), time.monotonic()
    time.sleep(seconds)
    return (datagrams() - before) / (time.monotonic() - began)
