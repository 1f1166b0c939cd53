"""rtpengine in user space: the bridge between WebRTC and plain RTP/AVP."""

from __future__ import annotations

import socket

from tests.peers.harness.place import HERE, Place
from tests.support.child import Child, free_ports, program


class Rtpengine(Child):
    """Controlled by Kamailio over the ng protocol; ready once constructed."""

    def __init__(self, place: Place = HERE) -> None:
        executable = program("rtpengine")
        super().__init__("rtpengine")
        self._place = place
        (self.control_port,) = free_ports(1)
        try:
            options = "--config-file=none --foreground --log-stderr --log-level=5 --table=-1"
            # media ports above those of free_ports and below the kernel's own range
            limits = "--port-min=32100 --port-max=32700 --delete-delay=0 --timeout=120 --num-threads=2"
            addresses = [f"--interface={place.address}", f"--listen-ng=127.0.0.1:{self.control_port}"]
            self.spawn(place.inside([executable, *options.split(), *limits.split(), *addresses]))
            self.until(self._answers, "answers a ping")
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        with self._place.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.5)
            probe.connect(("127.0.0.1", self.control_port))
            try:
                probe.send(b"probe d7:command4:pinge")
                return b"pong" in probe.recv(512)
            except OSError:
                return False
