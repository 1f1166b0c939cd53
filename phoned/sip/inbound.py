"""Requests that begin something: what is taken, what is refused, and how many (RFC 3261 8.2, RFC 6665 4.1.3).

It judges, and answers what needs no state. A stranger's flood empties a bucket that dialogs never touch.
"""

from __future__ import annotations

from phoned.sip.accessors import from_
from phoned.sip.account import Limits
from phoned.sip.core import AccountCore, Core
from phoned.sip.events import Event, FlowId, MessageReceived
from phoned.sip.message import Request, Response
from phoned.sip.message_summary import PACKAGE
from phoned.sip.options import ALLOW, SDP, SUPPORTED, respond_to
from phoned.sip.subscription import is_news, news
from phoned.sip.transaction import TransactionKey
from phoned.sip.uri import Uri

BUSY_S = 5
"""Retry-After of a refusal for want of room."""
_NEEDS_DIALOG = frozenset({"BYE", "PRACK", "UPDATE", "INFO"})


class TokenBucket:
    """So many at once, so many a second. Driven by whoever asks `take`."""

    def __init__(self, limits: Limits) -> None:
        self._rate = limits.new_requests_per_s
        self._burst = float(limits.new_requests_burst)
        self._level = self._burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more may be let in now."""
        if self._at is not None:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


def refusal(request: Request, account: AccountCore, flow: FlowId) -> Response | None:
    """Why a request outside dialogs is not taken; None when it is for this account and of a kind
    that is taken there."""
    uri = Uri.parse(request.uri)
    if uri.scheme not in ("sip", "sips", "tel"):
        return respond_to(request, 416)
    if request.method in _NEEDS_DIALOG:
        return respond_to(request, 481)
    if request.method == "REFER":
        return respond_to(request, 403)
    if request.method == "NOTIFY" and not is_news(request):
        return respond_to(request, 489, headers=[("Allow-Events", PACKAGE)])
    if request.method == "OPTIONS" and (not uri.is_sip or uri.user is None):
        return None  # a proxy's ping
    if not account.owns(request.uri):
        return respond_to(request, 404)
    if request.method != "OPTIONS" and flow not in account.trusted:
        return respond_to(request, 403)
    return None


def no_room(request: Request) -> Response:
    """Too much at once: 486 keeps a proxy from giving us up as a whole, as a 503 would."""
    return respond_to(request, 486 if request.method == "INVITE" else 503, headers=[("Retry-After", str(BUSY_S))])


def answer(core: Core, account: AccountCore, key: TransactionKey, request: Request, now: float) -> list[Event]:
    """Answer OPTIONS, MESSAGE, and news that nobody subscribed to."""
    tag = core.random.token()
    if request.method == "OPTIONS":
        headers = [("Allow", ALLOW), ("Accept", SDP), ("Supported", ", ".join(SUPPORTED)), *account.agent]
        core.layer.respond(key, respond_to(request, 200, tag=tag, headers=headers), now)
        return []
    if request.method == "NOTIFY":
        events, response = news(account, request)
        core.layer.respond(key, response, now)
        return events
    far = from_(request)
    core.layer.respond(key, respond_to(request, 200, tag=tag), now)
    return [
        MessageReceived(
            account=account.id,
            session=None,
            from_uri=str(far.uri),
            from_display_name=far.display_name or None,
            content_type=request.headers.get("Content-Type") or "",
            body=request.body,
            headers=tuple(request.headers),
        )
    ]
