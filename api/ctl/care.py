"""Commands of `phonectl` about the phone's health."""

from __future__ import annotations

import typer

from api.ctl import output
from api.ctl.arguments import Json
from api.ctl.client import BAD_CONFIGURATION, ERROR
from api.ctl.session import command, session

EXAMINATION_S = 90.0
CONFIGURATION = ("configuration", "secrets")


@command("doctor")
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Let the running phone look at everything that a call needs. Exit code 1: something is broken, 78: its
    configuration is."""
    on = session(context, as_json)
    view = on.client.post("/v1/doctor", timeout_s=EXAMINATION_S)
    on.show(view, output.diagnosis)
    broken = {check["name"] for check in view["checks"] if check["ok"] is False}
    if broken:
        raise typer.Exit(BAD_CONFIGURATION if broken.intersection(CONFIGURATION) else ERROR)
