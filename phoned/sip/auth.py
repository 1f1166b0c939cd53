"""Digest authentication, both sides (RFC 3261 22, RFC 7616, RFC 8760), with ``qop`` auth and auth-int.

``DigestClient`` answers challenges for one account in one realm; ``DigestServer`` makes and checks them. Which realm
and which request may be answered at all, and how often, is policy and belongs to their owners. No clock and no random
source in here: both are passed in. A password is never part of a ``repr``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from phoned.sip.challenge import Challenge, Credentials


class TokenSource(Protocol):
    """Where unguessable words come from."""

    def token(self) -> str:
        """128 random bits as a SIP token."""
        ...


class ChallengeOutcome(Enum):
    """What a challenge means to the client that got it."""

    ANSWER = "answer"
    """New to us: send the request again with ``authorization``."""
    STALE = "stale"
    """Our credentials were right and the nonce was old: send again, this does not count as a failed try."""
    REFUSED = "refused"
    """The answer to this server's own nonce was refused: the password is wrong. Do not send again."""
    UNSUPPORTED = "unsupported"
    """No challenge of our realm with an algorithm and qop that we know."""


class DigestClient:
    """The credentials of one account in one realm. Driven by the owner of the request that was challenged.

    ``consider`` each 401 or 407, then ``authorization`` for the next request, and for every later one as long as
    ``ready``: the nonce is used again with a growing count.
    """

    def __init__(self, *, username: str, password: str, realm: str, random: TokenSource) -> None:
        raise NotImplementedError

    @property
    def realm(self) -> str:
        """The realm that these credentials are for."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether there is a nonce to answer with before any challenge."""
        raise NotImplementedError

    def consider(self, challenges: Sequence[Challenge], *, sent: str | None = None) -> ChallengeOutcome:
        """Take the best challenge of our realm (SHA-512-256, SHA-256, MD5, in this order) as the newest nonce.

        ``challenges``: those of one response (``challenge.challenges``). ``sent``: the credentials that the challenged
        request carried, if any, as ``authorization`` made them.
        """
        raise NotImplementedError

    def authorization(self, method: str, uri: str, body: bytes = b"") -> str:
        """The value of (Proxy-)Authorization for this request; ``uri`` is its Request-URI as written.

        Every call counts the nonce up, so it is called once for each request that goes out. WrongState unless ``ready``.
        """
        raise NotImplementedError

    def forget(self) -> None:
        """Drop the nonce: the next request goes out without credentials."""
        raise NotImplementedError


class Verdict(Enum):
    """What credentials are worth to the server."""

    OK = "ok"
    STALE = "stale"
    """Right, but for a nonce that is unknown or too old: challenge again with ``stale=true``."""
    WRONG = "wrong"
    """Wrong user, password, realm, URI, or a form that was not offered."""
    REPLAYED = "replayed"
    """Right, and seen before: the nonce count did not grow."""


class DigestServer:
    """Makes challenges for one realm and checks their answers. Driven by a registrar or proxy; ``now`` in seconds."""

    def __init__(
        self,
        *,
        realm: str,
        random: TokenSource,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        qop: Sequence[str] = ("auth",),
        nonce_lifetime_s: float = 300.0,
    ) -> None:
        raise NotImplementedError

    def challenge(self, now: float, *, stale: bool = False) -> list[str]:
        """The values of WWW-Authenticate or Proxy-Authenticate for one response: one for each algorithm."""
        raise NotImplementedError

    def verify(
        self, credentials: Credentials, method: str, uri: str, body: bytes, *, username: str, password: str, now: float
    ) -> Verdict:
        """Whether these credentials are of that user, for this request."""
        raise NotImplementedError
