"""A call's secured transport: the datagram path and the DTLS associations that live on it.

Owns which keys protect and which are tried on what comes in (the new ones, then those being replaced: ICE restart rule
6), where DTLS records go (rules 4, 7 and 8), and what of it survives which kind of re-offer. It knows no RTP beyond
"a packet", and no descriptions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from phoned.media.datagram import is_alert, is_client_hello, is_plaintext
from phoned.media.dtls import Association, DtlsFailed, Identity, Role
from phoned.media.options import IceOptions
from phoned.media.path import IcePath
from phoned.media.sdp import Fingerprint
from phoned.media.servers import ServerMemory
from phoned.tasks import Tasks

MAX_EARLY = 8
"""DTLS datagrams kept from before a handshake; Chromium's ClientHello takes two."""
MAX_PEER_ASSOCIATIONS = 3
"""Associations that a peer may start on its own in a minute (rule 8)."""
HANDSHAKE_TRIES = 32
"""Forged records that look like the peer's may spoil so many handshakes of one establishment."""


class TransportListener(Protocol):
    """Who takes authentic packets and hears of the transport's fate. Called synchronously."""

    def rtp(self, packet: bytes) -> None:
        """An authentic RTP packet, in the clear."""
        ...

    def rtcp(self, packet: bytes) -> None:
        """An authentic RTCP packet, in the clear."""
        ...

    def path_changed(self) -> None:
        """Another pair carries the media now."""
        ...

    def socket_error(self, error: OSError) -> None:
        """The kernel refused a packet on the path in use."""
        ...

    def consent_missed(self, misses: int) -> None:
        """So many consent checks in a row had no answer; 0 when one had after misses."""
        ...

    def consent_expired(self) -> None:
        """The peer no longer agrees to receive."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a handshake needs to know: our identity and role, the peer's fingerprints."""

    identity: Identity
    role: Role
    fingerprints: tuple[Fingerprint, ...]


