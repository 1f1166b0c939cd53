"""Offer/answer (RFC 3264, 8839, 8842): pure functions from values to values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from phoned.media.sdp.model import (
    AudioDescription,
    Candidate,
    Direction,
    Fingerprint,
    Origin,
    PayloadType,
    SessionDescription,
    Setup,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMedia:
    """What our side brings into any description: codecs in order of preference, ICE and DTLS parameters."""

    codecs: tuple[str, ...]
    """``opus``, ``g722``, ``pcmu``, ``pcma``."""
    ufrag: str
    pwd: str
    candidates: tuple[Candidate, ...]
    fingerprint: Fingerprint
    tls_id: str
    """Constant while the DTLS association lives (RFC 8842)."""
    ssrc: int
    cname: str
    direction: Direction = Direction.SENDRECV
    """What we wish: `SENDRECV`, or `SENDONLY` to hold the peer."""
    stereo: bool = False
    dtx: bool = False
    rtcp_mux: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedCodec:
    """A payload format that both sides named."""

    name: str
    clock_rate: int
    channels: int
    send_payload_type: int
    """The number that the remote description gave it: for packets that we send."""
    receive_payload_type: int
    """The number in our own description: for packets that we get."""
    parameters: tuple[tuple[str, str], ...] = ()
    """The remote side's format parameters: what it can and wants to receive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The outcome of an offer and its answer, seen from our side."""

    codecs: tuple[AgreedCodec, ...]
    """The first one is the one to send; every one of them may come in."""
    telephone_events: tuple[AgreedCodec, ...]
    comfort_noise: AgreedCodec | None
    direction: Direction
    """Ours: whether we send and whether we receive."""
    remote_hold: bool
    ptime_ms: int
    """Packet length to send: the peer's wish within 10..60, else 20."""
    rtcp_mux: bool

    def telephone_event_for(self, codec: AgreedCodec) -> AgreedCodec | None:
        """The telephone-event format with the codec's clock rate (same SSRC, same clock)."""
        raise NotImplementedError


def make_offer(
    local: LocalMedia, origin: Origin, *, previous: SessionDescription | None = None, setup: Setup = Setup.ACTPASS
) -> SessionDescription:
    """Our offer. ``previous``: the description in force (ours or the peer's), whose m-lines, mid and payload types stay."""
    raise NotImplementedError


def make_answer(
    offer: SessionDescription,
    local: LocalMedia,
    origin: Origin,
    *,
    established: Setup | None = None,
    order: Literal["offer", "local"] = "offer",
) -> SessionDescription:
    """Our answer, with the offerer's payload types. ``established``: the role we have in the living DTLS association.

    Raises `DescriptionError` 488 when nothing is in common or the offer lacks ICE or DTLS.
    """
    raise NotImplementedError


def agree(local: SessionDescription, remote: SessionDescription) -> Agreement:
    """What both descriptions together mean for us. Raises `DescriptionError` 488 without a common codec."""
    raise NotImplementedError


def check_usable(description: SessionDescription, *, answer: bool = False) -> None:
    """Raise `DescriptionError` 488 unless it carries ICE credentials, a known fingerprint and a fitting role."""
    raise NotImplementedError


def dtls_role(*, local: Setup | None, remote: Setup | None) -> Literal["client", "server"]:
    """Our DTLS role once both descriptions are there (the answerer's word decides)."""
    raise NotImplementedError


def choose_codecs(
    offered: Sequence[PayloadType], preferences: Sequence[str], *, order: Literal["offer", "local"] = "offer"
) -> tuple[PayloadType, ...]:
    """The codecs of the answer, carrying the offerer's payload types."""
    raise NotImplementedError


def answer_direction(offered: Direction, wanted: Direction) -> Direction:
    """The answerer's direction (RFC 3264 section 6.1)."""
    raise NotImplementedError


def remote_hold(audio: AudioDescription) -> bool:
    """The writer of this description does not want our sound: sendonly, inactive, or the old c=0.0.0.0."""
    raise NotImplementedError


def changed(old: SessionDescription, new: SessionDescription) -> bool:
    """Anything but the o= version differs: the version must be raised (RFC 3264 section 8)."""
    raise NotImplementedError


def ice_restarted(old: SessionDescription, new: SessionDescription) -> bool:
    """The peer restarts ICE: its ufrag or pwd changed (RFC 8839 section 4.4.1.1.1)."""
    raise NotImplementedError


def dtls_changed(old: SessionDescription, new: SessionDescription) -> bool:
    """The peer wants a new DTLS association: fingerprint, tls-id or role changed (RFC 8842 section 4)."""
    raise NotImplementedError


def usable_candidates(audio: AudioDescription, *, allow_loopback: bool = False) -> tuple[Candidate, ...]:
    """The candidates that may be contacted: UDP, component 1, literal addresses, none that is forbidden."""
    raise NotImplementedError


def forbidden_address(address: str, *, allow_loopback: bool = False) -> str | None:
    """Why no packet may ever go to this address, or None."""
    raise NotImplementedError
