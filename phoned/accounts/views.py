"""Parts of an account's view, from what the account holds. Pure."""

from __future__ import annotations

from datetime import datetime

from phoned.accounts.policy import AccountPolicy
from phoned.accounts.tracked import TrackedFlow
from phoned.model import LastError, OutboundProxyView, RegistrationView
from phoned.recovery.proxies import Proxies


def registration_view(
    tracked: TrackedFlow | None, expires_at: datetime | None, last_error: LastError | None
) -> RegistrationView:
    """The binding on the flow in use."""
    return RegistrationView(
        expires_at=expires_at,
        contact=tracked.registered.contact if tracked and tracked.registered else None,
        flow_generation=tracked.flow.generation if tracked else 0,
        last_error=last_error,
    )


def proxy_view(policy: AccountPolicy, proxies: Proxies) -> OutboundProxyView:
    """Where the account is, and where it could be."""
    backup = policy.target_backup.url if policy.target_backup else None
    return OutboundProxyView(
        active=backup if proxies.active == "backup" and backup else policy.target.url,
        primary=policy.target.url,
        backup=backup,
        mode=proxies.mode,
    )
