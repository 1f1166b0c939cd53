"""What waits in a mailbox, as a NOTIFY tells it (RFC 3842 5.2). Pure: bytes to values."""

from __future__ import annotations

from dataclasses import dataclass

from phoned.errors import MalformedMessage
from phoned.sip.grammar import parse_uint

PACKAGE = "message-summary"
CONTENT_TYPE = "application/simple-message-summary"
MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSummary:
    """``waiting`` is what the server says; the counts are those of its voice messages, None when it gives none."""

    waiting: bool
    mailbox: str | None = None
    new: int | None = None
    old: int | None = None
    new_urgent: int | None = None
    old_urgent: int | None = None


def summary_of(body: bytes) -> MessageSummary:
    """Read a body. What is said of other kinds of messages is passed over. Raises MalformedMessage."""
    fields: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    waiting = fields.get("messages-waiting", "").lower()
    if waiting not in ("yes", "no"):
        raise MalformedMessage("Messages-Waiting is neither yes nor no")
    counts = _counts(fields.get("voice-message", ""))
    return MessageSummary(
        waiting=waiting == "yes",
        mailbox=fields.get("message-account") or None,
        new=counts[0],
        old=counts[1],
        new_urgent=counts[2],
        old_urgent=counts[3],
    )


def _counts(text: str) -> tuple[int | None, int | None, int | None, int | None]:
    """``2/8 (0/2)``: new and old, and how many of them are urgent."""
    if not text:
        return None, None, None, None
    plain, _, urgent = text.partition("(")
    new, old = _pair(plain)
    new_urgent, old_urgent = _pair(urgent.rstrip(") \t")) if urgent else (None, None)
    return new, old, new_urgent, old_urgent


def _pair(text: str) -> tuple[int, int]:
    new, _, old = text.partition("/")
    return _count(new), _count(old)


def _count(text: str) -> int:
    return min(parse_uint(text.strip(), "message count"), MAX_COUNT)
