from __future__ import annotations

import asyncio
import inspect
import json

from fastapi.routing import APIRoute, APIWebSocketRoute

from api import answers
from api.deps import AT_ONCE, Route, answer, answer_page
from api.routes import calls, events, system
from phoned.model import Peer
from phoned.tasks import Tasks


async def turns_during(count: int) -> tuple[int, bytes]:
    """How often others had their turn while so many items were rendered."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    tasks = Tasks("test", lambda name, error: None)
    tasks.spawn("others", others())
    response = await answer_page([Peer(uri=f"sip:{number}@x") for number in range(count)], None)
    await tasks.close()
    return turns, bytes(response.body)


async def test_a_long_list_is_rendered_in_pieces_and_others_have_their_turn() -> None:
    assert (await turns_during(AT_ONCE))[0] <= 1
    turns, body = await turns_during(4 * AT_ONCE)
    assert turns >= 3
    listed = json.loads(body)["data"]
    assert [item["uri"] for item in listed] == [f"sip:{number}@x" for number in range(4 * AT_ONCE)]


async def test_a_page_is_what_an_answer_with_the_same_members_is() -> None:
    for items, cursor in (([], None), ([Peer(uri="sip:\u00e9\ud800@x", number="1")], "next")):
        page = await answer_page(items, cursor)
        whole = answer({"data": items, "next_cursor": cursor})
        assert (page.body, page.headers["content-type"]) == (whole.body, whole.headers["content-type"])


def test_no_dependency_takes_a_request_to_a_thread() -> None:
    for route in (*calls.router.routes, *system.router.routes, *events.router.routes):
        assert isinstance(route, (APIRoute, APIWebSocketRoute))
        for dependency in route.dependant.dependencies:
            assert inspect.iscoroutinefunction(dependency.call), (route.path, dependency.call)


def test_what_an_answer_looks_like_is_told_to_the_description_alone() -> None:
    [route] = [route for route in calls.router.routes if isinstance(route, Route) and route.methods == {"PUT"}]
    assert (route.response_model, route.response_fields) == (None, {})
    described = route.described()
    assert described.response_model is answers.Call
    assert list(described.response_fields) == [200]
    assert (described.path, described.unique_id, described.methods) == (route.path, route.unique_id, route.methods)