class SecureTransport:
    """Path, associations and keys of one call. Driven by `MediaSession`; packets come up through the listener."""

    def __init__(
        self,
        owner: str,
        options: IceOptions,
        listener: TransportListener,
        tasks: Tasks,
        servers: ServerMemory,
        *,
        handshake_deadline_s: float,
    ) -> None:
        self._listener = listener
        self._tasks = tasks
        self._deadline_s = handshake_deadline_s
        self.path = IcePath(owner, options, self, tasks, servers)
        self.generation = 0
        """How many associations have carried media."""
        self.collecting = False
        """An offer is open or ICE is on its way: a ClientHello belongs to the association to come."""
        self._association: Association | None = None
        self._previous: Association | None = None
        self._handshaking: Association | None = None
        self._early: deque[bytes] = deque(maxlen=MAX_EARLY)
        self._peer: Peer | None = None
        self._peer_started: deque[float] = deque(maxlen=MAX_PEER_ASSOCIATIONS)
        self._following: asyncio.Task[None] | None = None

    # -- associations

    async def establish(self, peer: Peer) -> None:
        """A new association on the present path. Raises `DtlsFailed`; keys in use before stay in use then."""
        following = self._following
        if following is not None and following is not asyncio.current_task():
            # what was agreed comes before what the peer began on its own; what it sends from now on is for us
            following.cancel()
            collecting, self.collecting, self._handshaking = self.collecting, True, None
            await asyncio.wait([following])
            self.collecting = collecting
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s
        for attempt in range(1, HANDSHAKE_TRIES + 1):
            early = list(self._early)
            self._early.clear()
            association = Association(peer.identity, self.path.send, on_close_notify=self._closed_by_peer)
            self._handshaking = association
            if peer.role == "server":
                for record in early:
                    association.feed(record)
            try:
                await association.handshake(peer.role, peer.fingerprints, deadline_s=max(0.1, deadline - loop.time()))
            except DtlsFailed as error:
                # a forged record can spoil one handshake; only a wrong certificate is the peer's own word
                if error.fingerprint or attempt == HANDSHAKE_TRIES or loop.time() >= deadline:
                    raise
                self._early.extend(association.rivals)
            else:
                self._adopt(association, peer)
                return
            finally:
                if self._handshaking is association:
                    self._handshaking = None
                if association is not self._association:
                    await association.close(notify=False)

    def _adopt(self, association: Association, peer: Peer) -> None:
        old, self._association = self._association, association
        self._peer = peer
        self.generation += 1
        if old is not None:
            self._previous = old
            # its handshake state is of no more use, its receive keys are (rule 6)
            old.abandon()

    def end_collecting(self, *, keep: bool) -> None:
        """The re-offer is over. A ClientHello that came meanwhile is acted upon (``keep``) or forgotten."""
        self.collecting = False
        early = list(self._early)
        if not keep or self._association is None:
            self._early.clear()
        elif any(is_client_hello(record) for record in early) or self._association.closed_by_peer:
            self._peer_starts()

    def _closed_by_peer(self, association: Association) -> None:
        """A close_notify ends nothing (rule 7). From a DTLS server it asks us, its client, for a new association."""
        if association is self._association and association.role == "client" and not self.collecting:
            self._peer_starts()

    def _peer_starts(self) -> None:
        """The peer wants a new association in mid call: make it with the same certificate (rule 8)."""
        now = asyncio.get_running_loop().time()
        peer = self._peer
        if peer is None or self._handshaking is not None or not self.path.connected:
            self._early.clear()
            return
        if len(self._peer_started) == MAX_PEER_ASSOCIATIONS and now - self._peer_started[0] < 60.0:
            self._early.clear()
            self.path.log.drop("client_hello", now)
            return
        self._peer_started.append(now)
        self._following = self._tasks.spawn("follow", self._follow(peer))

    async def _follow(self, peer: Peer) -> None:
        try:
            await self.establish(peer)
        except DtlsFailed as error:
            self.path.log.drop("dtls", asyncio.get_running_loop().time(), error)
        finally:
            self._following = None

    # -- datagrams from the path (PathListener)

    def dtls_received(self, data: bytes) -> None:
        """Give a record to the association that it can be for."""
        if is_alert(data) and is_plaintext(data):
            # never authentic: anybody who can forge an address can send it
            self.path.log.drop("plain_alert", asyncio.get_running_loop().time())
        elif self._handshaking is not None:
            if self._handshaking.role == "client" and is_client_hello(data):
                # no server says that, and OpenSSL would give up on it
                self.path.log.drop("client_hello", asyncio.get_running_loop().time())
            else:
                self._handshaking.feed(data)
        elif self._association is None or self.collecting:
            if is_plaintext(data):
                self._early.append(data)
        elif is_client_hello(data):
            self._early.append(data)
            self._peer_starts()
        else:
            self._association.feed(data)

    def rtp_received(self, data: bytes) -> None:
        """Take the protection off and hand the packet up."""
        association = self._association
        if association is None:
            self.path.log.count("early")  # the peer had its keys first
            return
        packet = association.unprotect(data)
        if packet is None and self._previous is not None:
            packet = self._previous.unprotect(data)
        if packet is None:
            self.path.log.drop("srtp", asyncio.get_running_loop().time())
        else:
            self._listener.rtp(packet)

    def rtcp_received(self, data: bytes) -> None:
        """Take the protection off and hand the packet up."""
        association = self._association
        if association is None:
            self.path.log.count("early")
            return
        packet = association.unprotect_rtcp(data)
        if packet is None and self._previous is not None:
            packet = self._previous.unprotect_rtcp(data)
        if packet is None:
            self.path.log.drop("srtcp", asyncio.get_running_loop().time())
        else:
            self._listener.rtcp(packet)

    def path_changed(self) -> None:
        """A fact of the path."""
        self._listener.path_changed()

    def socket_error(self, error: OSError) -> None:
        """A fact of the path."""
        self._listener.socket_error(error)

    def consent_missed(self, misses: int) -> None:
        """A fact of the path."""
        self._listener.consent_missed(misses)

    def consent_expired(self) -> None:
        """A fact of the path."""
        self._listener.consent_expired()

    # -- use

    @property
    def association(self) -> Association | None:
        """The association whose keys protect what we send."""
        return self._association

    @property
    def peer(self) -> Peer | None:
        """Who the association in use is with."""
        return self._peer

    async def say_goodbye(self) -> None:
        """Send a close_notify; media goes on with the keys that there are."""
        if self._association is not None:
            await self._association.close()

    def revoke(self) -> None:
        """Drop all keys at once: nothing goes out and nothing is believed any more."""
        for association in (self._association, self._previous):
            if association is not None:
                association.abandon()
        self._association = self._previous = None

    @property
    def ready(self) -> bool:
        """There are keys and a pair."""
        return self._association is not None and self.path.connected

    def send_rtp(self, packet: bytes) -> bool:
        """Protect and send. False when it could not be sent."""
        association = self._association
        protected = association.protect(packet) if association is not None else None
        return protected is not None and self.path.send(protected)

    def send_rtcp(self, packet: bytes) -> bool:
        """Protect and send. False when it could not be sent."""
        association = self._association
        protected = association.protect_rtcp(packet) if association is not None else None
        return protected is not None and self.path.send(protected)

    async def close(self) -> None:
        """close_notify, then sockets. Idempotent."""
        association, self._association = self._association, None
        for other in (self._handshaking, self._previous):
            if other is not None:
                await other.close(notify=False)
        self._handshaking = self._previous = None
        if association is not None:
            await association.close(notify=self.path.connected)
        await self.path.close()


def same_fingerprints(one: Sequence[Fingerprint], other: Sequence[Fingerprint]) -> bool:
    """Whether two descriptions name the same certificate. Order and tls-id do not matter (ICE restart rule 9)."""
    return {(f.algorithm, f.value) for f in one} == {(f.algorithm, f.value) for f in other}
