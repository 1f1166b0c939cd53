"""Which of a peer's candidates may be contacted, and which one stands in the c= and m= lines.

Owns the rule of the safe address: a description from anybody must not make this machine send to itself, to its link,
or to a cloud's metadata service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from phoned.media.sdp.model import AudioDescription, Candidate

_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
_PREFERENCE = {"relay": 0, "srflx": 1, "prflx": 2, "host": 3}


def forbidden_address(address: str, *, allow_loopback: bool = False) -> str | None:
    """Why no packet may ever go to this address: ``hostname``, ``metadata``, ``loopback``, ``link-local``,
    ``multicast``, ``unspecified`` or ``reserved``; None when it may."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "hostname"
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is not None:
            return forbidden_address(str(embedded), allow_loopback=allow_loopback)
        if ip.scope_id is not None:
            return "link-local"
    if ip in _METADATA:
        return "metadata"
    if ip.is_loopback:
        return None if allow_loopback else "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    if ip.is_unspecified or (ip.version == 4 and int(ip) < 1 << 24):
        return "unspecified"
    if ip.is_reserved:  # 240.0.0.0/4 with the broadcast address
        return "reserved"
    return None


def usable_candidates(audio: AudioDescription, *, allow_loopback: bool = False) -> tuple[Candidate, ...]:
    """The candidates that may be contacted: UDP, component 1, literal addresses, none that is forbidden; each once."""
    found: dict[tuple[str, int], Candidate] = {}
    for candidate in audio.candidates:
        if candidate.transport != "udp" or candidate.component != 1:
            continue
        if forbidden_address(candidate.address, allow_loopback=allow_loopback) is None:
            found.setdefault((candidate.address, candidate.port), candidate)
    return tuple(found.values())


def default_candidate(candidates: Sequence[Candidate]) -> Candidate | None:
    """The one that most likely works with a peer without ICE (RFC 8445 section 5.1.4): relayed, then reflexive, then
    host; the first of its kind, since the default route's address comes first; IPv4 before IPv6."""
    return min(
        (c for c in candidates if c.component == 1 and c.transport == "udp"),
        key=lambda c: (_PREFERENCE.get(c.type, 4), ":" in c.address),
        default=None,
    )
