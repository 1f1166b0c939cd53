"""/v1/bridges: calls that talk to each other."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers, schemas
from api.deps import Api, Route, answer, answer_page
from api.description import problems

router = APIRouter(prefix="/v1/bridges", route_class=Route, tags=["bridges"])

JOINING = problems("not_found", "gone", "wrong_state")


@router.post("", response_model=answers.Bridge, status_code=201, responses=JOINING)
async def create(api: Api, body: schemas.BridgeCalls) -> Response:
    """Let calls hear each other: each the sum of all others, and what is played to it. A call that is on hold is out of
    the conversation meanwhile; one that ends leaves it; when one is left, the bridge ends and that call goes on."""
    bridge = await api.phone.create_bridge(body.calls)
    return answer(bridge, 201, Location=f"/v1/bridges/{bridge.id}")


@router.get("", response_model=answers.Page[answers.Bridge])
async def bridges(api: Api) -> Response:
    """Bridges that are up, the newest first, then the last 100 that ended."""
    return await answer_page(api.phone.bridges(), None)


@router.get("/{bridge}", response_model=answers.Bridge, responses=problems("not_found"))
async def bridge(api: Api, bridge: str) -> Response:
    """One bridge."""
    return answer(api.phone.bridge(bridge))


@router.patch("/{bridge}", response_model=answers.Bridge, responses=JOINING)
async def change(api: Api, bridge: str, body: schemas.BridgeCalls) -> Response:
    """Say anew which calls are in it: who is not named leaves, who is new comes in, the others notice nothing else."""
    return answer(await api.phone.change_bridge(bridge, body.calls))


@router.delete("/{bridge}", status_code=204, responses=problems("not_found"))
async def end(api: Api, bridge: str) -> Response:
    """End it. Its calls stay up, each for itself."""
    await api.phone.end_bridge(bridge)
    return Response(status_code=204)
