"""The arithmetic of digest authentication (RFC 7616 3.4, RFC 8760): from what both sides know to the response."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

# best first (RFC 8760 2.3 leaves the order to the client; MD5 is for servers that know nothing else)
_HASHES: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
_ORDER: Final = tuple(_HASHES)
_SESS: Final = "-SESS"


def rank(algorithm: str) -> int | None:
    """The place of an algorithm in the order of preference, 0 best, ``-sess`` beside its base; None when unknown."""
    base = algorithm.upper().removesuffix(_SESS)
    return _ORDER.index(base) if base in _HASHES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestInput:
    """All that enters the response. ``algorithm`` must have a ``rank``."""

    algorithm: str
    username: str
    realm: str
    password: str = field(repr=False)
    nonce: str
    method: str
    uri: str
    body: bytes = field(default=b"", repr=False)
    qop: str = ""
    """``auth``, ``auth-int``, or empty for the form of RFC 2069."""
    nc: str = ""
    """Eight hexadecimal digits."""
    cnonce: str = ""

    def response(self) -> str:
        """``response`` in hexadecimal (RFC 7616 3.4.1)."""
        secret = self.hash(f"{self.username}:{self.realm}:{self.password}")
        if self.algorithm.upper().endswith(_SESS):
            secret = self.hash(f"{secret}:{self.nonce}:{self.cnonce}")
        request = f"{self.method}:{self.uri}"
        if self.qop == "auth-int":
            request = f"{request}:{self.hash(self.body)}"
        middle = f"{self.nonce}:{self.nc}:{self.cnonce}:{self.qop}" if self.qop else self.nonce
        return self.hash(f"{secret}:{middle}:{self.hash(request)}")

    def hash(self, data: str | bytes) -> str:
        """The hash of this algorithm, in hexadecimal."""
        name = _HASHES[self.algorithm.upper().removesuffix(_SESS)]
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        return hashlib.new(name, raw, usedforsecurity=False).hexdigest()
