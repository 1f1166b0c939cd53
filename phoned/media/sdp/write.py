"""The strict writer of session descriptions."""

from __future__ import annotations

from phoned.media.sdp.model import SessionDescription


def write(description: SessionDescription) -> bytes:
    """The description as it goes on the wire. Raises `InvalidValue` for a value that must never be written."""
    raise NotImplementedError
