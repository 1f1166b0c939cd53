"""Commands of `phonectl webhooks`: who is told of events over HTTP, and how that went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from api.ctl import complete, output
from api.ctl.arguments import Json
from api.ctl.client import ERROR, Failure
from api.ctl.session import command, group, guarded, segment, session

Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id.", autocompletion=complete.webhooks)]

webhooks = group("webhooks", "Who is told of events over HTTP, and how that went.")


@webhooks.callback(invoke_without_command=True)
@guarded
def listing(context: typer.Context, as_json: Json = False) -> None:
    """The webhooks."""
    if context.invoked_subcommand is None:
        _list(context, as_json)


@command("list", webhooks)
def list_(context: typer.Context, as_json: Json = False) -> None:
    """The webhooks."""
    _list(context, as_json)


def _list(context: typer.Context, as_json: bool) -> None:
    on = session(context, as_json)
    on.show(on.client.get("/v1/webhooks")["data"], table)


@command("add", webhooks)
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to post events to.")],
    events: Annotated[list[str] | None, typer.Option("--event", "-e", help="A type or pattern; may repeat.")] = None,
    as_json: Json = False,
) -> None:
    """Tell a URL of events. Prints the secret for checking signatures: it is shown this once."""
    on = session(context, as_json)
    on.show(on.client.post("/v1/webhooks", {"url": url, **({"events": events} if events else {})}), output.pairs)


@command("rm", webhooks)
def remove(context: typer.Context, webhook: Id, as_json: Json = False) -> None:
    """Forget a webhook, with what waits for it."""
    on = session(context, as_json)
    on.client.delete(f"/v1/webhooks/{segment(webhook)}")
    on.show(on.client.get("/v1/webhooks")["data"], table)


@command("enable", webhooks)
def enable(context: typer.Context, webhook: Id, as_json: Json = False) -> None:
    """Send to it again."""
    _switch(context, webhook, True, as_json)


@command("disable", webhooks)
def disable(context: typer.Context, webhook: Id, as_json: Json = False) -> None:
    """Send nothing to it."""
    _switch(context, webhook, False, as_json)


def _switch(context: typer.Context, webhook: str, enabled: bool, as_json: bool) -> None:
    on = session(context, as_json)
    changed = on.client.patch(f"/v1/webhooks/{segment(webhook)}", {"enabled": enabled})
    on.show(changed, lambda view: table([view]))


@command("test", webhooks)
def send_test(context: typer.Context, webhook: Id, as_json: Json = False) -> None:
    """Send one test event. Exit code 1 when it was not delivered."""
    on = session(context, as_json)
    sent = on.client.post(f"/v1/webhooks/{segment(webhook)}/test", timeout_s=75.0)
    on.show(sent, lambda view: deliveries_table([view]))
    if sent["state"] != "delivered":
        raise Failure(ERROR, f"not delivered: {sent['last_error']}", "see the receiver's log")


@command("deliveries", webhooks)
def deliveries(
    context: typer.Context,
    webhook: Id,
    state: Annotated[Literal["pending", "delivered", "failed"] | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    as_json: Json = False,
) -> None:
    """What was sent to it and what waits, newest first."""
    on = session(context, as_json)
    path = f"/v1/webhooks/{segment(webhook)}/deliveries"
    on.show(on.client.get(path, state=state, limit=limit)["data"], deliveries_table)


@command("retry", webhooks)
def retry(
    context: typer.Context,
    webhook: Id,
    delivery: Annotated[str, typer.Argument(help="The event's id (the header webhook-id).")],
    as_json: Json = False,
) -> None:
    """Send an event to it again, under the same id."""
    on = session(context, as_json)
    path = f"/v1/webhooks/{segment(webhook)}/deliveries/{segment(delivery)}/retry"
    on.show(on.client.post(path), lambda view: deliveries_table([view]))


def table(views: Sequence[Mapping[str, Any]]) -> str:
    """The webhooks, and how they fare."""
    if not views:
        return "no webhooks"
    rows = [
        (
            view["id"],
            "enabled" if view["enabled"] else f"disabled ({view['disabled_reason']})",
            view["last_status"] or "-",
            view["pending"],
            f"since {view['failing_since']}" if view["failing_since"] else "-",
            ",".join(view["events"]),
            view["url"],
        )
        for view in views
    ]
    return output.table(("WEBHOOK", "STATE", "STATUS", "PENDING", "FAILING", "EVENTS", "URL"), rows)


def deliveries_table(views: Sequence[Mapping[str, Any]]) -> str:
    """What went and what waits."""
    if not views:
        return "no deliveries"
    rows = [
        (
            view["id"],
            view["type"],
            view["state"],
            view["attempts"],
            view["last_error"] or "-",
            view["finished_at"] or view["next_attempt_at"],
        )
        for view in views
    ]
    return output.table(("EVENT", "TYPE", "STATE", "TRIES", "LAST ERROR", "FINISHED OR NEXT"), rows)
