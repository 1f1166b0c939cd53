"""A request of ours outside every dialog: MESSAGE (RFC 3428) and OPTIONS (RFC 3261 11). One object each."""

from __future__ import annotations

from phoned.sip.core import AccountCore, Core
from phoned.sip.events import Event, FlowId, RequestAnswered, Token
from phoned.sip.message import Request
from phoned.sip.transaction import ResponseReceived, TimedOut, TransactionEvent, TransportFailed

MAX_TRIES = 2


class Standalone:
    """Driven by its transaction: sends, answers a challenge, reports the outcome once."""

    def __init__(self, *, token: Token, core: Core, account: AccountCore, flow: FlowId, request: Request) -> None:
        self._token = token
        self._core = core
        self._account = account
        self._flow = flow
        self._request = request
        self._tries = 0

    def start(self, now: float) -> None:
        """Send it. Raises AtCapacity and InvalidValue."""
        self._core.layer.send_request(self._request, self._flow, now, self)

    def on_transaction(self, event: TransactionEvent, now: float) -> list[Event]:
        """The outcome."""
        match event:
            case ResponseReceived(response=response) if response.status >= 200:
                if response.status in (401, 407) and self._tries < MAX_TRIES:
                    again = self._account.authorize(self._request, response, in_dialog=False)
                    if again is not None:
                        self._tries += 1
                        self._request = again
                        self.start(now)
                        return []
                return [self._outcome(response.status, response.reason, tuple(response.headers))]
            case TimedOut() | TransportFailed():
                return [self._outcome(0, "", ())]
            case _:
                return []

    def _outcome(self, status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> RequestAnswered:
        return RequestAnswered(
            account=self._account.id,
            session=None,
            token=self._token,
            method=self._request.method,
            status=status,
            reason=reason,
            headers=headers,
        )
