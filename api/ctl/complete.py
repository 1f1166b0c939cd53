"""What the shell offers behind TAB: ids that the daemon knows now. Never a word of error, and never long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import typer

from api.ctl.client import Client, Failure, find_target
from api.ctl.output import clean

DEADLINE_S = 1.0
LIVE = ["queued", "dialing", "ringing", "early_media", "active"]

Offer = list[tuple[str, str]]


def accounts(context: typer.Context, incomplete: str) -> Offer:
    """Account ids, with their state."""
    return _offer(context, incomplete, "/v1/accounts", lambda view: f"{view['aor']} {view['state']}")


def calls(context: typer.Context, incomplete: str) -> Offer:
    """Ids of the calls that are up."""
    return _offer(context, incomplete, "/v1/calls", _call, state=LIVE)


def every_call(context: typer.Context, incomplete: str) -> Offer:
    """Ids of calls, ended ones too."""
    return _offer(context, incomplete, "/v1/calls", _call, limit=50)


def recordings(context: typer.Context, incomplete: str) -> Offer:
    """Ids of the recordings that run."""
    found = _offer(context, incomplete, "/v1/recordings", lambda view: str(view["state"]), limit=1000)
    return [(name, state) for name, state in found if state in ("recording", "paused")]


def webhooks(context: typer.Context, incomplete: str) -> Offer:
    """Ids of webhooks, with whom they tell."""
    return _offer(context, incomplete, "/v1/webhooks", lambda view: str(view["url"]))


def streams(context: typer.Context, incomplete: str) -> Offer:
    """Ids of the streams that run, with the bot."""
    found = _offer(context, incomplete, "/v1/streams", lambda view: f"{view['state']} {view['url']}")
    return [(name, about) for name, about in found if not about.startswith(("stopped", "failed"))]


def bridges(context: typer.Context, incomplete: str) -> Offer:
    """Ids of the bridges that are up."""
    found = _offer(context, incomplete, "/v1/bridges", lambda view: f"{view['state']} {len(view['calls'])} calls")
    return [(name, about) for name, about in found if about.startswith("active")]


def _call(view: Any) -> str:
    return f"{view['direction']} {view['state']} {view['peer']['number'] or view['peer']['uri']}"


def _offer(context: typer.Context, incomplete: str, path: str, about: Callable[[Any], str], **query: Any) -> Offer:
    try:
        return list(_ask(context, incomplete, path, about, query))
    except (Failure, KeyError, TypeError):
        return []  # no daemon, no right, no answer in time: then there is nothing to offer


def _ask(
    context: typer.Context, incomplete: str, path: str, about: Callable[[Any], str], query: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    # while the shell completes, the callback that reads the options before the command has not run
    given = context.find_root().params
    client = Client(
        find_target(given.get("socket"), given.get("url"), given.get("token_file"), os.environ), timeout_s=DEADLINE_S
    )
    try:
        for view in client.get(path, **query)["data"]:
            if view["id"].startswith(incomplete):
                yield view["id"], clean(about(view))
    finally:
        client.close()
