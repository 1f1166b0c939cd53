"""The tables ``[[webhooks]]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, RootModel, model_validator

from phoned.config.secrets import BadSecret, read_secret_file
from phoned.config.types import PositiveSeconds, Seconds, SecretFile, Table
from phoned.errors import InvalidValue
from phoned.services.webhooks.schedule import TABLE_S
from phoned.services.webhooks.signing import Signer
from phoned.services.webhooks.values import check_events
from phoned.urls import read_url
from phoned.web import SCHEMES


def _url(url: str) -> str:
    try:
        read_url(url, SCHEMES)
    except InvalidValue as error:
        raise ValueError(error.detail) from None
    return url


def _events(events: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_events(events)
    except InvalidValue as error:
        raise ValueError(error.detail) from None


def _secret(path: Path) -> Path:
    try:
        Signer(read_secret_file(path))
    except BadSecret:
        pass  # the loader says what is wrong with the file
    except InvalidValue as error:
        raise ValueError(f"{path}: {error.detail}") from None
    return path


class WebhookConfig(Table):
    """One of ``[[webhooks]]``."""

    url: Annotated[str, AfterValidator(_url)]
    events: Annotated[tuple[str, ...], AfterValidator(_events)] = ("*",)
    secret_file: Annotated[SecretFile, AfterValidator(_secret)]
    """``whsec_...``; more than one, each on a line of its own, while one is being replaced."""
    timeout_s: Annotated[PositiveSeconds, Field(le=60)] = 15
    """For one attempt."""
    decide_s: Annotated[PositiveSeconds, Field(le=60)] = 5
    """How long the answer to the first attempt of ``call.incoming`` may decide about the call."""
    retry_s: Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=32)] = TABLE_S
    """How long to wait before each attempt."""
    disable_after_s: PositiveSeconds = 432_000
    """A webhook that only failed for so long is disabled."""


class WebhooksConfig(RootModel[tuple[WebhookConfig, ...]]):
    """All of them."""

    root: tuple[WebhookConfig, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        urls = [webhook.url for webhook in self.root]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is named twice: put its events together")
        return self
