"""Who calls: what From says, or what the server vouches for when From says nothing (RFC 3323, RFC 3325). Pure."""

from __future__ import annotations

from phoned.errors import MalformedMessage
from phoned.model import Peer
from phoned.sip import events as sip
from phoned.sip.uri import Uri

ANONYMOUS_HOST = "anonymous.invalid"


def peer_of(event: sip.IncomingCall) -> Peer:
    """The caller. An anonymous From gives way to P-Asserted-Identity, unless its owner asked for privacy: our server
    vouches for it, as calls come from nobody else."""
    if event.asserted_uri is not None and not event.private and is_anonymous(event.from_uri):
        return _peer(event.asserted_uri, event.asserted_display_name)
    return _peer(event.from_uri, event.from_display_name)


def _peer(uri: str, display_name: str | None) -> Peer:
    try:
        number = Uri.parse(uri).user
    except MalformedMessage:
        number = None
    return Peer(uri=uri, number=number, display_name=display_name)


def is_anonymous(uri: str) -> bool:
    """Whether a From names nobody (RFC 3323 4.1.1.3)."""
    try:
        parsed = Uri.parse(uri)
    except MalformedMessage:
        return False
    return parsed.host.lower() == ANONYMOUS_HOST or (parsed.user or "").lower() == "anonymous"
