"""Kamailio as registrar and proxy: SIP over ws, wss and UDP on free ports, with switches for faults."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.peers.harness.place import HERE, Place
from tests.peers.harness.rtpengine import Rtpengine
from tests.support.certificate import Certificate
from tests.support.child import Child, free_ports, program

CONFIGURATION = Path(__file__).parent.parent / "kamailio.cfg"
USERS = ("alice", "bob", "carol", "dave")
SEEN = re.compile(
    r"SEEN (?P<method>\S+) from=(?P<from_>\S+) to=(?P<to>\S+) call-id=(?P<call_id>\S+) cseq=(?P<cseq>\d+) "
    r"expires=(?P<expires>\S+) auth=(?P<auth>\S+) source=(?P<source>\S+)"
)


def password(user: str) -> str:
    """The SIP password of a test user."""
    return f"secret-of-{user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A request as it reached Kamailio."""

    method: str
    from_: str
    to: str
    call_id: str
    cseq: int
    expires: int | None
    authorised: bool
    """It carried credentials."""
    source: str
    """``ws:127.0.0.1:40000``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A binding in the registrar's memory."""

    uri: str
    expires_s: int
    call_id: str
    cseq: int
    instance: str
    reg_id: int
    user_agent: str


class Kamailio(Child):
    """A SIP server; ready once constructed. Every user of ``users`` has the password that `password` tells. With
    ``anchored`` the media of calls between WebSockets go through rtpengine, too; ``expired``: its certificate is."""

    domain = "pbx.test"

    def __init__(
        self,
        *,
        rtpengine: Rtpengine | None = None,
        anchored: bool = False,
        users: Sequence[str] = USERS,
        defines: Mapping[str, str] | None = None,
        min_expires_s: int = 5,
        ping_silence_s: int = 20,
        expired: bool = False,
        place: Place = HERE,
    ) -> None:
        executable = program("kamailio")
        super().__init__("kamailio")
        self._place = place
        self.address = address = place.address
        self.udp_port, self.ws_port, self.wss_port = free_ports(3)
        certificate = Certificate(self.directory, self.domain, "localhost", address, expired=expired)
        self.ca_file = certificate.file
        values = {
            "LISTEN_UDP": f"udp:{address}:{self.udp_port}",
            "LISTEN_WS": f"tcp:{address}:{self.ws_port}",
            "LISTEN_WSS": f"tls:{address}:{self.wss_port}",
            "DOMAIN": f'"{self.domain}"',
            "CONTROL": f'"unix:{self.directory}/control"',
            "CERTIFICATE": f'"{self.ca_file}"',
            "PRIVATE_KEY": f'"{certificate.key_file}"',
            "MIN_EXPIRES": str(min_expires_s),
            "PING_SILENCE": str(ping_silence_s),
            "USERS": " ".join(f'$sht(users=>{user}) = "{password(user)}";' for user in users),
            **(defines or {}),
        }
        if rtpengine is not None:
            values |= {"WITH_RTPENGINE": "1", "RTPENGINE": f'"udp:127.0.0.1:{rtpengine.control_port}"'}
        if anchored:
            values |= {"ANCHORED": "1"}
        switches = [part for name, value in values.items() for part in ("-A", f"{name}={value}")]
        directories = ["-Y", str(self.directory), "-w", str(self.directory)]
        # Kamailio closes after each answer
        limits = httpx.Limits(max_keepalive_connections=0)
        base_url = f"http://{address}:{self.ws_port}"
        self._mark = 0
        self._http = httpx.Client(base_url=base_url, limits=limits, trust_env=False, timeout=5.0)
        self._argv = place.inside(
            [executable, "-DD", "-E", "-m", "32", "-M", "8", "-f", str(CONFIGURATION), *directories, *switches]
        )
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, the first time or after `kill`: on the same ports, without a memory."""
        self.spawn(self._argv)
        self.until(self._healthy, "answers HTTP")

    def kill(self) -> None:
        """End it at once: clients see their connections reset or refused."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """Stop all its processes: the kernel still accepts connections, but nobody answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def ws_url(self) -> str:
        """The outbound proxy, without TLS."""
        return f"ws://{self.address}:{self.ws_port}/"

    @property
    def wss_url(self) -> str:
        """The outbound proxy over TLS; `ca_file` signs it."""
        return f"wss://{self.address}:{self.wss_port}/"

    def aor(self, user: str) -> str:
        """The SIP URI of a user."""
        return f"sip:{user}@{self.domain}"

    def rpc(self, method: str, *params: object) -> Any:
        """A JSON-RPC command, such as ``ul.dump``; `RuntimeError` when it fails."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        with self._place.entered():
            answer = self._http.post("/rpc", json=request).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def contacts(self, user: str) -> list[Contact]:
        """The live bindings of a user."""
        found = []
        for domain in self.rpc("ul.dump").get("Domains", []):
            for record in domain["Domain"].get("AoRs", []):
                if record["Info"]["AoR"] == user:
                    found += [_contact(entry["Contact"]) for entry in record["Info"].get("Contacts", [])]
        return [contact for contact in found if contact.expires_s > 0]

    def fresh(self) -> None:
        """End every fault and forget the requests so far: between tests that share this server."""
        for table in ("faults", "fault_count"):
            self.rpc("htable.flush", table)
        self._mark = len(self.log)

    @property
    def recent_log(self) -> str:
        """The log since `fresh`."""
        return self.log[self._mark :]

    def requests(self, method: str, user: str) -> list[SeenRequest]:
        """The requests of a method that a user sent (by From), in order, retransmissions included."""
        return [
            SeenRequest(
                method=match["method"],
                from_=match["from_"],
                to=match["to"],
                call_id=match["call_id"],
                cseq=int(match["cseq"]),
                expires=int(match["expires"]) if match["expires"].isdigit() else None,
                authorised=match["auth"] != "<null>",
                source=match["source"],
            )
            for match in SEEN.finditer(self.recent_log)
            if match["method"] == method and match["from_"] == user
        ]

    def fail(
        self, method: str, action: int | str, *, times: int | None = None, retry_after_s: int | None = None
    ) -> None:
        """Answer a method with a status, or ``"drop"`` it; ``UPGRADE`` stands for the WebSocket handshake (503)."""
        if times is not None:
            self.rpc("htable.seti", "fault_count", method, times)
        if retry_after_s is not None:
            self.rpc("htable.sets", "faults", "Retry-After", str(retry_after_s))
        self.rpc("htable.sets", "faults", method, str(action))

    def close_connections(self, user: str | None = None) -> int:
        """Close WebSockets from the server's side, all or those over which a user registered; returns how many."""
        sources = None if user is None else {seen.source for seen in self.requests("REGISTER", user)}
        closed = 0
        for line in self.rpc("ws.dump").get("connections", []):
            # "5: ws:127.0.0.1:40000 -> ws:127.0.0.1:8080 ..."
            number, _, rest = line.partition(":")
            if sources is None or rest.split()[0] in sources:
                self.rpc("ws.close", int(number))
                closed += 1
        return closed

    def stop(self, grace_s: float = 5.0) -> int | None:
        self._http.close()
        return super().stop(grace_s)

    def _healthy(self) -> bool:
        try:
            with self._place.entered():
                return self._http.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def _contact(record: Mapping[str, Any]) -> Contact:
    expires = record["Expires"]
    return Contact(
        uri=record["Address"],
        expires_s=expires if isinstance(expires, int) else 0,
        call_id=record["Call-ID"],
        cseq=record["CSeq"],
        instance=record.get("Instance", ""),
        reg_id=record.get("Reg-Id", 0),
        user_agent=record.get("User-Agent", ""),
    )
