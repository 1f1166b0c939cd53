"""The machine: its network, its health, and the phone's configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from api.answers.accounts import Account
from api.answers.base import Answer, Moment


class Lines(Answer):
    active: int
    capacity: int


class Interface(Answer):
    """``addresses`` as ``192.0.2.2/24``; ``ignored`` by configuration."""

    name: str
    kind: str
    up: bool
    carrier: bool
    addresses: list[str]
    ignored: bool


class NetworkRoute(Answer):
    """``destination`` is ``default`` or a prefix."""

    destination: str
    family: Literal["ipv4", "ipv6"]
    device: str | None
    gateway: str | None
    source: str | None
    metric: int
    table: int


class NetworkChange(Answer):
    """A change that mattered, with its reasons in words."""

    generation: int
    at: Moment
    reasons: list[str]
    became_unusable: list[str]
    trigger: str | None


class Check(Answer):
    """One thing that the doctor looked at. ``ok`` is null when it was not run, and ``detail`` says why; ``fix`` stands
    only with a failure. ``account`` and ``proxy``: whose way to the server it is."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None
    account: str | None
    proxy: Literal["primary", "backup"] | None


class Doctor(Answer):
    """What is broken, if anything. Checks in the order in which they stand on one another."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ok": False,
                "checks": [
                    {
                        "name": "tcp",
                        "ok": False,
                        "detail": "192.0.2.7 port 443: Connection refused",
                        "fix": "nothing listens at edge1.example.org:443: check the port in outbound_proxy, and that"
                        " the server runs",
                        "account": "front",
                        "proxy": "primary",
                    },
                ],
            }
        }
    )

    ok: bool
    checks: list[Check]


class Network(Answer):
    """The machine's network as the phone sees it; the newest change last."""

    generation: int
    source: str
    interfaces: list[Interface]
    routes: list[NetworkRoute]
    changes: list[NetworkChange]


class Status(Answer):
    version: str
    node: str
    uptime_s: float
    draining: bool
    accounts: list[Account]
    calls: Lines
    network: Network | None
    event_seq: int


class DoNotDisturb(Answer):
    do_not_disturb: bool


class AccountChanges(Answer):
    """Ids of the accounts of the configuration."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class Reload(Answer):
    """``applied`` is in force now; ``restart_needed`` stays as it was until a restart. Keys as in a file."""

    accounts: AccountChanges
    applied: list[str]
    restart_needed: list[str]
    warnings: list[str]
