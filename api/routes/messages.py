"""/v1/messages: text to people (SIP MESSAGE)."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import answers
from api.deps import Api, Route, answer
from api.description import problems
from api.schemas import NewMessage

router = APIRouter(prefix="/v1/messages", route_class=Route, tags=["messages"])


@router.post(
    "",
    response_model=answers.Message,
    status_code=201,
    responses=problems(
        "not_found",
        "destination_denied",
        "emergency_disabled",
        "refused",
        "not_registered",
        "at_capacity",
        "draining",
        "deadline_exceeded",
    ),
)
async def send(body: NewMessage, api: Api) -> Response:
    """Send text. 201 once the far end, or a server that keeps it for them, took it; 502 with their words when it was
    refused; 504 when nobody answered, and then it may have arrived or not."""
    return answer(await api.phone.send_message(body.value()), 201)
