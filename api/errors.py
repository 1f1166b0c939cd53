"""Errors on the wire: `application/problem+json` (RFC 9457). This module alone knows which error is which status."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phoned import errors
from phoned.config.report import ConfigError
from phoned.plain import plain

MEDIA_TYPE = "application/problem+json"

CATALOGUE: Mapping[str, tuple[int, str, str]] = {
    "bad_request": (400, "Malformed request", "The bytes received are no HTTP request that this server understands."),
    "token_in_url": (400, "Token in the URL", "URLs end up in logs. Send 'Authorization: Bearer TOKEN' instead."),
    "unauthorized": (
        401,
        "No valid token",
        "Send 'Authorization: Bearer TOKEN'; 'phoned token' makes one. On the unix socket the daemon's own user and"
        " root need none.",
    ),
    "host_not_allowed": (
        403,
        "Host not allowed",
        "The Host header must name this machine (localhost, 127.0.0.1 or [::1], with the port) or a name listed in"
        " [api] allowed_hosts. This keeps web pages from reaching the phone by DNS rebinding.",
    ),
    "origin_not_allowed": (
        403,
        "Origin not allowed",
        "A web page of another origin tried to use the phone. List the origin in [api] allowed_origins if it may.",
    ),
    "insufficient_scope": (403, "Scope too small", "This needs a token of a larger scope: 'phoned token --scope ...'."),
    "denied": (403, "Refused by policy", "A rule of the configuration forbids this."),
    "destination_denied": (
        403,
        "Destination not allowed",
        "The dial rules ([dial] allow, deny, caps) forbid this call.",
    ),
    "emergency_disabled": (
        403,
        "Emergency numbers are blocked",
        "phoned is no telephone service for emergencies and blocks these numbers unless [dial] emergency = 'allow'.",
    ),
    "address_not_allowed": (
        403,
        "Address not allowed",
        "A URL given over the API reaches public addresses over https; others need to be listed in [network]"
        " allow_private. What the configuration file names is not held to this.",
    ),
    "stream_url_not_allowed": (
        403,
        "Bot not allowed",
        "Without the scope admin only bots that [api] stream_urls lists are dialled.",
    ),
    "not_found": (404, "Not found", "There is no such thing, or no longer."),
    "method_not_allowed": (405, "Method not allowed", "The Allow header lists the methods that this path has."),
    "request_timeout": (408, "Request too slow", "The head of a request has 10 s to arrive, its body 30 s."),
    "wrong_state": (
        409,
        "Wrong state",
        "The thing is not in a state for this verb; 'allowed_in' lists those that are.",
    ),
    "gone": (410, "The call has ended", "Its record stays readable; its verbs are over."),
    "body_too_large": (413, "Body too large", "A body may have 64 KiB."),
    "target_too_long": (414, "URL too long", "Path and query together may have 2 KiB."),
    "unsupported_media_type": (415, "Not JSON", "Writes need 'Content-Type: application/json'."),
    "bad_configuration": (
        422,
        "The configuration is wrong",
        "'errors' has every mistake with file and line. Nothing was changed; 'phoned check-config' shows the same.",
    ),
    "invalid_value": (422, "Invalid value", "'errors' says which member is wrong and why."),
    "unknown_device": (
        422,
        "No such sound device",
        "The machine has no device of this name now. GET /v1/devices lists those that it has.",
    ),
    "usage": (422, "Impossible request", "The request cannot be right, whatever the state of the phone."),
    "invalid_json": (422, "Invalid JSON", "The body must be JSON in UTF-8, nested at most 16 deep, without NaN."),
    "idempotency_mismatch": (
        422,
        "Key used for another request",
        "This Idempotency-Key (or call id) was used with another body in the last 24 hours.",
    ),
    "too_many_failures": (
        429,
        "Too many wrong tokens",
        "More than 5 wrong tokens within a minute came from this peer.",
    ),
    "rate_limited": (429, "Too many requests", "[api] rate_per_s limits the requests of one client."),
    "headers_too_large": (431, "Headers too large", "The head of a request may have 16 KiB and 64 headers."),
    "upgrade_required": (426, "A WebSocket lives here", "Ask for an upgrade, or read /v1/events over HTTP."),
    "internal": (500, "Internal error", "A fault of phoned. The log has a line with this request_id."),
    "not_implemented": (501, "Not built yet", "The contract names it; this version does not have it."),
    "remote": (502, "Failed at the far end", "The far end, or a server between, broke the protocol."),
    "refused": (502, "Refused by the far end", "'sip' has the status and the reason that the far end gave."),
    "fetch_failed": (
        502,
        "Nothing came of the URL",
        "The server of this URL is not there, or its answer is none that can be used; redirects are not followed.",
    ),
    "malformed_message": (502, "The far end sent nonsense", "A SIP message that cannot be understood."),
    "bad_description": (502, "No common media", "The far end's session description cannot be used."),
    "unavailable": (503, "Not now", "Trying later may work; Retry-After is a hint."),
    "sound_unavailable": (
        503,
        "No sound",
        "No sound device is configured, there, or willing to be opened. 'detail' says which and what to do;"
        " 'phoned doctor' looks closer.",
    ),
    "not_registered": (
        503,
        "Not registered",
        "The account has no registered flow now. See /v1/accounts for the cause.",
    ),
    "at_capacity": (503, "At capacity", "A configured cap is reached."),
    "disk_full": (
        507,
        "No room on the disk",
        "Recordings leave [media] recordings_min_free_mb free. Delete some.",
    ),
    "draining": (503, "Draining", "The phone takes no new work: it is about to stop."),
    "not_ready": (503, "Not ready", "No account is online, or the phone is draining."),
    "too_many_connections": (503, "Too many connections", "The control API serves 64 connections at once."),
    "deadline_exceeded": (504, "No answer in time", "The far end did not answer within the time asked for."),
}
"""Slug: status, title, what the page /problems/<slug> says."""

_BY_CLASS: tuple[tuple[type[errors.PhonedError], int], ...] = (
    (errors.InvalidValue, 422),
    (errors.NotFound, 404),
    (errors.WrongState, 409),
    (errors.Gone, 410),
    (errors.Denied, 403),
    (errors.UsageError, 422),
    (errors.RemoteError, 502),
    (errors.NotImplementedYet, 501),
    (errors.DiskFull, 507),
    (errors.DeadlineExceeded, 504),
    (errors.UnavailableError, 503),
)
_RETRY_AFTER_S = {"draining": 30.0, "at_capacity": 5.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem document, before it knows which request it answers. ``extra`` members are those of `api.md`."""

    status: int
    code: str
    title: str
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()

    def body(self, *, instance: str, request_id: str) -> bytes:
        """The document."""
        document: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
        }
        document.update(plain(self.extra))
        return json.dumps(document, allow_nan=False).encode()


