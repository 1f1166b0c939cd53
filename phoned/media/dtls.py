"""DTLS-SRTP: one association of a call, and the SRTP contexts that it yields (RFC 5764, RFC 5763, RFC 8842).

Owns the certificate, the handshake and the keys. It knows no socket: records are fed in by whoever has them, on
whatever pair they came (ICE restart rule 4), and sent through a callable. A close_notify is a fact to report, not the
end (rule 7).
One of the two modules that touch private attributes of aiortc.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pylibsrtp
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsTransport, State
from OpenSSL import SSL
from pylibsrtp._binding import ffi, lib

from phoned.ids import uuid7
from phoned.media.datagram import client_random, is_client_hello
from phoned.media.sdp import Fingerprint

MAX_RECORDS = 16
"""Datagrams that may wait for the handshake; the oldest is dropped. Any flight of any peer is smaller."""
PATIENCE_S = 0.25
"""So long a server waits for the client that it answered before it follows another: a ClientHello is quickly forged."""

MAX_PACKET = 2048
MAX_TRAILER = 164
"""The most that libsrtp appends: tag, MKI and the SRTCP index."""

Role = Literal["client", "server"]


class DtlsFailed(Exception):
    """The association cannot be had. ``fingerprint``: the peer is not who its description says."""

    def __init__(self, detail: str, *, fingerprint: bool = False) -> None:
        super().__init__(detail)
        self.fingerprint = fingerprint


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A certificate and the tls-id that goes with it: one of each per association."""

    certificate: RTCCertificate = field(default_factory=RTCCertificate.generateCertificate, repr=False)
    tls_id: str = field(default_factory=lambda: uuid7().hex + uuid7().hex[-8:])

    @property
    def fingerprint(self) -> Fingerprint:
        """The sha-256 hash, for our description."""
        found = next(f for f in self.certificate.getFingerprints() if f.algorithm == "sha-256")
        return Fingerprint(algorithm="sha-256", value=found.value)


class _Wire:
    """Stands where aiortc expects an ICE transport: a bounded queue of records in, a callable out."""

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send_datagram = send
        self.records: deque[bytes] = deque(maxlen=MAX_RECORDS)
        self._broken = False
        self._arrived = asyncio.Event()

    def put(self, record: bytes) -> None:
        self.records.append(record)
        self._arrived.set()

    def break_off(self) -> None:
        self._broken = True
        self._arrived.set()

    async def _recv(self) -> bytes:
        while not (self.records or self._broken):
            self._arrived.clear()
            await self._arrived.wait()
        if self._broken:
            raise ConnectionError("the peer has begun anew")
        return self.records.popleft()

    async def _send(self, data: bytes) -> None:
        self._send_datagram(data)


class _Srtp:
    """One function of libsrtp on one direction's context, in a buffer of our own: half the cost of pylibsrtp's
    wrapper."""

    __slots__ = ("_bytes", "_context", "_function", "_length", "_memory", "_session")

    def __init__(self, session: pylibsrtp.Session, function: Callable[[Any, Any, Any], int]) -> None:
        self._session = session  # owns the context
        self._context = session._srtp[0]
        self._function = function
        self._memory = ffi.new("char[]", MAX_PACKET)
        self._bytes = ffi.buffer(self._memory)
        self._length = ffi.new("int *")

    def run(self, packet: bytes) -> bytes | None:
        """The packet as libsrtp leaves it; None when it refuses."""
        size = len(packet)
        if size > MAX_PACKET - MAX_TRAILER:
            return None
        self._length[0] = size
        self._bytes[0:size] = packet
        if self._function(self._context, self._memory, self._length):
            return None
        result: bytes = self._bytes[0 : self._length[0]]
        return result


def _no_keys(packet: bytes) -> bytes | None:
    """Stands for protection before there are keys."""
    return None


