from __future__ import annotations

from starlette.routing import Match, Route

from api.paths import Paths


async def nothing(request: object) -> None: ...


def routes(*paths: str) -> list[Route]:
    return [Route(path, nothing) for path in paths]


ALL = routes(
    "/v1",
    "/v1/calls",
    "/v1/calls/{call}",
    "/v1/calls/new",
    "/v1/calls/{call}/hold",
    "/Calls/{call}.json",
    "/c/{n:path}",
)


def asked(path: str) -> list[str]:
    return [route.path for route in Paths(ALL).of(path) if isinstance(route, Route)]


def test_a_path_finds_its_routes_in_their_order_and_no_others() -> None:
    assert asked("/v1/calls") == ["/v1/calls"]
    assert asked("/v1/calls/new") == ["/v1/calls/{call}", "/v1/calls/new"]
    assert asked("/v1/calls/x/hold") == ["/v1/calls/{call}/hold"]
    assert asked("/Calls/x.json") == ["/Calls/{call}.json"]
    assert asked("/v1/calls/x/y/z") == asked("/") == asked("") == asked("/v1/") == []


def test_a_parameter_that_may_hold_slashes_takes_all_that_follows() -> None:
    assert asked("/c/") == asked("/c/a") == asked("/c/a/b") == ["/c/{n:path}"]
    assert asked("/c") == []


def test_whatever_a_route_takes_is_found() -> None:
    paths = [route.path.replace("{n:path}", "a/b").replace("{call}", "x y") for route in ALL]
    for path in [*paths, "/v1/calls//hold", "/c/", "//", "/v1/calls/x/"]:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        found = Paths(ALL).of(path)
        assert [route for route in ALL if route.matches(scope)[0] is not Match.NONE] == [
            route for route in found if route.matches(scope)[0] is not Match.NONE
        ]
