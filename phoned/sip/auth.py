"""Digest authentication, both sides (RFC 3261 22, RFC 7616, RFC 8760), with ``qop`` auth and auth-int.

``DigestClient`` answers challenges for one account in one realm; ``DigestServer`` makes and checks them. Which realm
and which request may be answered at all, and how often, is policy and belongs to their owners. No clock and no random
source in here: both are passed in. A password is never part of a ``repr``.
"""

from __future__ import annotations

import hmac
import string
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from phoned.errors import InvalidValue, MalformedMessage, WrongState
from phoned.sip.challenge import Challenge, Credentials
from phoned.sip.digest import DigestInput, rank
from phoned.sip.grammar import quote
from phoned.sip.uri import Uri

_FIRST: Final = "00000001"
_HEX: Final = frozenset(string.hexdigits)
_MAX_NONCES: Final = 1024


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

    __slots__ = ("_challenge", "_cnonce", "_count", "_password", "_random", "_realm", "_username")

    def __init__(self, *, username: str, password: str, realm: str, random: TokenSource) -> None:
        self._username = username
        self._password = password
        self._realm = realm
        self._random = random
        self._challenge: Challenge | None = None
        self._cnonce = ""
        self._count = 0

    @property
    def realm(self) -> str:
        """The realm that these credentials are for."""
        return self._realm

    @property
    def ready(self) -> bool:
        """Whether there is a nonce to answer with. One without qop serves once: it has no count that could grow."""
        return self._challenge is not None and (self._count == 0 or bool(self._challenge.qop))

    def consider(self, challenges: Sequence[Challenge], *, sent: str | None = None) -> ChallengeOutcome:
        """Take the best challenge of our realm (SHA-512-256, SHA-256, MD5, in this order) as the newest nonce.

        ``challenges``: those of one response (``challenge.challenges``). ``sent``: the credentials that the challenged
        request carried, if any, as ``authorization`` made them. How often to go on is for the caller to bound: a
        server may call every nonce stale.
        """
        best = _preferred(challenges, self._realm)
        if best is None:
            return ChallengeOutcome.UNSUPPORTED
        outcome = ChallengeOutcome.ANSWER
        if sent is not None:
            carried = Credentials.parse(sent)
            # a nonce that had been used before was once accepted with this password: then it has merely aged.
            # A server that calls a nonce stale and offers it again is not one to try again with
            reused = carried.get("nc") not in (None, _FIRST)
            again = carried.get("nonce") == best.nonce
            if again or not (best.stale or reused):
                self.forget()
                return ChallengeOutcome.REFUSED
            outcome = ChallengeOutcome.STALE
        if self._challenge is None or self._challenge.nonce != best.nonce:
            # the count goes on when a request in parallel was given the same nonce
            self._count = 0
            self._cnonce = self._random.token()
        self._challenge = best
        return outcome

    def authorization(self, method: str, uri: str, body: bytes = b"") -> str:
        """The value of (Proxy-)Authorization for this request; ``uri`` is its Request-URI as written.

        Every call counts the nonce up: call it once for each request that goes out. WrongState unless ``ready``.
        """
        challenge = self._challenge
        if challenge is None or not self.ready:
            raise WrongState("no nonce to answer with", state="unchallenged")
        self._count += 1
        # a proxy may change a body, and then auth-int fails: only where the server wants nothing else
        qop = "auth" if "auth" in challenge.qop else "auth-int" if challenge.qop else ""
        terms = DigestInput(
            algorithm=challenge.algorithm,
            username=self._username,
            realm=self._realm,
            password=self._password,
            nonce=challenge.nonce,
            method=method,
            uri=uri,
            body=body,
            qop=qop,
            nc=f"{self._count:08x}" if qop else "",
            cnonce=self._cnonce,
        )
        fields = [
            f"username={quote(self._username)}",
            f"realm={quote(self._realm)}",
            f"nonce={quote(challenge.nonce)}",
            f"uri={quote(uri)}",
            f'response="{terms.response()}"',
        ]
        algorithm = challenge.get("algorithm")
        if algorithm is not None:
            fields.append(f"algorithm={algorithm}")
        if qop or challenge.algorithm.endswith("-SESS"):
            fields.append(f"cnonce={quote(self._cnonce)}")
        if challenge.opaque is not None:
            fields.append(f"opaque={quote(challenge.opaque)}")
        if qop:
            fields += [f"qop={qop}", f"nc={terms.nc}"]
        return "Digest " + ", ".join(fields)

    def forget(self) -> None:
        """Drop the nonce: the next request goes out without credentials."""
        self._challenge = None

    def __repr__(self) -> str:
        return f"DigestClient(username={self._username!r}, realm={self._realm!r}, ready={self.ready})"


