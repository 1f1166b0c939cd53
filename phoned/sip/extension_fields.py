"""Typed values of header fields that later RFCs added, in the manner of ``fields``.

RAck (RFC 3262), Reason (RFC 3326), Replaces (RFC 3891), Event and its kind (RFC 6665).
"""

from __future__ import annotations

from dataclasses import dataclass

from phoned.errors import MalformedMessage
from phoned.sip.fields import CSeq, check_call_id, tail_parameters
from phoned.sip.grammar import WSP, is_token, parse_uint, quote
from phoned.sip.parameters import NO_PARAMETERS, Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class RAck:
    """RAck of a PRACK (RFC 3262 7.2)."""

    rseq: int
    cseq: CSeq

    @classmethod
    def parse(cls, text: str) -> RAck:
        """``response-num cseq-num method``."""
        number, _, rest = text.replace("\t", " ").partition(" ")
        return cls(rseq=parse_uint(number, "RAck"), cseq=CSeq.parse(rest.lstrip(" ")))

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One Reason value (RFC 3326 2): why a CANCEL or BYE was sent."""

    protocol: str
    """``SIP`` or ``Q.850``, as written."""
    cause: int | None = None
    text: str = ""

    @classmethod
    def parse(cls, value: str) -> Reason:
        """``protocol [;cause=200] [;text="..."]``; a malformed cause counts as none."""
        protocol, semicolon, tail = value.partition(";")
        protocol = protocol.rstrip(WSP)
        if not is_token(protocol):
            raise MalformedMessage("Reason protocol is malformed")
        parameters = tail_parameters(semicolon + tail)
        try:
            cause = parse_uint(parameters.get("cause") or "", "cause")
        except MalformedMessage:
            cause = None
        return cls(protocol=protocol, cause=cause, text=parameters.get("text") or "")

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        text = f";text={quote(self.text)}" if self.text else ""
        return f"{self.protocol}{cause}{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaces:
    """Replaces (RFC 3891 6.1): the dialog that an INVITE takes over, named as the receiver sees it."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """``call-id;to-tag=..;from-tag=..[;early-only]``; both tags must be there."""
        call_id, semicolon, tail = text.partition(";")
        parameters = tail_parameters(semicolon + tail)
        to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
        call_id = check_call_id(call_id.rstrip(WSP))
        if not to_tag or not from_tag:
            raise MalformedMessage("Replaces lacks a tag")
        return cls(call_id=call_id, to_tag=to_tag, from_tag=from_tag, early_only="early-only" in parameters)

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldToken:
    """A token with parameters: Event, Subscription-State, Content-Disposition, Privacy-like fields (RFC 6665 8.2)."""

    token: str
    """In lower case."""
    parameters: Parameters = NO_PARAMETERS

    @classmethod
    def parse(cls, text: str) -> FieldToken:
        """``token[;parameter=value]``."""
        token, semicolon, tail = text.partition(";")
        token = token.rstrip(WSP)
        if not is_token(token):
            raise MalformedMessage("token is malformed")
        return cls(token=token.lower(), parameters=tail_parameters(semicolon + tail))

    def __str__(self) -> str:
        return f"{self.token}{self.parameters}"
