"""A patient for the doctor: the exchange in a box behind real TLS, a configuration for it, and what may be broken."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from phoned.config.load import LoadedConfig, load_config
from phoned.doctor.chain import broken
from phoned.doctor.examination import examine
from phoned.doctor.surroundings import Surroundings
from phoned.model import CheckView, DoctorView
from phoned.sandbox.server import Sandbox
from tests.support.certificate import Certificate


class Clinic:
    """Use as an async context. `write` makes the configuration, `examine` looks at it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "phoned.toml"
        self.secret = home / "alice.secret"
        self.exchange = Sandbox()
        self.around = Surroundings()
        self.url = ""
        self._certificate = Certificate(home, "127.0.0.1")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self, certificate: Certificate | None = None, *, tls: bool = True) -> Self:
        """Start the exchange and write a configuration that fits."""
        self._certificate = certificate or self._certificate
        self.url = await self.exchange.start(tls=self._certificate.context if tls else None)
        self._stack.push_async_callback(self.exchange.stop)
        self.write(self.url)
        return self

    def write(self, url: str, *, password: str = "alice-secret", account: str = "", more: str = "") -> None:
        """The configuration; ``account``: more keys of the account, ``more``: more tables."""
        self.secret.touch(mode=0o600)
        self.secret.write_text(password)
        self.config.write_text(
            f"""
[phone]
state_dir = "state"
[[accounts]]
id = "front"
aor = "sip:alice@{self.exchange.domain}"
password_file = "alice.secret"
outbound_proxy = "{url}"
{account}
[accounts.tls]
ca_file = "{self._certificate.file}"
{more}
"""
        )

    def load(self) -> LoadedConfig:
        """The configuration as it is read now."""
        return load_config(self.config, environ={"HOME": str(self.home), "RUNTIME_DIRECTORY": str(self.home / "run")})

    async def examine(self, *, deadline_s: float = 60.0) -> DoctorView:
        """As `phoned doctor` does it."""
        return await examine(self.load, around=self.around, deadline_s=deadline_s)


def found(view: DoctorView, name: str) -> CheckView:
    """The only check of that name."""
    [check] = [check for check in view.checks if check.name == name]
    return check


def only_broken(view: DoctorView) -> CheckView:
    """The one thing that is broken. What stands on it was not run, and all else is well."""
    [check] = broken(view.checks)
    assert not view.ok
    assert check.fix
    assert all(other.fix is None for other in view.checks if other is not check)
    return check


def not_run(view: DoctorView) -> list[str]:
    """What was not looked at."""
    return [check.name for check in view.checks if check.ok is None]
