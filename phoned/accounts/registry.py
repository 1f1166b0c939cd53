"""All accounts by id: hears `phoned.signaling` and passes each event on to the account that it is about."""

from __future__ import annotations

from collections.abc import Iterator

from phoned.accounts.account import Account
from phoned.model import Cause
from phoned.signaling import AccountEvent
from phoned.sip.events import MessagesWaiting
from phoned.transport.flow import Flow


class Accounts:
    """The table of accounts. Filled by the composition root."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def add(self, account: Account) -> None:
        """Take in an account under its id."""
        self._accounts[account.id] = account

    def remove(self, account: str) -> None:
        """Forget it; nothing is said to anybody."""
        self._accounts.pop(account, None)

    def get(self, account: str) -> Account | None:
        """The account of that id, if there is one."""
        return self._accounts.get(account)

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._accounts.values()))

    def on_account_event(self, event: AccountEvent) -> None:
        """An event of the SIP core."""
        account = self._accounts.get(event.account)
        if account is not None and isinstance(event, MessagesWaiting):
            account.mailbox.hear(event.summary)
        elif account is not None:
            account.on_event(event)

    def on_flow_closed(self, account: str, flow: Flow, cause: Cause, detail: str) -> None:
        """A flow is gone."""
        found = self._accounts.get(account)
        if found is not None:
            found.on_flow_closed(flow, cause, detail)
