"""``[[accounts]]``: one SIP account each, with its recovery policy and the TLS policy of its proxies.

Recovery defaults come from the account's profile (`profiles`), and single values override. Design: the recovery
page's table; the numbers here are the profile ``default``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from phoned.config.profiles import PROFILES, ProfileName
from phoned.config.types import Count, Flag, FromFile, PositiveSeconds, Seconds, SecretFile, Table

_AOR = re.compile(r"sips?:[^@\s<>\"]+@[^@\s<>\";?]+", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _account_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("letters, digits, '.', '_' and '-' only, at most 64")
    return value


def _aor(value: str) -> str:
    if not _AOR.fullmatch(value):
        raise ValueError('not an address of record: write it like "sip:alice@example.org"')
    return value


def _web_socket_url(value: str) -> str:
    return _url(value, ("ws", "wss"), "wss://edge.example.org/ws")


def _http_url(value: str) -> str:
    return _url(value, ("http",), "http://proxy.example.org:3128")


def _url(value: str, schemes: tuple[str, ...], example: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if parts.scheme.lower() not in schemes or not parts.hostname or port == 0 or not value.isascii():
        raise ValueError(f'not a {" or ".join(schemes)} URL: write it like "{example}"')
    if "@" in parts.netloc:
        raise ValueError("no user and password in a URL: they would be logged")
    if parts.fragment or any(character.isspace() for character in value):
        raise ValueError("no fragment and no blanks in this URL")
    return value


def _pin(value: str) -> str:
    """Hex or base64 of 32 bytes; kept as lower-case hex."""
    text = value.removeprefix("sha256/").removeprefix("sha256//")
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            raw = b""
    if len(raw) != 32:
        raise ValueError("not a SHA-256: 64 hex digits or 44 base64 characters of the key's SubjectPublicKeyInfo")
    return raw.hex()


AccountId = Annotated[str, AfterValidator(_account_id)]
AddressOfRecord = Annotated[str, AfterValidator(_aor)]
WebSocketUrl = Annotated[str, AfterValidator(_web_socket_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Pin = Annotated[str, AfterValidator(_pin)]


class RecoveryConfig(Table):
    """``[accounts.recovery]``: when to refresh, ping, retry, fail over and give up."""

    connect: Literal["always", "on_demand"] = "always"
    register_expires_s: PositiveSeconds = 120
    """The expiry that is asked for."""
    keepalive_s: PositiveSeconds = 60
    """A REGISTER every min(this, half the granted expiry)."""
    refresh_before_expiry_s: PositiveSeconds | None = None
    """Instead of ``keepalive_s``: a REGISTER that long before the granted expiry."""
    keepalive_timeout_s: PositiveSeconds = 5
    """No answer to a REGISTER: the flow is aborted."""
    first_retry_s: Seconds = 0
    """With ``backoff = "uniform"`` the first delay too is drawn, from this to ``backoff_cap_s``."""
    backoff: Literal["exponential", "fixed", "uniform"] = "exponential"
    backoff_base_s: PositiveSeconds = 1
    backoff_cap_s: PositiveSeconds = 60
    backoff_jitter: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] = 0.5
    """Each delay is drawn uniformly from (1 - this) to 1 times its value. Not used by ``uniform``."""
    backoff_in_call: Literal["fast", "same"] = "fast"
    """``fast``: 0, 0.25, 0.5, then 1 s while a call is up."""
    max_attempts: Count = 0
    """0: no limit."""
    attempt_deadline_s: PositiveSeconds = 5
    """DNS, TCP, TLS, upgrade and REGISTER together."""
    ping_idle_s: Seconds = 15
    """Period of WebSocket pings without a call; 0: none."""
    ping_call_s: Seconds = 2
    """The same with a call up."""
    ping_timeout_s: PositiveSeconds | None = None
    """How long a ping may be unanswered before it is missed; None: four measured round trips, at least one second."""
    ping_misses: Annotated[int, Field(strict=True, ge=1, le=1000)] = 2
    failover: Literal["auto", "manual"] = "auto"
    failback_s: Seconds = 300
    call_sticky_s: Seconds = 10
    force_media_reconnect: Literal["auto", "always", "never"] = "auto"
    on_media_failed: Literal["keep", "hangup", "redial"] = "keep"
    rtp_timeout_s: Seconds = 60
    rtp_timeout_held_s: Seconds = 300
    signalling_retention_s: Seconds = 300
    ice_disconnected_grace_s: Seconds = 2
    inbound_stall_s: Seconds = 0
    """0: adaptive, from packet time, jitter and round trip."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.backoff_cap_s < self.backoff_base_s:
            raise ValueError("backoff_cap_s is below backoff_base_s")
        return self


class TlsConfig(Table):
    """``[accounts.tls]``."""

    ca_file: FromFile | None = None
    pin_sha256: tuple[Pin, ...] = ()
    insecure_skip_verify: Flag = False


class AccountConfig(Table):
    """``[[accounts]]``."""

    id: AccountId
    aor: AddressOfRecord
    auth_username: str = ""
    """Empty: the user part of ``aor``."""
    password_file: SecretFile | None = None
    credential: str | None = None
    """Name of a systemd credential, instead of ``password_file``."""
    outbound_proxy: WebSocketUrl
    outbound_proxy_backup: WebSocketUrl | None = None
    http_proxy: HttpUrl | None = None
    """Asked to CONNECT. The environment's proxies are never used."""
    http_proxy_credential_file: SecretFile | None = None
    """Holds ``user:password``."""
    profile: ProfileName = "default"
    in_dialog_auth: Literal["407", "both", "never"] = "407"
    contact_host: Literal["invalid", "local_ip"] = "invalid"
    mailbox: Flag = False
    """Ask the server for news of our mailbox (message waiting, RFC 3842)."""
    inband_dtmf: Flag = False
    """Listen for keys as tones in the sound too, for gateways that send them in no other way."""
    sample_rate: Literal[8000, 16000, 48000] = 16000
    """Of the sound of its calls inside phoned, in Hz: 48000 carries music, 8000 is enough where all is G.711."""
    recovery: RecoveryConfig = RecoveryConfig()
    tls: TlsConfig = TlsConfig()

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, data: Any) -> Any:
        """The profile's values under the given ones."""
        if not isinstance(data, dict):
            return data
        given = data.get("recovery", {})
        defaults = PROFILES.get(data.get("profile", "default"))
        if defaults is None or not isinstance(given, dict):
            return data  # reported by the field itself
        return {**data, "recovery": {**defaults, **given}}

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and self.credential is not None:
            raise ValueError("password_file and credential: give one of the two")
        if self.http_proxy_credential_file is not None and self.http_proxy is None:
            raise ValueError("http_proxy_credential_file needs http_proxy")
        return self

    @property
    def username(self) -> str:
        """The name that digest authentication uses."""
        return self.auth_username or self.aor.partition(":")[2].rpartition("@")[0]
