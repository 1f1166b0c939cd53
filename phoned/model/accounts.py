"""Accounts as they are seen from outside, and what came of reading their configuration again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from phoned.model.states import AccountState, Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """The newest failure of an account's signalling."""

    cause: Cause
    sip_code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationView:
    """The AOR binding, as far as we know it."""

    expires_at: datetime | None = None
    contact: str | None = None
    flow_generation: int = 0
    last_error: LastError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundProxyView:
    """Which outbound proxy serves an account now."""

    active: str
    primary: str
    backup: str | None = None
    mode: Literal["primary", "backup", "auto"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxView:
    """What the server last said of an account's mailbox; the counts are of voice messages, None when it gives none."""

    waiting: bool
    new: int | None = None
    old: int | None = None
    new_urgent: int | None = None
    old_urgent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account: what is wished for (`desired`) and what is (`state`)."""

    id: str
    aor: str
    state: AccountState
    since: datetime
    desired: Literal["registered", "unregistered"]
    registration: RegistrationView
    outbound_proxy: OutboundProxyView
    mailbox: MailboxView | None = None
    """None until the server says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanges:
    """Ids of the configuration's accounts, as it was read again."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadView:
    """What came of reading the configuration again. Keys as in a file: ``dial.deny``, ``incoming``, ``api.port``."""

    accounts: AccountChanges = AccountChanges()
    applied: tuple[str, ...] = ()
    """Changed, and in force now."""
    restart_needed: tuple[str, ...] = ()
    """Changed in the files, and as before until a restart."""
    warnings: tuple[str, ...] = ()
