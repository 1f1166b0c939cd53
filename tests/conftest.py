"""What holds for all tests."""

from __future__ import annotations

import pytest

from tests.support.standstill import RealTime, Standstills


def pytest_configure(config: pytest.Config) -> None:
    watcher = Standstills()
    watcher.__enter__()
    config.add_cleanup(lambda: watcher.__exit__(None, None, None))
    config.pluginmanager.register(RealTime(watcher))
