"""The states of a call, and which may follow which."""

from __future__ import annotations

from phoned.model import CallState

C = CallState

LEGAL: dict[CallState, frozenset[CallState]] = {
    C.QUEUED: frozenset({C.DIALING, C.ACTIVE, C.ENDED}),  # active: taken up after a restart
    C.DIALING: frozenset({C.RINGING, C.EARLY_MEDIA, C.ACTIVE, C.ENDED}),
    C.RINGING: frozenset({C.EARLY_MEDIA, C.ACTIVE, C.ENDED}),
    C.EARLY_MEDIA: frozenset({C.ACTIVE, C.ENDED}),
    C.ACTIVE: frozenset({C.ENDED}),
    C.ENDED: frozenset(),
}
