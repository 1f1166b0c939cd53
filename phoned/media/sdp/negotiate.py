"""Offer/answer for one secure audio stream (RFC 3264, 8839, 8842, 5763, 9143): pure functions from values to values.

Owns: which codecs, payload types, direction and DTLS role result from an offer and an answer, and what a new
description changes. Knows no bytes (`read`, `write`), no sockets, and not when an offer is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from phoned.errors import DescriptionError, InvalidValue
from phoned.media.sdp.candidates import default_candidate
from phoned.media.sdp.model import (
    DEFAULT_PROTOCOL,
    AudioDescription,
    Candidate,
    Direction,
    Fingerprint,
    Origin,
    OtherMedia,
    PayloadType,
    SessionDescription,
    Setup,
)
from phoned.media.sdp.opus import OpusFormat

PTIME_MS = 20
HASHES = ("sha-256", "sha-384", "sha-512")
"""Fingerprint algorithms that can be checked."""

Order = Literal["offer", "local"]
Role = Literal["client", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A codec that phoned speaks, as it stands in an offer of ours."""

    number: int
    clock_rate: int
    channels: int = 1


_KINDS = {
    "opus": _Kind(number=111, clock_rate=48000, channels=2),
    "g722": _Kind(number=9, clock_rate=8000),
    "pcmu": _Kind(number=0, clock_rate=8000),
    "pcma": _Kind(number=8, clock_rate=8000),
}
_EVENT_NUMBERS = {48000: 110, 8000: 101}
_EVENTS = "0-15"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMedia:
    """What our side brings into any description: codecs in order of preference, ICE and DTLS parameters."""

    codecs: tuple[str, ...]
    """``opus``, ``g722``, ``pcmu``, ``pcma`` in any case."""
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
    opus: OpusFormat = field(default_factory=lambda: OpusFormat(fec=True))
    """What we want to hear when Opus is chosen."""


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
    fmtp: str = ""
    """The remote side's format parameters: what it can and wants to receive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The outcome of an offer and its answer, seen from our side."""

    codecs: tuple[AgreedCodec, ...]
    """The first one is the one to send; every one of them may come in."""
    telephone_events: tuple[AgreedCodec, ...]
    comfort_noise: int | None
    """The comfort noise payload type that may come in; never sent."""
    direction: Direction
    """Ours: whether we send and whether we receive."""
    remote_hold: bool
    ptime_ms: int
    """Packet length to send."""
    rtcp_mux: bool
    """False: the peer cannot take RTCP on this path; send none."""

    def telephone_event_for(self, codec: AgreedCodec) -> AgreedCodec | None:
        """The telephone-event format with the codec's clock rate: the same SSRC must run on one clock (RFC 4733
        2.4)."""
        return next((event for event in self.telephone_events if event.clock_rate == codec.clock_rate), None)


def make_offer(
    local: LocalMedia,
    origin: Origin,
    *,
    previous: SessionDescription | None = None,
    setup: Setup = Setup.ACTPASS,
) -> SessionDescription:
    """Our offer.

    ``previous``: the description in force, ours or the peer's; its m-lines, mid, BUNDLE, profile and payload type
    numbers stay (RFC 3264 section 8). ``setup``: actpass, or on request a fixed role. Raises `InvalidValue` for an
    unknown codec.
    """
    known = previous.audio if previous is not None else None
    codecs = _offered_codecs(local, known)
    audio = _transport(
        local,
        AudioDescription(
            port=9,
            address="0.0.0.0",
            protocol=known.protocol if known is not None else DEFAULT_PROTOCOL,
            payload_types=codecs + _offered_events(codecs, known),
            direction=local.direction,
            mid=known.mid if known is not None else "0",
            ptime_ms=PTIME_MS,
            setup=setup,
            rtcp_mux=True,
        ),
    )
    if previous is None:
        return SessionDescription(origin=origin, audio=audio, bundle=("0",))
    return SessionDescription(
        origin=origin,
        audio=audio,
        others=_refused(previous.others),
        audio_index=previous.audio_index,
        bundle=_bundle(previous),
    )


def make_answer(
    offer: SessionDescription,
    local: LocalMedia,
    origin: Origin,
    *,
    established: Role | None = None,
    order: Order = "offer",
) -> SessionDescription:
    """Our answer, with the offerer's payload types, profile, mid and m-lines.

    ``established``: the role we have in the DTLS association that stays. ``order``: whose preference ranks the codecs.
    Raises `DescriptionError` 488 when nothing is in common or the offer lacks ICE or DTLS.
    """
    check_usable(offer)
    theirs = offer.audio
    codecs = choose_codecs(theirs.codecs, local.codecs, order=order)
    if not codecs:
        raise DescriptionError("no codec in common", status=488)
    clocks = {codec.clock_rate for codec in codecs}
    events = {e.clock_rate: e for e in reversed(theirs.telephone_events) if e.clock_rate in clocks}
    payload_types = tuple(_own_format(codec, local) for codec in codecs) + tuple(
        replace(event, fmtp=_EVENTS) for event in sorted(events.values(), key=lambda e: theirs.payload_types.index(e))
    )
    audio = AudioDescription(
        port=9,
        address="0.0.0.0",
        protocol=theirs.protocol,
        payload_types=payload_types,
        direction=answer_direction(theirs.direction, local.direction),
        mid=theirs.mid,
        ptime_ms=PTIME_MS,
        setup=_answer_setup(theirs.setup, established),
        rtcp_mux=theirs.rtcp_mux,
    )
    return SessionDescription(
        origin=origin,
        audio=_transport(local, audio),
        others=_refused(offer.others),
        audio_index=offer.audio_index,
        bundle=_bundle(offer),
    )


