"""baresip over UDP: a plain RTP/AVP far end with a tone as its microphone, which records what it hears."""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path
from typing import Any

from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.place import HERE, Place
from tests.peers.harness.sound import Sound, sine, write_wav
from tests.support.child import Child, free_ports, program, until

Json = dict[str, Any]
MODULES = Path("/usr/lib/baresip/modules")
REGISTER_S = 60


class Baresip(Child):
    """Registered once constructed. Controlled over its TCP socket: netstrings of JSON. With ``roams`` it listens on
    whatever addresses there are, else on that of its place."""

    def __init__(
        self,
        kamailio: Kamailio,
        user: str,
        *,
        tone_hz: float = 1000.0,
        auto_answer: bool = True,
        codecs: str = "PCMU/8000,PCMA/8000",
        place: Place = HERE,
        roams: bool = False,
    ) -> None:
        executable = program("baresip")
        super().__init__("baresip")
        self._place = place
        control, sip = free_ports(2)
        # its file source stops at the end of the file
        write_wav(self.directory / "tone.wav", sine(tone_hz, 120))
        (self.directory / "config").write_text(
            "\n".join(
                [
                    *([] if roams else [f"sip_listen {place.address}:{sip}"]),
                    f"audio_source aufile,{self.directory}/tone.wav",
                    f"audio_player aubridge,{user}",
                    "audio_alert aubridge,alert",
                    "rtp_ports 32710-32760",
                    "rtcp_mux no",
                    f"ctrl_tcp_listen 127.0.0.1:{control}",
                    f"snd_path {self.directory}",
                    f"module_path {MODULES}",
                    *(f"module {name}.so" for name in ("g711", "aufile", "aubridge", "sndfile")),
                    *(f"module_tmp {name}.so" for name in ("uuid", "account")),
                    *(f"module_app {name}.so" for name in ("menu", "ctrl_tcp")),
                    "",
                ]
            )
        )
        (self.directory / "accounts").write_text(
            f"<{kamailio.aor(user)}>;auth_user={user};auth_pass={password(user)};regint={REGISTER_S};audio_codecs={codecs}"
            f';outbound="sip:{kamailio.address}:{kamailio.udp_port};transport=udp"'
            f";answermode={'auto' if auto_answer else 'manual'}\n"
        )
        (self.directory / "contacts").touch()
        self._events: list[Json] = []
        self._answers: list[Json] = []
        self._buffer = b""
        self._control: socket.socket | None = None
        try:
            argv = place.inside([executable, "-f", str(self.directory)])
            self.spawn(argv, environment={"HOME": str(self.directory)})
            self._control = self.until(lambda: self._connect(control), "control socket")
            self.until(lambda: kamailio.contacts(user), "is registered")
        except BaseException:
            self.close()
            raise

    def dial(self, uri: str) -> None:
        """Call."""
        self.command("dial", uri)

    def hangup(self) -> None:
        """End the call, or refuse it while it rings."""
        self.command("hangup")

    def accept(self) -> None:
        """Answer the ringing call."""
        self.command("accept")

    def digit(self, key: str) -> None:
        """Send one digit as an RFC 4733 event of about 100 ms."""
        self.command("sndcode", key)

    def command(self, command: str, parameters: str = "", timeout_s: float = 5.0) -> Json:
        """A command of baresip's menu; returns its answer."""
        if self._control is None:
            raise RuntimeError("baresip has ended")
        body = json.dumps({"command": command, "params": parameters, "token": "test"}).encode()
        self._answers.clear()
        self._control.sendall(b"%d:%s," % (len(body), body))
        deadline = time.monotonic() + timeout_s
        while not self._answers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"baresip: {command}\n{self.log[-2000:]}")
            self._read(0.05)
        answer = self._answers.pop(0)
        if not answer.get("ok"):
            raise RuntimeError(f"baresip: {command} {parameters}: {answer}")
        return answer

    def events(self, type_: str) -> list[Json]:
        """Such as CALL_INCOMING, CALL_ESTABLISHED, CALL_DTMF_START, CALL_CLOSED."""
        self._read(0.0)
        return [event for event in self._events if event.get("type") == type_]

    def wait_for(self, type_: str, timeout_s: float = 10.0) -> Json:
        """The newest event of a type, once there is one."""
        until(lambda: self.events(type_), f"baresip: {type_}", timeout_s)
        return self.events(type_)[-1]

    def heard(self) -> Sound:
        """What the newest call has heard so far."""
        newest = max(self.directory.glob("*-dec.wav"), key=lambda path: path.stat().st_mtime)
        data = newest.read_bytes()
        # the header is written when the call ends: do not trust its length
        return Sound.from_pcm16(data[44 : 44 + (len(data) - 44) // 2 * 2], int.from_bytes(data[24:28], "little"))

    def stop(self, grace_s: float = 5.0) -> int | None:
        if self._control is not None:
            self._control.close()
            self._control = None
        return super().stop(grace_s)

    def _read(self, timeout_s: float) -> None:
        if self._control is None:
            return
        while select.select([self._control], [], [], timeout_s)[0]:
            timeout_s = 0.0
            data = self._control.recv(65536)
            if not data:
                return
            self._buffer += data
            while (colon := self._buffer.find(b":")) > 0:
                end = colon + 1 + int(self._buffer[:colon])
                if len(self._buffer) <= end:
                    break
                message = json.loads(self._buffer[colon + 1 : end])
                self._buffer = self._buffer[end + 1 :]
                (self._events if message.get("event") else self._answers).append(message)

    def _connect(self, port: int) -> socket.socket | None:
        try:
            with self._place.entered():
                return socket.create_connection(("127.0.0.1", port), 1.0)
        except OSError:
            return None
