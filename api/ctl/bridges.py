"""Commands of `phonectl` about bridges: calls that talk to each other."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.ctl import complete, output
from api.ctl.arguments import Json
from api.ctl.client import USAGE, Failure
from api.ctl.session import command, segment, session


@command("bridge")
def bridge(
    context: typer.Context,
    calls: Annotated[
        list[str] | None,
        typer.Argument(
            help="The calls; may be left out when two are up.", autocompletion=complete.calls, show_default=False
        ),
    ] = None,
    change: Annotated[
        str | None,
        typer.Option(metavar="BRIDGE", help="Exactly these calls in this bridge.", autocompletion=complete.bridges),
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="BRIDGE", help="End this bridge.", autocompletion=complete.bridges)
    ] = None,
    as_json: Json = False,
) -> None:
    """Let calls hear each other."""
    on = session(context, as_json)
    if end is not None:
        on.client.delete(f"/v1/bridges/{segment(end)}")
        on.show(on.client.get(f"/v1/bridges/{segment(end)}"), _one)
        return
    if not calls:
        calls = [str(view["id"]) for view in on.client.get("/v1/calls", state=["active"])["data"]]
        if len(calls) != 2:
            raise Failure(USAGE, f"{len(calls)} calls are up", "name those that shall hear each other")
    if change is None:
        on.show(on.client.post("/v1/bridges", {"calls": calls}), _one)
    else:
        on.show(on.client.patch(f"/v1/bridges/{segment(change)}", {"calls": calls}), _one)


@command("bridges")
def bridges(context: typer.Context, as_json: Json = False) -> None:
    """The bridges, newest first."""
    on = session(context, as_json)
    on.show(on.client.get("/v1/bridges")["data"], _all)


def _one(view: Any) -> str:
    return _all([view])


def _all(views: Any) -> str:
    if not views:
        return "no bridges"
    rows = [(view["id"], view["state"], view["created_at"], " ".join(view["calls"])) for view in views]
    return output.table(("BRIDGE", "STATE", "SINCE", "CALLS"), rows)
