"""Twilio's REST API as far as bots use it: whose requests they are, and how its answers look. Pure.

``/2010-04-01/Accounts/{sid}/Calls[/{sid}].json``, forms in and JSON out, Basic authentication with the account of
``[twilio]``, errors as ``{"code","message","more_info","status"}``. Nothing of phoned's own is said there: a program
that was written for Twilio reads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl

from api.errors import Problem, ProblemError, problem
from api.security import Headers, values

PREFIX = "/2010-04-01/"
MAX_FIELDS = 64
FORM = "application/x-www-form-urlencoded"
CHALLENGE = ("WWW-Authenticate", 'Basic realm="phoned"')
AUTHENTICATE = "Authenticate: Basic, with account_sid and the auth token of [twilio]."
NOT_CONFIGURED = "There is no [twilio] in the configuration: give account_sid and auth_token_file."

_CODES: Mapping[int, int] = {
    400: 20001,
    401: 20003,
    403: 20003,
    404: 20404,
    405: 20004,
    429: 20429,
    503: 20503,
}
"""Twilio's own numbers; anything else is 20500, its internal error."""
_DENIED = {"destination_denied": 21215, "emergency_disabled": 21215}
_AS_BAD_REQUEST = (409, 410, 422)
"""What Twilio says with 400."""


def in_facade(path: str) -> bool:
    """Whether the path is the facade's."""
    return path.startswith(PREFIX)


def basic(headers: Headers) -> tuple[bytes, bytes] | None:
    """User and password of ``Authorization: Basic``; None when that is not what is there; two empty ones when it is
    none that can be read."""
    found = values(headers, b"authorization")
    scheme, _, text = found[0].partition(" ") if len(found) == 1 else ("", "", "")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except ValueError:
        return b"", b""
    return (user, password) if colon else (b"", b"")


def check_form_type(method: str, headers: Headers) -> Problem | None:
    """Writes are forms, as Twilio's are."""
    found = values(headers, b"content-type")
    if method in ("GET", "HEAD") or not found:
        return None
    if len(found) == 1 and found[0].partition(";")[0].strip().lower() == FORM:
        return None
    return problem("unsupported_media_type", f"Twilio's writes are forms: 'Content-Type: {FORM}'.")


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; of one that stands twice, the last. Raises `ProblemError` for what is no form."""
    try:
        text = body.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:
        raise refused("The body is no form in UTF-8, or has too many fields.", 20001) from None


def refused(message: str, code: int) -> ProblemError:
    """A request that cannot be carried out, with Twilio's number for that."""
    return ProblemError(problem("invalid_value", message, twilio=code))


def as_twilio(found: Problem) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """A problem as Twilio would say it: status, body, headers."""
    status = 400 if found.status in _AS_BAD_REQUEST else found.status
    code = found.extra.get("twilio") or _DENIED.get(found.code) or _CODES.get(status, 20001 if status < 500 else 20500)
    document = {
        "code": code,
        "message": AUTHENTICATE if found.code == "unauthorized" else found.detail,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    headers = tuple(CHALLENGE if name == CHALLENGE[0] else (name, value) for name, value in found.headers)
    return status, json.dumps(document).encode(), headers
