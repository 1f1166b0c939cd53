"""Twilio's names for our things, and its signature: what the media streams and the REST facade have in common. Pure.

A call's SID is ``CA`` and the 32 hex digits of the call id's UUID, a stream's ``MZ`` and those of its id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from phoned.config.types import Secret

_CALL_SID = re.compile(r"CA([0-9a-f]{32})", re.ASCII)


def call_sid(call: str) -> str:
    """``CA…`` of ``call_…``."""
    return "CA" + call.removeprefix("call_")


def call_of_sid(sid: str) -> str | None:
    """``call_…`` of ``CA…``; None for what is no SID of ours."""
    found = _CALL_SID.fullmatch(sid)
    return f"call_{found[1]}" if found else None


def stream_sid(stream: str) -> str:
    """``MZ…`` of ``str_…``."""
    return "MZ" + stream.removeprefix("str_")


def made_up_account_sid(account: str) -> str:
    """For a phone that has no ``[twilio]``: ``AC`` and 32 hex digits, always the same ones for an account's id."""
    return "AC" + hashlib.sha256(account.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """What ``[twilio]`` configures."""

    sid: str
    token: Secret

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Whether these are its credentials. Takes as long for a good guess as for a bad one."""
        known = hmac.compare_digest(user, self.sid.encode())
        return hmac.compare_digest(password, self.token.reveal()) and known

    def signature(self, url: str, form: Iterable[tuple[str, str]] = ()) -> str:
        """``X-Twilio-Signature`` of a request: the base64 of HMAC-SHA1 over its URL and, of a POST, the names and
        values of its form, sorted by name; a pair that stands twice counts once."""
        signed = url + "".join(name + value for name, value in sorted(set(form)))
        return base64.b64encode(hmac.new(self.token.reveal(), signed.encode(), hashlib.sha1).digest()).decode()
