"""The media plane of a call as a machine: what may follow what. RTP is the truth, ICE states are hints (recovery)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from phoned.media.events import MediaEvent, MediaStateChanged
from phoned.model import MediaState

log = logging.getLogger(__name__)

S = MediaState
_LIVE = frozenset({S.CONNECTING_MEDIA, S.FLOWING, S.QUIET, S.STALLED, S.FAILED})
LEGAL: dict[MediaState, frozenset[MediaState]] = {
    S.NEGOTIATING: frozenset({S.CONNECTING_MEDIA, S.FAILED}),
    S.CONNECTING_MEDIA: _LIVE,
    S.FLOWING: _LIVE,
    S.QUIET: _LIVE,
    S.STALLED: _LIVE,
    S.FAILED: frozenset({S.CONNECTING_MEDIA, S.FLOWING}),
}
"""FAILED is left by a new offer, or by the peer's packets coming back after all."""


class MediaStateMachine:
    """The state of one call's media. Moved by `MediaSession` and its `Stream`."""

    def __init__(self, owner: str, emit: Callable[[MediaEvent], None]) -> None:
        self._owner = owner
        self._emit = emit
        self.current = S.NEGOTIATING

    def enter(self, state: MediaState, cause: str) -> None:
        """Move on. To be where one is already is nothing."""
        old = self.current
        if old is state:
            return
        assert state in LEGAL[old], f"{old} -> {state}"
        self.current = state
        log.info("%s: media %s -> %s (%s)", self._owner, old, state, cause)
        self._emit(MediaStateChanged(old=old, new=state, cause=str(cause)))
