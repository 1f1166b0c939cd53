"""Commands of `phonectl` about the way out: the network, a new attempt, a repair by hand, draining."""

from __future__ import annotations

from typing import Annotated

import typer

from api.ctl import complete, output
from api.ctl.arguments import Call, Json
from api.ctl.session import command, segment, session


@command("network")
def network(
    context: typer.Context,
    changed: Annotated[
        bool, typer.Option("--changed", help="Look again now, and repair what a change asks for.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The machine's network as the phone sees it."""
    on = session(context, as_json)
    found = on.client.post("/v1/network/changed") if changed else on.client.get("/v1/network")
    on.show(found, output.network)


@command("retry")
def retry(
    context: typer.Context,
    account: Annotated[
        str | None,
        typer.Argument(help="The account; may be left out when there is one.", autocompletion=complete.accounts),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try to register now, whatever the back-off says."""
    on = session(context, as_json)
    tried = on.client.post(f"/v1/accounts/{segment(on.only_account(account))}/retry")
    on.show(tried, lambda view: output.accounts([view]))


@command("reinvite")
def reinvite(
    context: typer.Context,
    call: Call = None,
    ice_restart: Annotated[bool, typer.Option("--ice-restart", help="Look for another path for the media.")] = False,
    as_json: Json = False,
) -> None:
    """Repair a call by hand: the same as what the phone does by itself."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "reinvite", {"ice_restart": ice_restart})


@command("drain")
def drain(
    context: typer.Context,
    off: Annotated[bool, typer.Option("--off", help="Take calls again.")] = False,
    as_json: Json = False,
) -> None:
    """Take no new calls and keep those that are up."""
    on = session(context, as_json)
    if off:
        on.client.delete("/v1/drain")
    else:
        on.client.post("/v1/drain")
    on.show(on.client.get("/v1/status"), output.status)
