"""linphone-daemon over UDP: another plain RTP phone, and one that watches the network. For comparison in benches."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path

from tests.peers.harness.kamailio import Kamailio, password
from tests.peers.harness.place import HERE, Place
from tests.peers.harness.sound import sine, write_wav
from tests.support.child import Child, free_ports, program, until

REGISTER_S = 60
SETTINGS = """\
[sip]
sip_port={port}
sip_tcp_port=0
sip_tls_port=0
guess_hostname=1
register_only_when_network_is_up=1
auto_net_state_mon=1
keepalive_period=10000
use_ipv6=0
default_proxy=0
[net]
stun_server=
[rtp]
audio_rtp_port=-1
[sound]
playback_dev_id=
local_ring=
[auth_info_0]
username={user}
passwd={password}
domain={domain}
realm={domain}
[proxy_0]
reg_proxy=<sip:{proxy};transport=udp>
reg_route=<sip:{proxy};transport=udp;lr>
reg_identity={aor}
reg_expires={expires}
reg_sendregister=1
publish=0
"""


class Linphone(Child):
    """Registered once constructed. One command per line on a unix socket."""

    def __init__(self, kamailio: Kamailio, user: str, *, tone_hz: float = 600.0, place: Place = HERE) -> None:
        executable = program("linphone-daemon")
        super().__init__("linphone")
        (port,) = free_ports(1)
        self._tone = self.directory / "tone.wav"
        write_wav(self._tone, sine(tone_hz, 300))
        for folder in (".local/share/linphone", ".config/linphone"):
            (self.directory / folder).mkdir(parents=True)
        settings = self.directory / "linphonerc"
        settings.write_text(
            SETTINGS.format(
                port=port,
                user=user,
                password=password(user),
                domain=kamailio.domain,
                proxy=f"{kamailio.address}:{kamailio.udp_port}",
                aor=kamailio.aor(user),
                expires=REGISTER_S,
            )
        )
        # the daemon puts its socket there whatever TMPDIR says
        self._pipe = Path("/tmp") / f"{self.directory.name}.pipe"
        self._control: socket.socket | None = None
        argv = [executable, "--config", str(settings), "--factory-config", "/dev/null"]
        argv += ["--pipe", self._pipe.name, "--disable-stats-events"]
        try:
            self.spawn(place.inside(argv), environment={"HOME": str(self.directory)})
            self._control = self.until(self._connect, "control socket")
            self.until(lambda: "RegistrationOk" in self.command("register-status ALL"), "is registered", 20.0)
        except BaseException:
            self.close()
            raise

    def dial(self, uri: str) -> None:
        """Call, and say the tone once the media run: it sends nothing before."""
        self.command(f"call {uri}")
        until(lambda: "StreamsRunning" in self.command("call-status"), "linphone: streams run")
        self.command(f"incall-player-start {self._tone}")

    def command(self, line: str, timeout_s: float = 5.0) -> str:
        """Its answer: a status and fields, as text."""
        if self._control is None:
            raise RuntimeError("linphone has ended")
        self._read(0.0)
        self._control.sendall(line.encode() + b"\n")
        answer, deadline = "", time.monotonic() + timeout_s
        while "Status:" not in answer:
            if time.monotonic() > deadline:
                raise TimeoutError(f"linphone: {line}\n{self.log[-2000:]}")
            answer += self._read(0.1)
        return answer

    def stop(self, grace_s: float = 5.0) -> int | None:
        if self._control is not None:
            self._control.close()
            self._control = None
        code = super().stop(grace_s)
        self._pipe.unlink(missing_ok=True)
        return code

    def _read(self, timeout_s: float) -> str:
        text = b""
        while self._control is not None and select.select([self._control], [], [], timeout_s)[0]:
            timeout_s = 0.05
            data = self._control.recv(65536)
            if not data:
                raise RuntimeError(f"linphone has ended:\n{self.log[-2000:]}")
            text += data
        return text.decode(errors="replace")

    def _connect(self) -> socket.socket | None:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            control.connect(str(self._pipe))
        except OSError:
            control.close()
            return None
        return control
