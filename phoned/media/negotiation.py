"""Offer and answer of one media session: which description is in force, which is open, what both ask of the transport.

Owns the o= line, the descriptions, the established DTLS role and the identities. It gathers through the transport's
path but connects nothing: each method returns what is to be done (`Plan`). RFC 3264, RFC 8842, RFC 8839.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from phoned.errors import WrongState
from phoned.media.continuation import remember
from phoned.media.dtls import Identity
from phoned.media.events import OfferReason, OfferWanted
from phoned.media.ice import LocalIce, RemoteIce
from phoned.media.sdp import (
    Agreement,
    Candidate,
    Direction,
    LocalMedia,
    OpusFormat,
    Origin,
    SessionDescription,
    Setup,
    agree,
    changed,
    check_usable,
    dtls_role,
    ice_restarted,
    make_answer,
    make_offer,
    read,
    usable_candidates,
    write,
)
from phoned.media.transport import Peer, SecureTransport, same_fingerprints


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What two descriptions ask of the transport. All empty: nothing changes below."""

    agreement: Agreement
    ice: RemoteIce | None = None
    """Connect the prepared agent with this one."""
    candidates: tuple[Candidate, ...] = ()
    """More candidates for the agent that is already there."""
    peer: Peer | None = None
    """Establish a new association."""
    wanted: OfferWanted | None = None
    """Another offer should follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """Our offer that waits for its answer."""

    description: SessionDescription
    ice: LocalIce
    identity: Identity
    new_ice: bool
    rebuild: bool


class Negotiation:
    """See the module. Driven by `MediaSession`."""

    def __init__(
        self,
        transport: SecureTransport,
        *,
        identities: Callable[[], Identity],
        ssrc: int,
        cname: str,
        allow_loopback: bool,
        opus: OpusFormat | None = None,
        previous: SessionDescription | None = None,
    ) -> None:
        self._transport = transport
        self._identities = identities
        self._ssrc = ssrc
        self._cname = cname
        self._allow_loopback = allow_loopback
        self._opus = opus or OpusFormat(fec=True)
        self._previous = previous
        """Ours, of an earlier life: what is written now must not contradict it."""
        self._origin = previous.origin if previous else Origin(session_id=secrets.randbits(62))
        self._local: SessionDescription | None = None
        self._remote: SessionDescription | None = None
        self._open: _Open | None = None
        self._ice: LocalIce | None = None
        self._identity: Identity | None = None
        self._role: Literal["client", "server"] | None = None
        self._version = previous.origin.version if previous else 0

    # -- our offers

    @property
    def offering(self) -> bool:
        """Our offer is open."""
        return self._open is not None

    @property
    def local(self) -> SessionDescription | None:
        """Our description in force."""
        return self._local

    @property
    def remote(self) -> SessionDescription | None:
        """The peer's description in force."""
        return self._remote

    def remember(self) -> str | None:
        """For a successor in another process; None before there is a description of ours."""
        local = self._local or self._previous
        return None if local is None else remember(local, self._version)

    async def offer(self, codecs: tuple[str, ...], direction: Direction, *, ice_restart: bool, rebuild: bool) -> bytes:
        """Build our next offer, gathering when it needs new ICE. Raises `WrongState` while one is open."""
        if self._open is not None:
            raise WrongState("an offer of ours is open", state="offering", allowed_in=("stable",))
        new_ice = ice_restart or rebuild or self._ice is None
        identity = self._identities() if rebuild or self._identity is None else self._identity
        if new_ice or self._ice is None:
            ice = await self._transport.path.prepare(controlling=True, nomination=self._version + 1)
        else:
            ice = self._ice
        setup = Setup.ACTPASS
        if self._role is not None and not rebuild:
            setup = _setup(self._role)
        media = self._media(codecs, direction, ice, identity)
        self._version += 1
        description = make_offer(
            media, replace(self._origin, version=self._version), previous=self._local or self._previous, setup=setup
        )
        data = write(description)
        self._open = _Open(description=description, ice=ice, identity=identity, new_ice=new_ice, rebuild=rebuild)
        self._transport.collecting = self._local is not None
        return data

    def _media(self, codecs: tuple[str, ...], direction: Direction, ice: LocalIce, identity: Identity) -> LocalMedia:
        return LocalMedia(
            codecs=codecs,
            ufrag=ice.ufrag,
            pwd=ice.pwd,
            candidates=ice.candidates,
            fingerprint=identity.fingerprint,
            tls_id=identity.tls_id,
            ssrc=self._ssrc,
            cname=self._cname,
            direction=direction,
            opus=self._opus,
        )

    def rollback(self) -> bool:
        """Forget the open offer. Returns True when its prepared agent is to be discarded."""
        opened, self._open = self._open, None
        self._transport.end_collecting(keep=False)
        return opened is not None and opened.new_ice

    def accept_answer(self, data: bytes) -> Plan:
        """Take the answer to our open offer, or the same answer again. Raises `DescriptionError`."""
        remote = read(data)
        check_usable(remote, answer=True)
        opened = self._open
        if opened is None:
            return self._answered_again(remote)
        agreement = agree(opened.description, remote)
        old = self._remote
        self._open = None
        new_peer = old is None or not same_fingerprints(old.audio.fingerprints, remote.audio.fingerprints)
        new_association = opened.rebuild or new_peer
        role = self._role
        if new_association or role is None:  # a living association keeps its roles, whatever is written
            role = dtls_role(ours=opened.description.audio.setup, theirs=remote.audio.setup, offerer=True)
        candidates = usable_candidates(remote.audio, allow_loopback=self._allow_loopback)
        moved = old is not None and not opened.new_ice and ice_restarted(old, remote)
        self._local, self._remote = opened.description, remote
        self._ice, self._identity, self._role = opened.ice, opened.identity, role
        wanted = None
        if moved:
            wanted = OfferWanted(reason=OfferReason.REMOTE_CHANGED, ice_restart=True, rebuild=new_peer)
        elif opened.new_ice and not candidates and not remote.audio.ice_lite:
            wanted = OfferWanted(reason=OfferReason.NO_CANDIDATES)
        return Plan(
            agreement=agreement,
            ice=self._remote_ice(remote, candidates) if opened.new_ice else None,
            candidates=() if opened.new_ice or moved else candidates,
            peer=self._peer(remote) if new_association and not moved else None,
            wanted=wanted,
        )

    def _answered_again(self, remote: SessionDescription) -> Plan:
        """183 and 200 with the same answer, or an answer from another fork (RFC 3261 13.2.2.4)."""
        local, old = self._local, self._remote
        if local is None or old is None:
            raise WrongState("there is no offer of ours", state="stable", allowed_in=("offering",))
        agreement = agree(local, remote)
        if ice_restarted(old, remote):
            same = same_fingerprints(old.audio.fingerprints, remote.audio.fingerprints)
            wanted = OfferWanted(reason=OfferReason.REMOTE_CHANGED, ice_restart=True, rebuild=not same)
            return Plan(agreement=agreement, wanted=wanted)
        self._remote = remote
        return Plan(
            agreement=agreement, candidates=usable_candidates(remote.audio, allow_loopback=self._allow_loopback)
        )

    # -- the peer's offers

    async def answer(self, data: bytes, codecs: tuple[str, ...], direction: Direction) -> tuple[bytes, Plan]:
        """Answer the peer's offer. Raises `DescriptionError`, and `WrongState` while an offer of ours is open."""
        if self._open is not None:
            raise WrongState("an offer of ours is open", state="offering", allowed_in=("stable",))
        remote = read(data)
        check_usable(remote)
        old = self._remote
        new_ice = old is None or self._ice is None or ice_restarted(old, remote)
        new_association = old is None or not same_fingerprints(old.audio.fingerprints, remote.audio.fingerprints)
        identity = self._identities() if new_association or self._identity is None else self._identity
        if new_ice or self._ice is None:
            ice = await self._transport.path.prepare(controlling=remote.audio.ice_lite, nomination=self._version + 1)
        else:
            ice = self._ice
        media = self._media(codecs, direction, ice, identity)
        established = self._role if not new_association else None
        try:
            local = make_answer(
                remote, media, replace(self._origin, version=max(1, self._version)), established=established
            )
            if self._local is None or changed(self._local, local):
                self._version += 1
                local = replace(local, origin=replace(local.origin, version=self._version))
            agreement = agree(local, remote)
            answer = write(local)
        except BaseException:
            if new_ice:
                await self._transport.path.discard()
            raise
        self._local, self._remote, self._ice, self._identity = local, remote, ice, identity
        if new_association or self._role is None:
            self._role = dtls_role(ours=local.audio.setup, theirs=remote.audio.setup, offerer=False)
        candidates = usable_candidates(remote.audio, allow_loopback=self._allow_loopback)
        return answer, Plan(
            agreement=agreement,
            ice=self._remote_ice(remote, candidates) if new_ice else None,
            candidates=() if new_ice else candidates,
            peer=self._peer(remote) if new_association else None,
        )

    # -- values

    def _remote_ice(self, remote: SessionDescription, candidates: tuple[Candidate, ...]) -> RemoteIce:
        audio = remote.audio
        return RemoteIce(ufrag=audio.ufrag, pwd=audio.pwd, candidates=candidates, lite=audio.ice_lite)

    def _peer(self, remote: SessionDescription) -> Peer:
        assert self._identity is not None
        assert self._role is not None
        return Peer(identity=self._identity, role=self._role, fingerprints=remote.audio.fingerprints)


def _setup(role: Literal["client", "server"]) -> Setup:
    return Setup.ACTIVE if role == "client" else Setup.PASSIVE
