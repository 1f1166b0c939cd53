"""What a media session's successor in another process must know of its descriptions: o=, m-lines, payload types.

A peer may insist that a later description keeps what an earlier one said (RFC 3264 8), whoever writes it. Pure values.
No ICE credentials, certificates, addresses or keys are kept: the successor brings its own (tier 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from phoned.media.sdp import SessionDescription, read, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """``description``: what `remember` wrote. ``codec``: the one that was used, if any."""

    description: str
    codec: str | None = None

    def previous(self) -> SessionDescription:
        """Our description of before. Raises `DescriptionError`."""
        return read(self.description.encode())

    def codecs(self, usable: tuple[str, ...]) -> tuple[str, ...]:
        """Of ``usable`` those that the call had agreed to, the one in use first; all of them when none is left. What a
        codec fallback has left out stays out."""
        agreed = {codec.name for codec in self.previous().audio.codecs}
        kept = [name for name in usable if name.lower() in agreed]
        used = (self.codec or "").lower()
        return tuple(sorted(kept, key=lambda name: name.lower() != used)) or usable


def remember(local: SessionDescription, version: int) -> str:
    """Our description, bare. ``version``: the newest that was written, whether or not it came into force."""
    audio = replace(
        local.audio,
        port=9,
        address="0.0.0.0",
        ufrag="",
        pwd="",
        candidates=(),
        end_of_candidates=False,
        fingerprints=(),
        setup=None,
        tls_id=None,
        ssrc=None,
        cname=None,
    )
    return write(replace(local, origin=replace(local.origin, version=version), audio=audio)).decode()