def check_usable(description: SessionDescription, *, answer: bool = False) -> None:
    """Raise `DescriptionError` 488 unless it has a live audio m-line, ICE, a fingerprint that we can check, a DTLS
    role."""
    audio = description.audio
    if not audio.port:
        raise DescriptionError("the audio m-line is rejected", status=488)
    if not audio.ufrag or not audio.pwd:
        raise DescriptionError("audio without ICE is refused", status=488)
    if not any(fingerprint.algorithm in HASHES for fingerprint in audio.fingerprints):
        raise DescriptionError("audio without a sha-256, sha-384 or sha-512 fingerprint is refused", status=488)
    if audio.setup is Setup.HOLDCONN or (answer and audio.setup is Setup.ACTPASS):
        raise DescriptionError(f"setup:{audio.setup.value} cannot be used here", status=488)


def agree(local: SessionDescription, remote: SessionDescription) -> Agreement:
    """What both descriptions together mean for us. The remote's order ranks the codecs when it answers, and equals ours
    when we do. Raises `DescriptionError` 488 without a common codec."""
    ours, theirs = local.audio, remote.audio
    answered = tuple(_pairs(ours.codecs, theirs.codecs))
    if not answered:
        raise DescriptionError("no codec in common", status=488)
    noise = ours.comfort_noise or theirs.comfort_noise
    return Agreement(
        codecs=answered,
        telephone_events=tuple(_pairs(ours.telephone_events, theirs.telephone_events)),
        comfort_noise=noise.number if noise is not None else None,
        direction=answer_direction(theirs.direction, ours.direction),
        remote_hold=remote_hold(theirs),
        ptime_ms=PTIME_MS,
        rtcp_mux=theirs.rtcp_mux and ours.rtcp_mux,
    )


def dtls_role(*, ours: Setup | None, theirs: Setup | None, offerer: bool) -> Role:
    """Our DTLS role once both descriptions are there. ``offerer``: we made the offer; the answer decides (RFC 5763 5).

    A missing attribute means active in an offer and passive in an answer (RFC 4145 section 4).
    """
    if offerer:
        return "server" if theirs is Setup.ACTIVE else "client"
    return "client" if ours is Setup.ACTIVE else "server"


def choose_codecs(
    offered: Sequence[PayloadType], preferences: Sequence[str], *, order: Order = "offer"
) -> tuple[PayloadType, ...]:
    """The codecs that both know, each once, carrying the offerer's payload types."""
    wanted = [name.lower() for name in preferences]
    common: dict[str, PayloadType] = {}
    for payload_type in offered:
        kind = _KINDS.get(payload_type.name)
        if kind is None or payload_type.name not in wanted or payload_type.clock_rate != kind.clock_rate:
            continue
        common.setdefault(payload_type.name, payload_type)
    if order == "local":
        return tuple(common[name] for name in dict.fromkeys(wanted) if name in common)
    return tuple(common.values())


def answer_direction(offered: Direction, wanted: Direction) -> Direction:
    """The answerer's direction (RFC 3264 section 6.1): we send what the peer receives, and the other way round."""
    return Direction.of(
        sends=wanted.sends and offered.receives,
        receives=wanted.receives and offered.sends,
    )


def remote_hold(audio: AudioDescription) -> bool:
    """Whether the writer of this description does not want our sound: sendonly, inactive, or the old c=0.0.0.0.

    Port 9 with 0.0.0.0 is no hold: so an ICE agent writes that has no candidate yet (RFC 8839 section 4.2.1.3).
    """
    return not audio.direction.receives or (audio.address in ("0.0.0.0", "::") and audio.port not in (0, 9))


def changed(old: SessionDescription, new: SessionDescription) -> bool:
    """Anything but the o= version differs: the version must be raised (RFC 3264 section 8)."""
    return replace(old, origin=new.origin) != new


def ice_restarted(old: SessionDescription, new: SessionDescription) -> bool:
    """The peer restarts ICE: its ufrag or pwd changed (RFC 8839 section 4.4.1.1.1)."""
    return (old.audio.ufrag, old.audio.pwd) != (new.audio.ufrag, new.audio.pwd)


