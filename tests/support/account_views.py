"""Accounts as they look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from phoned.model import AccountState, AccountView, OutboundProxyView, RegistrationView

EPOCH = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def account_view(account: str, state: AccountState = AccountState.ONLINE) -> AccountView:
    """An account as it looks a moment after it was registered."""
    return AccountView(
        id=account,
        aor=f"sip:{account}@example.org",
        state=state,
        since=EPOCH,
        desired="registered",
        registration=RegistrationView(expires_at=EPOCH + timedelta(seconds=120), contact="sip:x@y", flow_generation=1),
        outbound_proxy=OutboundProxyView(active="wss://edge/ws", primary="wss://edge/ws", backup="wss://other/ws"),
    )
