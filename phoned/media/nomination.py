"""The NOMINATION attribute of STUN (draft-thatcher-ice-renomination): which of several nominated pairs is the newest.

A controlled libwebrtc keeps to the pair that it last heard data on while two are nominated alike. After a restart of
ICE with a new association nothing can be sent on the new pair before the peer has moved there, so its ClientHello goes
down the old one until that times out: 1.6 s of silence, measured. A greater number wins at once. Peers that do not know
the attribute must ignore it (RFC 8489 14: comprehension-optional).
"""

from __future__ import annotations

from aioice import stun

NAME = "NOMINATION"
TYPE = 0xC001

_entry = (TYPE, NAME, stun.pack_unsigned, stun.unpack_unsigned)
stun.ATTRIBUTES_BY_TYPE[TYPE] = stun.ATTRIBUTES_BY_NAME[NAME] = _entry


def number(request: stun.Message, nomination: int) -> stun.Message:
    """Say which nomination this is, if it is one: 1 or more, greater for each later agent of a call."""
    if "USE-CANDIDATE" in request.attributes:
        request.attributes[NAME] = nomination
    return request