def dtls_changed(old: SessionDescription, new: SessionDescription, *, compare_setup: bool = False) -> bool:
    """The peer wants a new DTLS association (RFC 8842 section 4): other fingerprints, or both sides named a tls-id and
    these differ (Chromium and older rtpengine name none). ``compare_setup``: also when a fixed role flipped; only
    meaningful between two answers or two fixed roles, since every re-offer says actpass."""
    before, after = old.audio, new.audio
    if set(before.fingerprints) != set(after.fingerprints):
        return True
    if before.tls_id is not None and after.tls_id is not None and before.tls_id != after.tls_id:
        return True
    fixed = {Setup.ACTIVE, Setup.PASSIVE}
    return compare_setup and {before.setup, after.setup} == fixed


def _pairs(ours: Sequence[PayloadType], theirs: Sequence[PayloadType]) -> list[AgreedCodec]:
    """Formats in both descriptions, in the remote's order, each once."""
    own: dict[tuple[str, int], PayloadType] = {}
    for payload_type in ours:
        own.setdefault((payload_type.name, payload_type.clock_rate), payload_type)
    found: dict[tuple[str, int], AgreedCodec] = {}
    for payload_type in theirs:
        key = (payload_type.name, payload_type.clock_rate)
        if key in own and key not in found:
            found[key] = AgreedCodec(
                name=payload_type.name,
                clock_rate=payload_type.clock_rate,
                channels=payload_type.channels,
                send_payload_type=payload_type.number,
                receive_payload_type=own[key].number,
                fmtp=payload_type.fmtp,
            )
    return list(found.values())


def _offered_codecs(local: LocalMedia, known: AudioDescription | None) -> tuple[PayloadType, ...]:
    """Ours in order of preference, under the numbers that the session already uses for them."""
    numbers = {(p.name, p.clock_rate): p.number for p in reversed(known.payload_types)} if known is not None else {}
    taken = set(numbers.values())
    offered = []
    for name in dict.fromkeys(codec.lower() for codec in local.codecs):
        kind = _KINDS.get(name)
        if kind is None:
            raise InvalidValue(f"there is no codec {name!r}", pointer="/codecs")
        number = numbers.get((name, kind.clock_rate))
        if number is None:
            number = _free(kind.number, taken)
            taken.add(number)
        plain = PayloadType(number=number, name=name, clock_rate=kind.clock_rate, channels=kind.channels)
        offered.append(_own_format(plain, local))
    if not offered:
        raise InvalidValue("an offer needs a codec", pointer="/codecs")
    return tuple(offered)


def _offered_events(codecs: Sequence[PayloadType], known: AudioDescription | None) -> tuple[PayloadType, ...]:
    """telephone-event at every clock rate offered."""
    numbers = {e.clock_rate: e.number for e in reversed(known.telephone_events)} if known is not None else {}
    taken = {p.number for p in codecs} | ({p.number for p in known.payload_types} if known is not None else set())
    events = []
    for clock_rate in dict.fromkeys(codec.clock_rate for codec in codecs):
        number = numbers.get(clock_rate)
        if number is None:
            number = _free(_EVENT_NUMBERS[clock_rate], taken)
            taken.add(number)
        events.append(PayloadType(number=number, name="telephone-event", clock_rate=clock_rate, fmtp=_EVENTS))
    return tuple(events)


def _free(wanted: int, taken: set[int]) -> int:
    """A payload type number that the session does not use for something else (RFC 3264 section 8.3.2)."""
    return wanted if wanted not in taken else next(n for n in range(96, 128) if n not in taken)


def _own_format(payload_type: PayloadType, local: LocalMedia) -> PayloadType:
    """With our own fmtp: what we want to receive (RFC 7587 section 7)."""
    if payload_type.name != "opus":
        return replace(payload_type, fmtp="")
    return replace(payload_type, fmtp=str(local.opus))


def _transport(local: LocalMedia, audio: AudioDescription) -> AudioDescription:
    """With our ICE and DTLS parameters; c= and m= carry the default candidate."""
    default = default_candidate(local.candidates)
    return replace(
        audio,
        port=default.port if default is not None else 9,
        address=default.address if default is not None else "0.0.0.0",
        ufrag=local.ufrag,
        pwd=local.pwd,
        candidates=local.candidates,
        end_of_candidates=True,
        fingerprints=(local.fingerprint,),
        tls_id=local.tls_id,
        ssrc=local.ssrc,
        cname=local.cname,
    )


def _answer_setup(offered: Setup | None, established: Role | None) -> Setup:
    if offered is Setup.ACTPASS:
        return Setup.PASSIVE if established == "server" else Setup.ACTIVE
    return Setup.ACTIVE if offered is Setup.PASSIVE else Setup.PASSIVE


def _refused(others: tuple[OtherMedia, ...]) -> tuple[OtherMedia, ...]:
    return tuple(replace(media, port=0) for media in others)


def _bundle(other: SessionDescription) -> tuple[str, ...]:
    """The group that our description has: our audio, when the other side bundles it (RFC 9143 section 7.3)."""
    mid = other.audio.mid
    return (mid,) if mid is not None and mid in other.bundle else ()