def _preferred(challenges: Sequence[Challenge], realm: str) -> Challenge | None:
    best: tuple[int, Challenge] | None = None
    for challenge in challenges:
        place = rank(challenge.algorithm)
        if place is None or not challenge.is_digest or challenge.realm != realm:
            continue
        if challenge.qop and not {"auth", "auth-int"} & set(challenge.qop):
            continue
        if best is None or place < best[0]:
            best = place, challenge
    return None if best is None else best[1]


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

    __slots__ = ("_algorithms", "_lifetime_s", "_nonces", "_qop", "_random", "_realm")

    def __init__(
        self,
        *,
        realm: str,
        random: TokenSource,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        qop: Sequence[str] = ("auth",),
        nonce_lifetime_s: float = 300.0,
    ) -> None:
        unknown = [name for name in algorithms if rank(name) is None]
        if unknown or not algorithms or not set(qop) <= {"auth", "auth-int"} or not qop:
            raise InvalidValue("algorithms are MD5, SHA-256, SHA-512-256 with or without -sess; qop auth, auth-int")
        self._realm = realm
        self._random = random
        self._algorithms = tuple(algorithms)
        self._qop = tuple(qop)
        self._lifetime_s = nonce_lifetime_s
        # nonce: (end of its life, highest count seen); in order of age
        self._nonces: dict[str, tuple[float, int]] = {}

    def challenge(self, now: float, *, stale: bool = False) -> list[str]:
        """The values of WWW-Authenticate or Proxy-Authenticate for one response: one for each algorithm."""
        for nonce in [old for old, (end, _) in self._nonces.items() if end <= now]:
            del self._nonces[nonce]
        if len(self._nonces) >= _MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        nonce = self._random.token()
        self._nonces[nonce] = (now + self._lifetime_s, 0)
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(self._realm)}, nonce="{nonce}", algorithm={name}, qop="{",".join(self._qop)}"{tail}'
            for name in self._algorithms
        ]

    def verify(
        self, credentials: Credentials, method: str, uri: str, body: bytes, *, username: str, password: str, now: float
    ) -> Verdict:
        """Whether these credentials are of that user, for this request. An accepted count is never accepted again."""
        said = dict(credentials.parameters)
        nonce, nc = said.get("nonce", ""), said.get("nc", "")
        terms = DigestInput(
            algorithm=said.get("algorithm", "MD5"),
            username=username,
            realm=self._realm,
            password=password,
            nonce=nonce,
            method=method,
            uri=said.get("uri", ""),
            body=body,
            qop=said.get("qop", ""),
            nc=nc,
            cnonce=said.get("cnonce", ""),
        )
        if not self._offered(credentials, terms) or not _same_uri(terms.uri, uri):
            return Verdict.WRONG
        name = terms.hash(f"{username}:{self._realm}") if said.get("userhash", "").lower() == "true" else username
        right = hmac.compare_digest(
            terms.response().encode(), said.get("response", "").lower().encode("utf-8", "replace")
        )
        if said.get("username") != name or said.get("realm") != self._realm or not right:
            return Verdict.WRONG
        end, highest = self._nonces.get(nonce, (now, 0))
        if end <= now:
            return Verdict.STALE
        count = int(nc, 16)
        if count <= highest:
            return Verdict.REPLAYED
        self._nonces[nonce] = (end, count)
        return Verdict.OK

    def _offered(self, credentials: Credentials, terms: DigestInput) -> bool:
        """Whether the form is one that our challenges allow; without qop there is no count, and so no defence."""
        return (
            credentials.scheme.lower() == "digest"
            and terms.algorithm.upper() in {name.upper() for name in self._algorithms}
            and terms.qop in self._qop
            and len(terms.nc) == 8
            and _HEX.issuperset(terms.nc)
            and bool(terms.cnonce)
        )


def _same_uri(one: str, other: str) -> bool:
    # written otherwise by a proxy on the way: RFC 7616 3.4.6 asks for the same resource, not the same bytes
    try:
        return one == other or Uri.parse(one).equivalent(Uri.parse(other))
    except MalformedMessage:
        return False
