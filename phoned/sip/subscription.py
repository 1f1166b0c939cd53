"""An account's subscription to its own mailbox (RFC 3842, RFC 6665): SUBSCRIBE, its refreshes, and the NOTIFYs.

It is renewed over every new flow, after the calls have been repaired there. Whatever the server makes of it changes
nothing for calls.
"""

from __future__ import annotations

from phoned.errors import AtCapacity, InvalidValue, MalformedMessage
from phoned.sip.accessors import call_id, cseq, expires, from_, min_expires, retry_after, subscription_state, to
from phoned.sip.accessors import event as event_of
from phoned.sip.core import AccountCore, Core
from phoned.sip.dialog import Dialog
from phoned.sip.events import Event, FlowId, MessagesWaiting
from phoned.sip.message import Request, Response
from phoned.sip.message_summary import CONTENT_TYPE, PACKAGE, summary_of
from phoned.sip.options import lenient, respond_to
from phoned.sip.transaction import ResponseReceived, TimedOut, TransactionEvent, TransactionKey, TransportFailed

EXPIRES_S = 3600
SHORTEST_S, LONGEST_S = 60, 86_400
AGAIN_S = 300.0
"""After a failure that may pass."""
MAX_TRIES = 3
"""Challenges and too short intervals in a row."""
_MAY_PASS = frozenset({408, 480, 500, 502, 503, 504})


class Subscription:
    """One account's. Driven by the user agent: `on_registered`, `stop`, `tick`, NOTIFYs, and its transactions."""

    def __init__(self, *, core: Core, account: AccountCore) -> None:
        self._core = core
        self._account = account
        self._dialog: Dialog | None = None
        self._wanted = False
        self._flow: FlowId | None = None
        """The one that it was renewed over."""
        self._request: Request | None = None
        self._key: TransactionKey | None = None
        self._tries = 0
        self._expires_s = EXPIRES_S
        self.at: float | None = None
        """When it wants its tick."""

    # --- out

    def on_registered(self, flow: FlowId, now: float) -> None:
        """The account is registered: on a flow that is new, the server must learn of it."""
        if flow != self._flow:
            self._flow = flow
            self.renew(now)

    def renew(self, now: float) -> None:
        """Subscribe, or refresh, over the account's flow."""
        self._wanted = True
        self._tries, self.at = 0, None
        self._say(self._expires_s, now)

    def stop(self, now: float) -> None:
        """No more news are wanted; the server is told."""
        if self._wanted and self._dialog is not None:
            self._say(0, now)
        self._wanted, self._dialog, self._flow, self.at = False, None, None, None

    def tick(self, now: float) -> None:
        """The refresh is due, or the next try."""
        self.renew(now)

    def _say(self, expires_s: int, now: float) -> None:
        account = self._account
        if account.flow is None:
            return  # the next flow renews it
        fields = [
            ("Event", PACKAGE),
            ("Expires", str(expires_s)),
            ("Accept", CONTENT_TYPE),
            ("Contact", account.contact),
            *account.agent,
        ]
        if self._dialog is not None:
            request = self._dialog.request("SUBSCRIBE")
            for name, value in fields:
                request.headers.add(name, value)
        else:
            token = self._core.random.token
            target = str(account.aor.uri)
            request = account.request("SUBSCRIBE", target, call_id=token(), tag=token(), number=1, headers=fields)
        self._send(request, now)

    def _send(self, request: Request, now: float) -> None:
        assert self._account.flow is not None
        self._request = request
        try:
            self._key = self._core.layer.send_request(request, self._account.flow, now, self)
        except (AtCapacity, InvalidValue):
            self._key = None
            self._later(AGAIN_S, now)

    def _later(self, seconds: float, now: float) -> None:
        self.at = now + seconds if self._wanted else None

    # --- its transactions

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Event]:
        """The outcome of the newest SUBSCRIBE; older ones mean nothing any more."""
        match event:
            case ResponseReceived(key=key, response=response) if key == self._key and response.status >= 200:
                self._on_response(response, now)
            case TimedOut(key=key) | TransportFailed(key=key) if key == self._key:
                self._later(AGAIN_S, now)
            case _:
                pass
        return []

    def _on_response(self, response: Response, now: float) -> None:
        request, status = self._request, response.status
        assert request is not None
        if not self._wanted:
            return
        if status < 300:
            if self._dialog is None:
                self._dialog = Dialog.uac(request, response)
            else:
                self._dialog.refresh_target(response)
            granted = lenient(expires, response) or self._expires_s
            self._tries = 0
            self._later(0.75 * min(max(granted, SHORTEST_S), LONGEST_S), now)
        elif self._tries < MAX_TRIES and self._again(request, response, now):
            self._tries += 1
        elif status in (481, 404) and self._dialog is not None:
            self._dialog = None  # it was forgotten there: a new one
            self._say(self._expires_s, now)
        elif status in _MAY_PASS:
            after = lenient(retry_after, response)
            self._later(min(max(after or 0, AGAIN_S), LONGEST_S), now)
        # else: this server has no mailboxes; the next flow may lead to one that has

    def _again(self, request: Request, response: Response, now: float) -> bool:
        """Say it once more as the server wants it."""
        again = None
        if response.status in (401, 407):
            again = self._account.authorize(request, response, in_dialog=False)
        elif response.status == 423 and (floor := lenient(min_expires, response)) is not None and floor <= LONGEST_S:
            self._expires_s = max(self._expires_s, floor)
            self._say(self._expires_s, now)
            return True
        if again is None:
            return False
        if self._dialog is not None:
            self._dialog.local_cseq = cseq(again).number
        self._send(again, now)
        return True

    # --- news

    def means(self, request: Request) -> bool:
        """Whether a NOTIFY belongs here: to the dialog, or to the SUBSCRIBE whose answer it overtook."""
        sent = self._request
        if not self._wanted or sent is None:
            return False
        return call_id(request) == call_id(sent) and to(request).tag == from_(sent).tag

    def on_notify(self, key: TransactionKey, request: Request, now: float) -> list[Event]:
        """News of the mailbox, or the end of the subscription."""
        if self._dialog is None:
            assert self._request is not None
            self._dialog = Dialog.uas(request, from_(self._request).tag or "")
            self._dialog.local_cseq = cseq(self._request).number
        elif not self._dialog.in_order(request):
            self._core.layer.respond(key, respond_to(request, 500), now)
            return []
        events, response = news(self._account, request)
        self._core.layer.respond(key, response, now)
        state = lenient(subscription_state, request)
        if state is not None and state.token == "terminated":
            self._dialog = None
            reason = state.parameters.get("reason") or ""
            if reason in ("rejected", "noresource", "invariant"):
                self.at = None
            else:
                self._later(1.0 if reason in ("deactivated", "timeout") else AGAIN_S, now)
        return events


def is_news(request: Request) -> bool:
    """Whether a NOTIFY is about a mailbox."""
    package = event_of(request)
    return package is not None and package.token == PACKAGE


def news(account: AccountCore, request: Request) -> tuple[list[Event], Response]:
    """What a NOTIFY says of the account's mailbox, and its answer. Also for one that nobody subscribed to: many servers
    send it to every phone that registers. Raises MalformedMessage."""
    if not is_news(request):
        return [], respond_to(request, 489, headers=[("Allow-Events", PACKAGE)])
    if not request.body:
        return [], respond_to(request, 200)  # a subscription that has no state yet
    try:
        summary = summary_of(request.body)
    except MalformedMessage:
        return [], respond_to(request, 400)
    return [MessagesWaiting(account=account.id, summary=summary)], respond_to(request, 200)
