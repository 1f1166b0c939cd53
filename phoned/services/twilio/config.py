"""The table ``[twilio]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from phoned.config.secrets import BadSecret, read_secret_file
from phoned.config.types import SecretFile, Table

SHORTEST_TOKEN = 8
"""Characters. Who knows it may place calls."""


def _token(path: Path) -> Path:
    try:
        token = read_secret_file(path)
    except BadSecret:
        return path  # the loader says what is wrong with the file
    if len(token.reveal()) < SHORTEST_TOKEN:
        raise ValueError(f"{path}: too easy to guess; write a long one: (umask 077; openssl rand -hex 16 > {path})")
    return path


class TwilioConfig(Table):
    """Nothing in it: no program is let in by Twilio's ways."""

    account_sid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    """Twilio's are ``AC`` and 32 hex digits; any will do."""
    auth_token_file: Annotated[SecretFile, AfterValidator(_token)] | None = None
    credential: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The name of a systemd credential, in the place of the file."""

    @property
    def secret(self) -> str | None:
        """What to ask `Secrets` for."""
        return str(self.auth_token_file) if self.auth_token_file is not None else self.credential

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.auth_token_file is not None and self.credential is not None:
            raise ValueError("auth_token_file and credential: give one of them")
        if (self.account_sid is None) != (self.secret is None):
            raise ValueError("account_sid goes with auth_token_file (or credential): give both, or none")
        return self
