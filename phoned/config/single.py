"""One account that no file describes: a document of the control API, read with the rules of ``[[accounts]]``.

Paths in it must be absolute, for there is no file that they could be relative to. Everything here blocks on files: call
it off the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from phoned.config.accounts import AccountConfig
from phoned.config.load import LoadedConfig
from phoned.config.report import Location
from phoned.config.secrets import BadSecret, read_credential, read_secret_file
from phoned.config.shape import findings_of
from phoned.config.types import Secret
from phoned.errors import InvalidValues

PASSWORD = "password"
MAX_PASSWORD = 1024
_PATHS: tuple[Location, ...] = (("password_file",), ("http_proxy_credential_file",), ("tls", "ca_file"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """An account as it is to be: what is configured, and the secrets that this names."""

    config: AccountConfig
    password: Secret | None = None
    proxy_credential: Secret | None = None

    @property
    def id(self) -> str:
        return self.config.id


def settings_of(loaded: LoadedConfig) -> tuple[AccountSettings, ...]:
    """The accounts of the configuration. Blocks; raises `BadSecret` for a file that went bad just now."""
    return tuple(
        AccountSettings(
            config=account, password=loaded.password(account.id), proxy_credential=_proxy_credential(account)
        )
        for account in loaded.config.accounts
    )


def read_account(
    account: str, document: Mapping[str, Any], environ: Mapping[str, str], *, kept: Secret | None = None
) -> AccountSettings:
    """The account that ``document`` describes, under the id ``account``. ``password`` in it is the password itself;
    when it names no password in any way, ``kept`` is used. Blocks; raises `InvalidValues` with all that is wrong."""
    found: list[tuple[Location, str]] = []
    data = {name: value for name, value in document.items() if name != PASSWORD}
    if data.setdefault("id", account) != account:
        found.append((("id",), f"the path says {account!r}"))
    given = _given_password(document, found)
    found += _loose_paths(data)
    config: AccountConfig | None = None
    try:
        config = AccountConfig.model_validate(data)
    except ValidationError as error:
        found += findings_of(error, AccountConfig, {(): (PASSWORD,)})

    def secret(name: str, read: Callable[[str], Secret]) -> Secret | None:
        value = data.get(name)
        if not isinstance(value, str) or any(at == (name,) for at, _ in found):
            return None
        try:
            return read(value)
        except BadSecret as error:
            found.append(((name,), error.detail))
            return None

    passwords = (
        given,
        secret("password_file", lambda path: read_secret_file(Path(path))),
        secret("credential", lambda name: read_credential(name, environ)),
    )
    proxy_credential = secret("http_proxy_credential_file", lambda path: read_secret_file(Path(path)))
    if found or config is None:
        raise InvalidValues([(_pointer(at), message) for at, message in found])
    named = PASSWORD in document or config.password_file is not None or config.credential is not None
    password = next((value for value in passwords if value is not None), None) if named else kept
    return AccountSettings(config=config, password=password, proxy_credential=proxy_credential)


def _given_password(document: Mapping[str, Any], found: list[tuple[Location, str]]) -> Secret | None:
    value = document.get(PASSWORD)
    if value is None:
        return None
    if document.get("password_file") is not None or document.get("credential") is not None:
        found.append(((PASSWORD,), "password, password_file and credential: give one of the three"))
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PASSWORD or any(ord(char) < 32 for char in value):
        found.append(((PASSWORD,), f"a password is one line of at most {MAX_PASSWORD} characters"))
        return None
    return Secret(value.encode())


def _loose_paths(data: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    for at in _PATHS:
        value: Any = data
        for part in at:
            value = value.get(str(part)) if isinstance(value, Mapping) else None
        if isinstance(value, str) and not Path(value).is_absolute():
            yield at, "give an absolute path"


def _proxy_credential(config: AccountConfig) -> Secret | None:
    path = config.http_proxy_credential_file
    return read_secret_file(path) if path is not None else None


def _pointer(at: Location) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in at)
