"""A request of ours outside every dialog: MESSAGE (RFC 3428) and OPTIONS (RFC 3261 11). One object each."""

from __future__ import annotations

from phoned.errors import AtCapacity, NotRegistered
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
                        try:
                            self.start(now)
                            return []
                        except AtCapacity:
                            pass  # then the challenge is the outcome
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


def begin(
    core: Core,
    account: AccountCore,
    method: str,
    target: str,
    now: float,
    headers: list[tuple[str, str]],
    body: bytes,
) -> Token:
    """Send one; a `RequestAnswered` with the token that is returned follows. Raises NotRegistered and InvalidValue."""
    if account.flow is None:
        raise NotRegistered(f"account {account.id} has no flow")
    random = core.random
    request = account.request(
        method, target, call_id=random.token(), tag=random.token(), number=1, headers=[*headers, *account.agent]
    )
    request.body = body
    token = random.token()
    Standalone(token=token, core=core, account=account, flow=account.flow, request=request).start(now)
    return token
