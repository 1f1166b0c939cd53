"""Real namespaces for the tests of this folder; without root they are skipped, and say so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.harness.scene import Scene
from tests.support.netns import Lab, why_not


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips, naming the reason, where namespaces cannot be had."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def lab(namespaces: None) -> Iterator[Lab]:
    """A phone on two uplinks without delay, the default route on wifi; this thread stays outside."""
    with Lab(ipv6=True) as built:
        yield built


@pytest.fixture
def phone(lab: Lab) -> Iterator[Lab]:
    """The same; this thread, and the sockets and threads that it makes, are in the phone's namespace."""
    with lab.entered("phone"):
        yield lab


@pytest.fixture(scope="module")
def scene(namespaces: None) -> Iterator[Scene]:
    """A phone to be, Kamailio, a backup and a browser, 50 ms apart."""
    with Scene(rtt_ms=50) as built:
        yield built
