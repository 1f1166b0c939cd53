"""The tolerant reader of session descriptions."""

from __future__ import annotations

from phoned.media.sdp.model import SessionDescription


def read(data: bytes) -> SessionDescription:
    """Read a description.

    Raises `DescriptionError`: status 400 when it is malformed, 488 when it is well formed but has no audio m-line of a
    kind that this phone can use at all (see `negotiate.check_usable` for the finer requirements).
    """
    raise NotImplementedError
