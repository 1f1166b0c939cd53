"""The table ``[api]``: where the control API listens and whom it lets in."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from api.bots import pattern

LOOPBACK = ("127.0.0.1", "::1")


class ApiConfig(BaseModel):
    """Defaults are the safe ones. ``socket`` is relative to the runtime directory; ``port`` 0 is off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Annotated[str, Field(min_length=1, max_length=200)] = "api.sock"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8760
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    rate_per_s: Annotated[float, Field(gt=0, le=10_000)] = 50
    stream_urls: tuple[Annotated[str, AfterValidator(pattern)], ...] = ()
    """Bots that the scope ``media`` may have dialled."""

    @field_validator("host")
    @classmethod
    def _loopback_only(cls, host: str) -> str:
        if host not in LOOPBACK:
            raise ValueError(
                f"the control API listens on {' or '.join(LOOPBACK)} only;"
                " put a TLS reverse proxy in front of it and name it in allowed_hosts"
            )
        return host

    @field_validator("allowed_hosts")
    @classmethod
    def _plain_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or "/" in host or "*" in host or host != host.strip():
                raise ValueError(
                    f"{host!r} is no host name; write it as the Host header has it, e.g. phone.example.org"
                )
        return tuple(host.lower() for host in hosts)

    @field_validator("allowed_origins")
    @classmethod
    def _plain_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"{origin!r} is no origin; write scheme://host[:port], e.g. https://phone.example.org")
        return tuple(origin.lower() for origin in origins)
