"""Daemons as processes of their own at the exchange in a box: the control API as its users have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.exchange import Exchange, Phone


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as running:
        yield running


@pytest.fixture
def phone(exchange: Exchange) -> Iterator[Phone]:
    """A daemon that is registered."""
    with Phone(exchange) as made:
        made.start()
        made.wait_ready()
        yield made
