"""Which routes a path may be meant for: a tree of its segments, where Starlette tries one pattern after the other.

Owns the search alone. Whether a route takes the request is still decided by the route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from starlette.routing import BaseRoute

_REST = ":path}"
"""Ends the name of a parameter that may hold slashes."""


@dataclass(slots=True)
class _Node:
    """One segment. ``here``: routes that end with it, by their place in the order of all."""

    named: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    here: list[tuple[int, BaseRoute]] = field(default_factory=list)
    rest: list[tuple[int, BaseRoute]] = field(default_factory=list)
    """Routes whose last parameter takes all that follows."""


class Paths:
    """All routes of an application, in the order in which they are tried."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._root = _Node()
        for number, route in enumerate(routes):
            self._add(number, route)

    def _add(self, number: int, route: BaseRoute) -> None:
        node = self._root
        path: str = getattr(route, "path")  # noqa: B009  # every kind that we have has one, their base does not say so
        for segment in path.split("/"):
            if segment.endswith(_REST):
                node.rest.append((number, route))
                return
            if "{" in segment:
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.named.setdefault(segment, _Node())
        node.here.append((number, route))

    def of(self, path: str) -> list[BaseRoute]:
        """The routes that are worth asking, in order."""
        return [route for _, route in sorted(_search(self._root, path.split("/"), 0), key=lambda found: found[0])]


def _search(node: _Node, segments: list[str], at: int) -> Iterator[tuple[int, BaseRoute]]:
    if at == len(segments):
        yield from node.here
        return
    yield from node.rest
    named = node.named.get(segments[at])
    if named is not None:
        yield from _search(named, segments, at + 1)
    if node.any is not None:
        yield from _search(node.any, segments, at + 1)