class Association(RTCDtlsTransport):
    """One DTLS association. `handshake` once, then `protect` and `unprotect`; `feed` takes every DTLS record."""

    def __init__(
        self,
        identity: Identity,
        send: Callable[[bytes], bool],
        *,
        on_close_notify: Callable[[Association], None] | None = None,
    ) -> None:
        self._wire = _Wire(send)
        # aiortc asks its transport for _recv, _send and nothing else once a role is set
        super().__init__(cast(RTCIceTransport, self._wire), [identity.certificate])
        self.identity = identity
        self.role: Role | None = None
        self.closed_by_peer = False
        self._on_close_notify = on_close_notify
        self._fingerprint_wrong = False
        self._client_random: bytes | None = None
        self._rival = False
        """The last ClientHello was of another client than ours."""
        self._heard_at = 0.0
        """When our client began, or last said more than a ClientHello. On the loop's clock."""
        self._patience: asyncio.TimerHandle | None = None
        self.rivals: deque[bytes] = deque(maxlen=MAX_RECORDS)
        """The ClientHello of a client that came after ours."""
        # libsrtp keeps a replay window of 1024 packets per SSRC
        self.protect: Callable[[bytes], bytes | None] = _no_keys
        """RTP to SRTP; None for a packet that libsrtp refuses."""
        self.protect_rtcp: Callable[[bytes], bytes | None] = _no_keys
        """RTCP to SRTCP; None for a packet that libsrtp refuses."""
        self.unprotect: Callable[[bytes], bytes | None] = _no_keys
        """SRTP to RTP; None when it is not authentic, or a replay."""
        self.unprotect_rtcp: Callable[[bytes], bytes | None] = _no_keys
        """SRTCP to RTCP; None when it is not authentic, or a replay."""

    def feed(self, record: bytes) -> None:
        """A DTLS record of this association. A client that begins anew is followed when the one that a server has
        answered keeps silent: then the handshake fails, and `rivals` is what the next one begins with."""
        random = client_random(record)
        if random is not None:
            self._rival = self._client_random not in (None, random)
            if self._rival and self.role is None:
                self._wire.records.clear()  # nobody was answered yet: the later one counts
                self._rival = False
            if self._rival:
                self.rivals.clear()
            elif self._client_random != random:
                self._client_random = random
                self._heard()
        if not is_client_hello(record):
            self._heard()
        elif self._rival:
            self.rivals.append(record)
            self._wait_for_client()
            return
        self._wire.put(record)

    def _heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    def _wait_for_client(self) -> None:
        loop = asyncio.get_running_loop()
        until = self._heard_at + PATIENCE_S
        if loop.time() >= until:
            self._wire.break_off()
        elif self._patience is None:
            self._patience = loop.call_at(until, self._was_silent)

    def _was_silent(self) -> None:
        self._patience = None
        self._wait_for_client()

    async def handshake(self, role: Role, fingerprints: Sequence[Fingerprint], *, deadline_s: float) -> None:
        """Run the handshake and take the keys. Raises `DtlsFailed`; then there are no keys."""
        self.role = role
        self._heard()
        self._set_role(role)
        known = [RTCDtlsFingerprint(algorithm=f.algorithm, value=f.value) for f in fingerprints]
        try:
            async with asyncio.timeout(deadline_s):
                await self.start(RTCDtlsParameters(fingerprints=known))
        except TimeoutError as error:
            self._set_state(State.FAILED)
            raise DtlsFailed(f"no handshake in {deadline_s:g} s") from error
        finally:
            if self._patience is not None:
                self._patience.cancel()
        if self._fingerprint_wrong:
            raise DtlsFailed("the peer's certificate has another fingerprint", fingerprint=True)
        if not self.ready:
            raise DtlsFailed("the handshake failed")

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        super()._validate_peer_identity(remoteParameters)
        self._fingerprint_wrong = self._state == State.FAILED

    async def _recv_next(self) -> None:
        ssl = self._ssl
        assert ssl is not None
        timeout = ssl.DTLSv1_get_timeout()
        try:
            async with asyncio.timeout(timeout):
                record = await self._wire._recv()
        except TimeoutError:
            ssl.DTLSv1_handle_timeout()
            await self._write_ssl()
            return
        ssl.bio_write(record)
        try:
            ssl.recv(1500)
        except SSL.ZeroReturnError:
            self._close_notify()
        except SSL.Error:
            pass  # a record that means nothing to this association; the handshake reports its own errors
        await self._write_ssl()

    def _close_notify(self) -> None:
        if not self.closed_by_peer:
            self.closed_by_peer = True
            if self._on_close_notify is not None:
                self._on_close_notify(self)

    @property
    def ready(self) -> bool:
        """There are keys, from a peer with the right fingerprint."""
        return self._state == State.CONNECTED

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        if self._state != State.FAILED:
            # bound methods: one call a packet
            self.protect = _Srtp(self._tx_srtp, lib.srtp_protect).run
            self.protect_rtcp = _Srtp(self._tx_srtp, lib.srtp_protect_rtcp).run
            self.unprotect = _Srtp(self._rx_srtp, lib.srtp_unprotect).run
            self.unprotect_rtcp = _Srtp(self._rx_srtp, lib.srtp_unprotect_rtcp).run

    # -- the end

    def abandon(self) -> None:
        """No more records: they belong to a newer association. The keys still work."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def close(self, *, notify: bool = True) -> None:
        """End the association, with a close_notify unless its path is gone."""
        pump = self._task
        if notify:
            await self.stop()
        elif pump is not None:
            pump.cancel()
            self._task = None
        if pump is not None:
            await asyncio.wait([pump])
