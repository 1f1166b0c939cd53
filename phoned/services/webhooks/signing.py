"""Secrets and signatures (Standard Webhooks 1.0): ``webhook-signature: v1,BASE64 HMAC-SHA256 of id.timestamp.body``."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime

from standardwebhooks import Webhook

from phoned.config.types import Secret
from phoned.errors import InvalidValue

PREFIX = "whsec_"
RANDOM_BYTES = 32
_SHORTEST, _LONGEST = 16, 64


def new_secret() -> Secret:
    """``whsec_`` and 32 random bytes."""
    return Secret((PREFIX + base64.b64encode(secrets.token_bytes(RANDOM_BYTES)).decode()).encode())


class Signer:
    """Signs with each secret of a text, one a line, so that a receiver may change from one to the next in peace.

    Raises `InvalidValue` for a text that holds none, or something else."""

    def __init__(self, secret: Secret) -> None:
        lines = secret.text().split()
        if not lines:
            raise InvalidValue("there is no secret in it")
        self._keys = tuple(Webhook(_checked(line)) for line in lines)

    def headers(self, id_: str, body: str, now: datetime) -> dict[str, str]:
        """The three headers of one attempt at ``now`` (UTC)."""
        moment = now.astimezone(UTC)
        signatures = (key.sign(msg_id=id_, timestamp=moment, data=body) for key in self._keys)
        return {
            "webhook-id": id_,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def __repr__(self) -> str:
        return f"Signer({len(self._keys)} secrets)"


def _checked(line: str) -> bytes:
    try:
        text = line.removeprefix(PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise InvalidValue(
            f"a secret is {PREFIX} and {_SHORTEST} to {_LONGEST} random bytes in base64;"
            " make one with: echo whsec_$(openssl rand -base64 32)"
        )
    return key
