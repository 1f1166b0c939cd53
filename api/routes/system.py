"""/v1, health, status, tickets, problem pages, the description of this API."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request

from api import answers
from api.asyncapi import document
from api.deps import Api, Caller, Route, answer
from api.description import problems
from api.errors import ProblemError, page, problem
from api.security import TICKET_PROTOCOL
from phoned.model import AccountState
from phoned.plain import dumps

router = APIRouter(route_class=Route)

LINKS = {
    "status": "/v1/status",
    "accounts": "/v1/accounts",
    "calls": "/v1/calls",
    "recordings": "/v1/recordings",
    "network": "/v1/network",
    "devices": "/v1/devices",
    "do_not_disturb": "/v1/do-not-disturb",
    "webhooks": "/v1/webhooks",
    "events": "/v1/events",
    "metrics": "/metrics",
    "events_websocket": "/v1/events/ws",
    "tickets": "/v1/tickets",
    "login": "/v1/login",
    "console": "/console/",
    "openapi": "/openapi.json",
    "asyncapi": "/asyncapi.json",
}


@router.get("/v1", response_model=answers.Root, tags=["system"])
async def root(api: Api) -> Response:
    """Where everything is."""
    status = api.phone.status()
    return answer({"version": status.version, "node": status.node, "links": LINKS})


@router.get("/healthz", response_model=answers.Health, tags=["system"])
async def healthz() -> Response:
    """Answers while the daemon's loop runs. Open to everybody."""
    return answer({"status": "ok"})


@router.get("/readyz", response_model=answers.Health, tags=["system"], responses=problems("not_ready"))
async def readyz(api: Api) -> Response:
    """Whether calls can be placed: an account is online and the phone is not draining. Open to everybody."""
    if api.phone.status().draining or not any(account.state is AccountState.ONLINE for account in api.phone.accounts()):
        raise ProblemError(problem("not_ready", retry_after_s=2))
    return answer({"status": "ready"})


@router.get("/v1/status", response_model=answers.Status, tags=["system"])
async def status(api: Api) -> Response:
    """The whole phone at a glance."""
    return answer(api.phone.status())


@router.post("/v1/drain", response_model=answers.Status, tags=["system"])
async def drain(api: Api) -> Response:
    """Take no new calls, in or out; those that are up go on. For a machine that is about to be taken away: when
    `calls.active` is 0 nobody is hurt. `/readyz` says 503 meanwhile."""
    return answer(await api.phone.drain(True))


@router.delete("/v1/drain", status_code=204, tags=["system"], responses=problems("draining"))
async def undrain(api: Api) -> Response:
    """Take calls again."""
    await api.phone.drain(False)
    return Response(status_code=204)


@router.get("/v1/do-not-disturb", response_model=answers.DoNotDisturb, tags=["system"])
async def do_not_disturb(api: Api) -> Response:
    """Whether incoming calls are refused."""
    return answer({"do_not_disturb": api.phone.do_not_disturb()})


@router.post("/v1/do-not-disturb", response_model=answers.DoNotDisturb, tags=["system"])
async def disturb_not(api: Api) -> Response:
    """Refuse every incoming call with 480 from now on, over restarts too. Calls that ring or are up go on; calls may be
    placed. Rules that reject keep their own code."""
    return answer({"do_not_disturb": await api.phone.set_do_not_disturb(True)})


@router.delete("/v1/do-not-disturb", status_code=204, tags=["system"])
async def disturb(api: Api) -> Response:
    """Take calls again."""
    await api.phone.set_do_not_disturb(False)
    return Response(status_code=204)


@router.post("/v1/reload", response_model=answers.Reload, tags=["system"], responses=problems("invalid_value"))
async def reload(api: Api) -> Response:
    """Read the configuration again, as SIGHUP does. Calls go on. A wrong configuration is a 422 with every mistake, and
    changes nothing. An account that is gone from it goes when its calls have ended."""
    return answer(await api.phone.reload())


@router.post("/v1/doctor", response_model=answers.Doctor, tags=["system"], responses=problems("wrong_state"))
async def doctor(api: Api) -> Response:
    """Look at everything that a call needs and name what is broken, with its fix: what `phoned doctor` does, by the
    phone itself and of what it goes by. Takes seconds, at most about a minute; disturbs no call and no registration.
    409 while another examination runs."""
    return answer(await api.phone.doctor())


@router.post("/v1/tickets", response_model=answers.Ticket, status_code=201, tags=["system"])
async def tickets(api: Api, caller: Caller) -> Response:
    """A one-use pass for a browser's WebSocket, with the rights of whoever asks."""
    ticket = api.access.tickets.issue(caller, asyncio.get_running_loop().time())
    lifetime_s = api.access.tickets.lifetime_s
    return answer({"ticket": ticket, "subprotocol": TICKET_PROTOCOL + ticket, "expires_in_s": lifetime_s}, 201)


@router.get("/problems/{slug}", response_class=PlainTextResponse, tags=["system"], responses=problems("not_found"))
async def problem_page(slug: str) -> Response:
    """What a problem type means and what to do about it."""
    return PlainTextResponse(page(slug))


@router.get("/metrics", response_class=PlainTextResponse, tags=["system"])
async def metrics(api: Api) -> Response:
    """Counters and gauges in the text format of Prometheus."""
    return Response(api.metrics.page(), media_type=CONTENT_TYPE_LATEST)


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi(api: Api) -> Response:
    """The events, described."""
    version = api.phone.status().version  # the phone is the loop's; only the writing takes long
    text = await asyncio.to_thread(lambda: dumps(document(version)))
    return Response(text, media_type="application/json")


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """This API, described."""
    text = await asyncio.to_thread(lambda: str(request.app.openapi_text))
    return Response(text, media_type="application/json")