class ProblemError(Exception):
    """Raised by a route or a check of this package; answered as its ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def problem(
    code: str, detail: str = "", *, retry_after_s: float | None = None, allow: tuple[str, ...] = (), **extra: Any
) -> Problem:
    """A problem of the `CATALOGUE`."""
    status, title, explanation = CATALOGUE[code]
    headers: list[tuple[str, str]] = []
    if retry_after_s is not None:
        extra["retry_after_s"] = retry_after_s
        headers.append(("Retry-After", str(max(1, math.ceil(retry_after_s)))))
    if status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="phoned"'))
    if allow:
        headers.append(("Allow", ", ".join(allow)))
    return Problem(
        status=status, code=code, title=title, detail=detail or explanation, extra=extra, headers=tuple(headers)
    )


def from_error(error: errors.PhonedError) -> Problem:
    """What an error of phoned is on the wire."""
    status = next((status for kind, status in _BY_CLASS if isinstance(error, kind)), 500)
    if status == 500:
        return problem("internal")  # its words are for the log, not for the caller
    _, title, explanation = CATALOGUE.get(error.code, CATALOGUE[_fallback(status)])
    extra: dict[str, Any] = {}
    headers: list[tuple[str, str]] = []
    match error:
        case errors.InvalidValues():
            extra["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in error.found]
        case ConfigError():
            extra["errors"] = [{"pointer": _of_key(each.key), "detail": str(each)} for each in error.problems]
        case errors.InvalidValue():
            extra["errors"] = [{"pointer": error.pointer, "detail": error.detail}]
        case errors.WrongState():
            extra |= {"state": error.state, "allowed_in": list(error.allowed_in)}
        case errors.Refused():
            extra["sip"] = {"code": error.status, "reason": error.reason}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is None and status == 503:
        retry_after_s = _RETRY_AFTER_S.get(error.code, 2.0)
    if retry_after_s is not None and status != 501:
        extra["retry_after_s"] = retry_after_s
        headers.append(("Retry-After", str(max(1, math.ceil(retry_after_s)))))
    return Problem(
        status=status,
        code=error.code,
        title=title,
        detail=error.detail or explanation,
        extra=extra,
        headers=tuple(headers),
    )


def _of_key(key: str) -> str:
    """RFC 6901 of ``accounts[0].recovery.keepalive_s``, into the merged configuration."""
    return "".join(f"/{step}" for step in re.split(r"[.\[\]]+", key) if step)


def _fallback(status: int) -> str:
    return {403: "denied", 422: "usage", 502: "remote"}.get(status, "unavailable")


def from_validation(found: list[Mapping[str, Any]]) -> Problem:
    """FastAPI's findings as ours. Pointers are RFC 6901 into the body; ``/query/...``, ``/header/...`` outside it."""
    listed = [
        {"pointer": pointer(tuple(item.get("loc", ()))), "detail": str(item.get("msg", "invalid"))}
        for item in found[:20]
    ]
    first = listed[0] if listed else {"pointer": "", "detail": "invalid"}
    where = f"{first['pointer']}: " if first["pointer"] else ""
    return problem("invalid_value", f"{where}{first['detail']}", errors=listed)


def pointer(place: tuple[str | int, ...]) -> str:
    """RFC 6901 for a place that pydantic names."""
    steps = place[1:] if place[:1] == ("body",) else place
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def page(slug: str) -> str:
    """The text of /problems/<slug>. Raises `NotFound`."""
    if slug not in CATALOGUE:
        raise errors.NotFound(f"no problem page {slug!r}")
    status, title, explanation = CATALOGUE[slug]
    return f"{slug} (HTTP {status})\n{title}\n\n{explanation}\n"
