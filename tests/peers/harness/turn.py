"""coturn: a TURN server (RFC 8656) that relays to addresses of its place."""

from __future__ import annotations

import socket

from tests.peers.harness.place import HERE, Place
from tests.support.child import Child, free_ports, program


class Coturn(Child):
    """Ready once constructed; `username` and `password` are its long-term credentials."""

    username, password = "turner", "secret-of-turner"

    def __init__(self, place: Place = HERE) -> None:
        executable = program("turnserver")
        super().__init__("coturn")
        self._place = place
        (self.port,) = free_ports(1)
        # relay ports beside those of rtpengine, and below the kernel's own range
        ports = "--min-port=32000 --max-port=32099"
        quiet = "--no-tls --no-dtls --no-cli --no-multicast-peers --no-rfc5780 --log-file=stdout --simple-log"
        loopback = ["--allow-loopback-peers", "--cli-password=unused"] if place is HERE else []
        credentials = ["--lt-cred-mech", f"--user={self.username}:{self.password}", "--realm=pbx.test", "--fingerprint"]
        addresses = [f"--listening-ip={place.address}", f"--relay-ip={place.address}", f"--listening-port={self.port}"]
        files = [f"--userdb={self.directory}/users", f"--pidfile={self.directory}/pid"]
        try:
            self.spawn(
                place.inside(
                    [executable, "-n", *addresses, *ports.split(), *credentials, *quiet.split(), *loopback, *files]
                )
            )
            self.until(self._listens, "listens")
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """As ``[media] turn`` takes it."""
        return f"turn:{self._place.address}:{self.port}"

    def _listens(self) -> bool:
        try:
            with self._place.entered():
                socket.create_connection((self._place.address, self.port), 1.0).close()
        except OSError:
            return False
        return True
