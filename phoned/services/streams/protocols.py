"""The bot protocols by name."""

from __future__ import annotations

from typing import Literal

from phoned.errors import InvalidValue
from phoned.services.streams.l16 import L16Protocol
from phoned.services.streams.protocol import StreamProtocol
from phoned.services.streams.twilio import RATE, TwilioProtocol

ProtocolName = Literal["twilio", "l16"]


def new_protocol(
    name: ProtocolName, *, sample_rate: int = 8000, tracks: Literal["inbound", "both"] = "inbound"
) -> StreamProtocol:
    """A translator for one connection. Raises `InvalidValue` for what the protocol cannot say."""
    if name == "twilio":
        if sample_rate != RATE:
            raise InvalidValue(f"twilio has {RATE} Hz alone; l16 has more", pointer="/sample_rate")
        return TwilioProtocol()
    if tracks != "inbound":
        raise InvalidValue("l16 has no word for which track it is; twilio has", pointer="/tracks")
    return L16Protocol(sample_rate)
