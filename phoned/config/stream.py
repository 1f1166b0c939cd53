"""How a bot on a call is asked for, the same in the configuration, over the API and in a webhook's answer."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from phoned.errors import InvalidValue
from phoned.model import OnClose, StreamProtocolName, StreamRequest, StreamTracks, WhileAway
from phoned.urls import read_url

SCHEMES = ("ws", "wss")
TWILIO_RATE = 8000
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e]{0,2048}", re.ASCII)
_OURS = re.compile(
    r"(?i:host|connection|upgrade|te|trailer|transfer-encoding|content-length|proxy-.*|sec-websocket-.*|x-twilio-signature)"
)


def _url(url: str) -> str:
    try:
        read_url(url, SCHEMES)
    except InvalidValue as error:
        raise ValueError(error.detail) from None
    return url


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("the name of a header has characters that it cannot have")
        if _OURS.fullmatch(name):
            raise ValueError(f"{name} belongs to the upgrade itself")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} has characters that it cannot have, or too many")
    return headers


StreamUrl = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
SampleRate = Literal[8000, 16000, 24000]
Parameters = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=1024)]],
    Field(max_length=64),
]
Headers = Annotated[dict[str, str], Field(max_length=16), AfterValidator(_headers)]


class StreamOrder(BaseModel):
    """A bot to be dialled, that hears the call and speaks in it. ``twilio`` is Twilio Media Streams (8 kHz), ``l16``
    linear PCM as Vonage has it (inbound alone)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {"url": "wss://bot.example.org/ws"},
                {
                    "url": "wss://bot.example.org/ws",
                    "protocol": "l16",
                    "sample_rate": 16000,
                    "parameters": {"language": "en"},
                    "headers": {"Authorization": "Bearer 0123456789"},
                    "on_close": "reconnect",
                    "while_away": "music",
                },
            ]
        },
    )

    url: StreamUrl
    protocol: StreamProtocolName = "twilio"
    sample_rate: SampleRate = 8000
    tracks: StreamTracks = "inbound"
    parameters: Parameters = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    on_close: OnClose = "hangup"
    while_away: WhileAway = "silence"

    @model_validator(mode="after")
    def _speaks_it(self) -> Self:
        if self.protocol == "twilio" and self.sample_rate != TWILIO_RATE:
            raise ValueError(f"twilio has {TWILIO_RATE} Hz alone; l16 has more")
        if self.protocol == "l16" and self.tracks != "inbound":
            raise ValueError("l16 has no word for which track it is; twilio has")
        return self

    def value(self, **more: Any) -> StreamRequest:
        """What `PhoneControl.stream` takes."""
        return StreamRequest(
            url=self.url,
            protocol=self.protocol,
            sample_rate=self.sample_rate,
            tracks=self.tracks,
            parameters=self.parameters,
            headers=self.headers,
            on_close=self.on_close,
            while_away=self.while_away,
            **more,
        )
