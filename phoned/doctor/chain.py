"""Checks that stand on one another. Pure: what was found, in order, and what could not be looked at because of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from phoned.model import CheckView, DoctorView
from phoned.redaction import Redactor

Proxy = Literal["primary", "backup"]


class Chain:
    """The checks of one subject (the disk, the way to a proxy) in their order. After the first that fails, the others
    are not run: their failing would say nothing new."""

    def __init__(self, *names: str, account: str | None = None, proxy: Proxy | None = None) -> None:
        self._left = list(names)
        self._account = account
        self._proxy = proxy
        self._redact = Redactor()
        self.checks: list[CheckView] = []

    @property
    def next(self) -> str | None:
        """The check that is due."""
        return self._left[0] if self._left else None

    def passed(self, detail: str) -> None:
        """The check that is due found nothing wrong."""
        self._put(True, detail)

    def failed(self, detail: str, fix: str) -> None:
        """The check that is due found what is broken; the rest is not run."""
        name = self._put(False, detail, fix)
        self.stop(f"{name} failed")

    def skipped(self, why: str) -> None:
        """The check that is due cannot be made, or need not."""
        self._put(None, why)

    def stop(self, why: str) -> None:
        """The rest is not run."""
        while self._left:
            self._put(None, f"not run: {why}")

    def _put(self, ok: bool | None, detail: str, fix: str | None = None) -> str:
        name = self._left.pop(0)
        detail = self._redact(" ".join(detail.split()))  # servers have a say in it
        self.checks.append(
            CheckView(name=name, ok=ok, detail=detail, fix=fix, account=self._account, proxy=self._proxy)
        )
        return name


def verdict(checks: Sequence[CheckView]) -> DoctorView:
    """All of it."""
    return DoctorView(ok=not broken(checks), checks=tuple(checks))


def broken(checks: Sequence[CheckView]) -> list[CheckView]:
    """What failed, in order."""
    return [check for check in checks if check.ok is False]
