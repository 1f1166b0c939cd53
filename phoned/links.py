"""The wires between accounts and those who carry on when an account has a flow again. Built by the daemon."""

from __future__ import annotations

from phoned.calls.manager import CallManager
from phoned.store.identity import IdentityStore


class Links:
    """What accounts tell: the manager's calls, and the identity that must last."""

    def __init__(self, calls: CallManager, identity: IdentityStore) -> None:
        self._calls = calls
        self._identity = identity

    def on_flow_ready(self, account: str) -> None:
        self._calls.on_flow_ready(account)

    def on_registered(self, account: str) -> None:
        self._calls.on_registered(account)

    def on_identity(self, account: str, call_id: str, cseq: int) -> None:
        self._identity.used(account, call_id=call_id, cseq=cseq)

    def calls_up(self, account: str) -> int:
        return self._calls.active(account)
