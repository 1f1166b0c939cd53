"""Commands of `phonectl` about what the phone is to be: its accounts, its configuration, peace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.ctl import output
from api.ctl.arguments import AccountName, Json
from api.ctl.client import USAGE, Failure
from api.ctl.session import command, group, guarded, segment, session

accounts = group("accounts", "The accounts and their registrations; add, change and remove those made at run time.")


@accounts.callback(invoke_without_command=True)
@guarded
def listing(context: typer.Context, as_json: Json = False) -> None:
    """The accounts and their registrations."""
    if context.invoked_subcommand is None:
        on = session(context, as_json)
        on.show(on.client.get("/v1/accounts")["data"], output.accounts)


@command("add", of=accounts)
def add(
    context: typer.Context,
    name: AccountName,
    aor: Annotated[str, typer.Option(help="The address of record, like sip:alice@example.org.")],
    proxy: Annotated[str, typer.Option(help="The outbound proxy, like wss://edge.example.org/ws.")],
    backup: Annotated[str | None, typer.Option(help="The backup outbound proxy.")] = None,
    username: Annotated[str | None, typer.Option(help="For digest authentication, when it is not in the AOR.")] = None,
    password_file: Annotated[
        str | None, typer.Option(help="A file here that holds the password; '-' reads it from stdin.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="The recovery profile.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other key, like recovery.keepalive_s=30. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an account, or change one that was made so. Without a password file it keeps the password that it has."""
    given = {
        "aor": aor,
        "outbound_proxy": proxy,
        "outbound_proxy_backup": backup,
        "auth_username": username,
        "profile": profile,
        "password": _password(password_file),
    }
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for text in set_ or ():
        _set(body, text)
    on = session(context, as_json)
    on.show(on.client.put(f"/v1/accounts/{segment(name)}", body), lambda view: output.accounts([view]))


@command("rm", of=accounts)
def remove(
    context: typer.Context,
    name: AccountName,
    drain: Annotated[bool, typer.Option("--drain", help="With calls up: let it go when they have ended.")] = False,
    as_json: Json = False,
) -> None:
    """Unregister an account that was made at run time, and forget it."""
    on = session(context, as_json)
    left = on.client.delete(f"/v1/accounts/{segment(name)}", **({"drain": "true"} if drain else {}))
    on.show(left, lambda view: "removed" if view is None else "it goes when its calls have ended")


@command("reload")
def reload(context: typer.Context, as_json: Json = False) -> None:
    """Read the configuration again; calls go on. Exit code 78: it is wrong, and nothing was changed."""
    on = session(context, as_json)
    on.show(on.client.post("/v1/reload", timeout_s=60.0), _reloaded)


@command("dnd")
def do_not_disturb(
    context: typer.Context,
    off: Annotated[bool, typer.Option("--off", help="Take calls again.")] = False,
    as_json: Json = False,
) -> None:
    """Do not disturb: refuse every incoming call, over restarts too."""
    on = session(context, as_json)
    path = "/v1/do-not-disturb"
    if off:
        on.client.delete(path)
    else:
        on.client.post(path)
    on.show(on.client.get(path), lambda view: f"do not disturb: {'on' if view['do_not_disturb'] else 'off'}")


def _password(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(USAGE, f"{file}: {error}", "name a file that holds the password alone") from error
    return text.removesuffix("\n")


def _set(body: dict[str, Any], text: str) -> None:
    """``recovery.keepalive_s=30`` into the body. A value is JSON when it is JSON, else text."""
    key, equals, value = text.partition("=")
    *tables, name = key.split(".")
    if not equals or not all((*tables, name)):
        raise Failure(USAGE, f"{text!r} sets nothing", "write --set recovery.keepalive_s=30")
    for table in tables:
        body = body.setdefault(table, {})
        if not isinstance(body, dict):
            raise Failure(USAGE, f"{table!r} is no table", "write --set recovery.keepalive_s=30")
    try:
        body[name] = json.loads(value)
    except ValueError:
        body[name] = value


def _reloaded(view: dict[str, Any]) -> str:
    """What came of a reload, a line for each kind of thing."""
    lines = {
        **{f"accounts {word}": names for word, names in view["accounts"].items()},
        "in force now": view["applied"],
        "after a restart": view["restart_needed"],
    }
    told = [f"{what}: {output.clean(', '.join(names))}" for what, names in lines.items() if names]
    told += [f"note: {output.clean(warning)}" for warning in view["warnings"]]
    return "\n".join(told) or "nothing has changed"
