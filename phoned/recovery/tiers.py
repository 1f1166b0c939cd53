"""Which tier of media repair works behind which proxy: a small, bounded memory. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

CAPACITY = 64
"""Proxies that are remembered; the one that was longest of no use goes first."""


class TierMemory:
    """Told by repairs that worked; asked before the next one begins."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._first: OrderedDict[str, Literal[1, 2]] = OrderedDict()

    def first(self, proxy: str) -> Literal[1, 2]:
        """The tier to begin with."""
        if proxy in self._first:
            self._first.move_to_end(proxy)
        return self._first.get(proxy, 1)

    def learn(self, proxy: str, tier: Literal[1, 2]) -> None:
        """This tier brought the sound back."""
        self._first[proxy] = tier
        self._first.move_to_end(proxy)
        while len(self._first) > self._capacity:
            self._first.popitem(last=False)
