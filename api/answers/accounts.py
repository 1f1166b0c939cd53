"""Accounts."""

from __future__ import annotations

from typing import Literal

from api.answers.base import Answer, Moment
from phoned.model import (
    AccountState,
    Cause,
)


class LastError(Answer):
    cause: Cause
    sip_code: int | None
    detail: str


class Registration(Answer):
    expires_at: Moment | None
    contact: str | None
    flow_generation: int
    last_error: LastError | None


class OutboundProxy(Answer):
    active: str
    primary: str
    backup: str | None
    mode: Literal["primary", "backup", "auto"]


class Mailbox(Answer):
    waiting: bool
    new: int | None
    old: int | None
    new_urgent: int | None
    old_urgent: int | None


class Account(Answer):
    id: str
    aor: str
    state: AccountState
    since: Moment
    desired: Literal["registered", "unregistered"]
    registration: Registration
    outbound_proxy: OutboundProxy
    mailbox: Mailbox | None
