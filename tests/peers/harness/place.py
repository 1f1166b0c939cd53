"""Where a peer runs: on this machine, or in a namespace of a `Lab`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.netns import CORE_ADDRESS, SEGMENTS, Lab
from tests.support.netns import Place as Namespace


class Place:
    """The machine itself: everything on loopback."""

    address = "127.0.0.1"
    """Where a server here listens."""

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command line that starts a process here."""
        return list(argv)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile belong here."""
        yield


class LabPlace(Place):
    """A namespace of a lab."""

    def __init__(self, lab: Lab, name: Namespace) -> None:
        self._lab = lab
        self._name: Namespace = name
        self.address = CORE_ADDRESS if name == "core" else SEGMENTS["wifi"].address

    def inside(self, argv: Sequence[str]) -> list[str]:
        return self._lab.inside(self._name, argv)

    @contextmanager
    def entered(self) -> Iterator[None]:
        with self._lab.entered(self._name):
            yield


HERE = Place()
