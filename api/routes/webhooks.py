"""/v1/webhooks: who is told of events over HTTP, and how that went."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api import answers, hooks
from api.deps import Api, Route, answer
from api.description import problems
from phoned.errors import InvalidValue
from phoned.plain import plain
from phoned.webhook import DeliveryState

router = APIRouter(prefix="/v1/webhooks", route_class=Route, tags=["webhooks"])

ONE = problems("not_found", "unavailable")
ADDING = problems("denied", "wrong_state", "unavailable", "at_capacity")
CHANGING = problems("not_found", "denied", "wrong_state", "unavailable", "at_capacity")


@router.get("", response_model=answers.Page[hooks.Webhook], responses=problems("unavailable"))
async def webhooks(api: Api) -> Response:
    """All webhooks, those of the configuration file too."""
    return answer({"data": api.webhooks().webhooks(), "next_cursor": None})


@router.post("", response_model=hooks.WebhookWithSecret, status_code=201, responses=ADDING)
async def add(body: hooks.NewWebhook, api: Api) -> Response:
    """Tell this URL of what happens from now on. The answer has the secret that deliveries are signed with (Standard
    Webhooks), this once."""
    made = await api.webhooks().add(body.value())
    shown = {**plain(made.view), "secret": made.secret.text()}
    return answer(shown, 201, Location=f"/v1/webhooks/{made.view.id}")


@router.get("/{webhook}", response_model=hooks.Webhook, responses=ONE)
async def webhook(api: Api, webhook: str) -> Response:
    """One webhook."""
    return answer(api.webhooks().webhook(webhook))


@router.patch("/{webhook}", response_model=hooks.Webhook, responses=CHANGING)
async def change(body: hooks.ChangeWebhook, api: Api, webhook: str) -> Response:
    """Another URL, other events, on or off. One that comes back on is told of what it missed by `events.gap`."""
    return answer(await api.webhooks().change(webhook, body.value()))


@router.delete("/{webhook}", status_code=204, responses=CHANGING)
async def remove(api: Api, webhook: str) -> Response:
    """Forget it, with what waits for it."""
    await api.webhooks().remove(webhook)
    return Response(status_code=204)


@router.post("/{webhook}/test", response_model=hooks.Delivery, responses=CHANGING)
async def send_test(api: Api, webhook: str) -> Response:
    """Send it one `webhook.test`, once, and say how that went."""
    return answer(await api.webhooks().test(webhook))


@router.get("/{webhook}/deliveries", response_model=answers.Page[hooks.Delivery], responses=ONE)
async def deliveries(
    api: Api,
    webhook: str,
    state: DeliveryState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=32)] = None,
) -> Response:
    """What was sent and what waits, newest first."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidValue("this is no cursor of ours", pointer="/query/cursor")
    before = None if cursor is None else int(cursor)
    page = await api.webhooks().deliveries(webhook, state=state, before=before, limit=limit)
    return answer({"data": page.deliveries, "next_cursor": None if page.before is None else str(page.before)})


@router.post(
    "/{webhook}/deliveries/{delivery}/retry", response_model=hooks.Delivery, status_code=202, responses=CHANGING
)
async def retry(api: Api, webhook: str, delivery: str) -> Response:
    """Send it again, now, under the same id; also one that was delivered or given up."""
    return answer(await api.webhooks().retry(webhook, delivery), 202)
