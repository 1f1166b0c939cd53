"""An account's signalling as its calls see it: can anything be said now, through whom, and if not, why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from phoned.model import AccountState, AccountView, Cause

_ON_THE_WAY = frozenset({AccountState.REGISTERING, AccountState.SUSPECT, AccountState.ONLINE})


class AccountFacts(Protocol):
    """What calls ask of an account."""

    aor: str
    state: AccountState

    @property
    def online(self) -> bool: ...

    @property
    def repairing(self) -> bool: ...

    @property
    def settled(self) -> bool: ...

    @property
    def flow(self) -> object | None: ...

    @property
    def trouble(self) -> Cause | None: ...

    def on_calls_changed(self) -> None: ...

    def wake(self) -> bool: ...

    def view(self) -> AccountView: ...


class AccountLine:
    """One account, asked anew each time: it may be removed while its calls end."""

    def __init__(self, find: Callable[[], AccountFacts | None]) -> None:
        self._find = find

    @property
    def usable(self) -> bool:
        """There is a flow, and it is not about to be replaced."""
        account = self._find()
        return account is not None and account.settled

    @property
    def lost(self) -> bool:
        """There is no flow."""
        account = self._find()
        return account is None or account.flow is None

    @property
    def attached(self) -> bool:
        """A flow is being registered, or is."""
        account = self._find()
        return account is not None and account.flow is not None and account.state in _ON_THE_WAY

    @property
    def proxy(self) -> str:
        """The outbound proxy in use."""
        account = self._find()
        return account.view().outbound_proxy.active if account is not None else ""

    @property
    def cause(self) -> str:
        """Why the flow is another one, or is to be, in the words of `phoned.model.Cause`."""
        account = self._find()
        return str((account.trouble if account is not None else None) or Cause.NETWORK)
