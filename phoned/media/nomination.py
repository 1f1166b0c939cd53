"""The NOMINATION attribute of STUN (draft-thatcher-ice-renomination): which of several nominated pairs is the newest.

A controlled libwebrtc keeps to the pair that it last heard data on while two are nominated alike. After a restart of
ICE with a new association nothing can be sent on the new pair before the peer has moved there, so its ClientHello goes
down the old one until that times out: 1.6 s of silence, measured. And of the pairs of one agent it may keep to another
than we do: where that one dies, it is deaf for 2 to 3 s. A greater number wins at once. Peers that do not know
the attribute must ignore it (RFC 8489 14: comprehension-optional).
"""

from __future__ import annotations

from aioice import stun

NAME = "NOMINATION"
TYPE = 0xC001

_entry = (TYPE, NAME, stun.pack_unsigned, stun.unpack_unsigned)
stun.ATTRIBUTES_BY_TYPE[TYPE] = stun.ATTRIBUTES_BY_NAME[NAME] = _entry


STEPS = 16
"""Numbers that an agent may use up: for the checks that each nominate their pair, and for its choices among them."""


class Nominations:
    """The numbers of one agent. Each check of a controlling agent nominates its pair, so that nothing waits for a
    second round; which pair it is of those that answered is said with a greater number (`choose`)."""

    def __init__(self, agent: int) -> None:
        self._first = agent * STEPS
        self._choices = 0

    def choose(self) -> None:
        """Another pair is in use: what is said of it from now on counts for more."""
        self._choices = min(self._choices + 1, STEPS - 1)

    def number(self, request: stun.Message, *, chosen: bool) -> stun.Message:
        """Say which nomination this is, if it is one: 1 or more, greater for each later agent of a call."""
        if "USE-CANDIDATE" in request.attributes:
            request.attributes[NAME] = self._first + (self._choices if chosen else 0)
        return request
