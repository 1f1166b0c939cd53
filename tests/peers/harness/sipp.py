"""sipp over UDP: a plain RTP/AVP far end that answers one call and echoes what it hears."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.peers.harness.kamailio import Kamailio, password
from tests.support.child import Child, free_ports, is_free, program

SCENARIOS = Path(__file__).parent.parent / "sipp"


class SippEcho(Child):
    """Registered and listening once constructed; `finish` tells whether the call went as the scenario says."""

    def __init__(self, kamailio: Kamailio, user: str) -> None:
        self._executable = program("sipp")
        super().__init__("sipp")
        self._proxy = f"127.0.0.1:{kamailio.udp_port}"
        self._domain = kamailio.domain
        own, media, registering = free_ports(3)
        credentials = ["-au", user, "-ap", password(user), "-key", "user", user, "-key", "contact_port", str(own)]
        try:
            self._run("register", registering, credentials)
            if self.finish(10.0) != 0:
                raise RuntimeError(f"sipp could not register:\n{self.log[-2000:]}\n{self.messages[-2000:]}")
            self._run("answer", own, ["-rtp_echo", "-mp", str(media)])
            self.until(lambda: not is_free(own), "listens")
        except BaseException:
            self.close()
            raise

    @property
    def messages(self) -> str:
        """The SIP messages of both runs."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.messages")))

    def finish(self, timeout_s: float = 10.0) -> int:
        """Wait for the scenario's end; 0 when it went to plan."""
        return self.process.wait(timeout_s)

    def _run(self, scenario: str, port: int, arguments: Sequence[str]) -> None:
        common = f"-i 127.0.0.1 -mi 127.0.0.1 -p {port} -m 1 -nostdin -timeout 60s -timeout_error -trace_err -trace_msg"
        files = [
            "-message_file",
            str(self.directory / f"{scenario}.messages"),
            "-error_file",
            str(self.directory / "errors"),
        ]
        what = [
            self._executable,
            self._proxy,
            "-sf",
            str(SCENARIOS / f"{scenario}.xml"),
            "-key",
            "domain",
            self._domain,
        ]
        self.spawn([*what, *common.split(), *files, *arguments], environment={"TERM": "dumb"})
