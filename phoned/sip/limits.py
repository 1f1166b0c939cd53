"""Hard limits, checked before the bytes they bound are parsed: one message may cost this much, and no more."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE: Final = 64 * 1024
"""Bytes of a whole message."""
MAX_LINE: Final = 8 * 1024
"""Bytes of the start line, and of one header line with its folded parts."""
MAX_HEADERS: Final = 128
"""Header lines."""
MAX_VIAS: Final = 70
"""Via values, however they are spread over lines; Max-Forwards starts at 70 (RFC 3261 8.1.1.6)."""
MAX_BODY: Final = 32 * 1024
"""Bytes of a body."""
MAX_AUTH_PARAMETERS: Final = 64
"""Parameters of one challenge or one set of credentials."""
MAX_CHALLENGES: Final = 16
"""Challenges of one header line."""
MAX_UINT32: Final = 2**32 - 1
"""CSeq, RSeq, Expires: RFC 3261 20.16, 20.19; RFC 3262 7.1."""
