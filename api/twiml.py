"""The one sentence of TwiML that is understood: ``<Response><Connect><Stream url><Parameter/>...``. Pure.

Other verbs are passed over, as Twilio's compatibles do, and named to whoever asks; a document without a stream says
nothing that could be done here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from api.facade import refused

MAX_TWIML = 4000
"""Characters: Twilio's own limit."""
_DECLARATION = re.compile(r"<!\s*(?!--|\[CDATA\[)")
"""A document type or an entity: nothing that TwiML needs, and the way to everything that is wrong with XML."""
BAD_DOCUMENT = 12100
"""Twilio's number for TwiML that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwimlStream:
    """Where the call's sound shall go. ``passed_over``: the verbs that were not understood."""

    url: str
    parameters: Mapping[str, str]
    passed_over: tuple[str, ...] = ()


def read_twiml(text: str) -> TwimlStream:
    """The first stream of a document. Raises `ProblemError` for what is none, and for one without a stream."""
    if len(text) > MAX_TWIML:
        raise refused(f"'Twiml' is longer than {MAX_TWIML} characters.", BAD_DOCUMENT)
    if _DECLARATION.search(text):
        raise refused("'Twiml' has no document type and no entities.", BAD_DOCUMENT)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise refused(f"'Twiml' is no XML: {error}.", BAD_DOCUMENT) from None
    if root.tag != "Response":
        raise refused("'Twiml' begins with <Response>.", BAD_DOCUMENT)
    found = next((stream for verb in root if verb.tag == "Connect" for stream in verb if stream.tag == "Stream"), None)
    if found is None:
        raise refused("Of TwiML only <Connect><Stream url='wss://...'> is understood here.", BAD_DOCUMENT)
    return TwimlStream(
        url=found.get("url", "").strip(),
        parameters={
            parameter.get("name", ""): parameter.get("value", "")
            for parameter in found
            if parameter.tag == "Parameter" and parameter.get("name")
        },
        passed_over=tuple(sorted({str(verb.tag)[:64] for verb in root if verb.tag != "Connect"})),
    )
