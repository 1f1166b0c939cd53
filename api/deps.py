"""What a route may hold, and how it gets it: one `Services` in the state of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, Protocol, TypeVar

from fastapi import Depends
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from api.access import Access, Principal
from api.feed import BACKLOG
from api.gate import admit, principal
from api.idempotency import Idempotency
from api.metrics import Metrics
from phoned.events import EventBus
from phoned.plain import dumps, plain
from phoned.service import Audit, PhoneControl
from phoned.twilio import TwilioAccount
from phoned.webhook import WebhookControl

P = ParamSpec("P")
R = TypeVar("R")


class Closable(Protocol):
    """A stream that must end before the service can."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Services:
    """All that lives as long as the running API."""

    phone: PhoneControl
    bus: EventBus
    access: Access
    metrics: Metrics
    audit: Audit
    webhooks: Callable[[], WebhookControl]
    """Raises `UnavailableError` while no service has them."""
    idempotency: Idempotency
    twilio: Callable[[], TwilioAccount | None]
    """The account of ``[twilio]``, while there is one."""
    stream_urls: tuple[str, ...] = ()
    """Patterns of the bots that others than an administrator may have dialled."""
    streams: set[Closable] = field(default_factory=set)
    stopping: bool = False
    keepalive_s: float = 15.0
    welcome_s: float = 5.0
    """How long a stream of events may outlive the token that it was opened with."""
    feed_backlog: int = BACKLOG
    """How many events a reader may be behind."""


async def services(connection: HTTPConnection) -> Services:
    """The dependency behind `Api`. Not a plain function: those are run on a thread, one hop for each request."""
    found = connection.app.state.services
    assert isinstance(found, Services)
    return found


async def caller(connection: HTTPConnection) -> Principal:
    """The dependency behind `Caller`."""
    return principal(connection.scope)


Api = Annotated[Services, Depends(services)]
Caller = Annotated[Principal, Depends(caller)]


def admitted(endpoint: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """``endpoint`` behind the rate limit: the last check, made once its arguments are known to be good."""

    @wraps(endpoint)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        admit()
        return await endpoint(*args, **kwargs)

    return guarded


class Route(APIRoute):
    """FastAPI's route with `admitted` around each endpoint.

    Endpoints make their answers themselves; what those look like is told for the description alone. So FastAPI is told
    of it when somebody asks for that (`described`), which spares a start a good part of its time.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        guarded = admitted(endpoint)
        self._whole = partial(APIRoute, path, guarded, **options)
        responses = {
            status: {key: value for key, value in response.items() if key != "model"}
            for status, response in (options.get("responses") or {}).items()
        }
        super().__init__(path, guarded, **{**options, "response_model": None, "responses": responses})

    def described(self) -> APIRoute:
        """The same with its answers."""
        return self._whole()


AT_ONCE = 32
"""Items of a list that are rendered without a pause: some 2 ms."""


async def answer_page(items: Sequence[object], cursor: str | None) -> Response:
    """A list."""
    text = f'{{"data":[{await listed(items)}],"next_cursor":{dumps(cursor)}}}'
    return Response(text, media_type="application/json")


async def listed(items: Sequence[object]) -> str:
    """The elements of a JSON list. They are rendered in pieces: sound goes out in between."""
    pieces: list[str] = []
    for start in range(0, len(items), AT_ONCE):
        if start:
            await asyncio.sleep(0)
        pieces += [dumps(plain(item)) for item in items[start : start + AT_ONCE]]
    return ",".join(pieces)


def answer(value: object, status: int = 200, **headers: str) -> Response:
    """A view of the phone as JSON."""
    return Response(dumps(plain(value)), status, headers, media_type="application/json")
