"""What every command of `phonectl` shares: the options before it, the client, how failures end."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, cast

import typer

from api.ctl import output
from api.ctl.client import NOT_FOUND, OK, USAGE, Client, Failure, find_target

P = ParamSpec("P")

app = typer.Typer(
    name="phonectl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What stood before the command."""

    socket: str | None
    url: str | None
    token_file: Path | None
    as_json: bool
    environ: Mapping[str, str]


class Session:
    """One command's way to the daemon and to the terminal."""

    def __init__(self, client: Client, as_json: bool) -> None:
        self.client = client
        self.as_json = as_json

    def show(self, value: Any, text: Callable[[Any], str]) -> None:
        """``value`` as JSON or as ``text`` has it."""
        output.emit(value, as_json=self.as_json, text="" if self.as_json else text(value))

    def verb(self, call: str, verb: str, body: Mapping[str, Any] | None = None) -> None:
        """Do something with a call and show it."""
        self.show(self.client.post(f"/v1/calls/{call}/{verb}", body), lambda view: output.calls([view]))

    def only_account(self, account: str | None) -> str:
        """``account``, or the one account that there is."""
        if account is not None:
            return account
        known = [str(view["id"]) for view in self.client.get("/v1/accounts")["data"]]
        if len(known) != 1:
            raise Failure(USAGE, f"there are {len(known)} accounts", "give --account, one of: " + ", ".join(known))
        return known[0]

    def only_call(self, call: str | None, *states: str, direction: str | None = None) -> str:
        """``call``, or the one call that is in one of these states."""
        if call is not None:
            return segment(call)
        found = self.client.get("/v1/calls", state=list(states), direction=direction)["data"]
        if len(found) == 1:
            return str(found[0]["id"])
        if not found:
            raise Failure(NOT_FOUND, f"no call is {' or '.join(states)}", "see 'phonectl calls'")
        raise Failure(USAGE, f"{len(found)} calls fit", "name one of: " + ", ".join(view["id"] for view in found))


def segment(text: str) -> str:
    """An id that cannot leave its place in a path."""
    if not text.strip(".") or not all(char.isalnum() or char in "_-." for char in text):
        raise Failure(USAGE, f"{output.clean(text)!r} is no id", "ids are in the first column of 'phonectl calls'")
    return text


def session(context: typer.Context, as_json: bool) -> Session:
    """The session of this command."""
    options: Options = context.obj
    target = find_target(options.socket, options.url, options.token_file, options.environ)
    client = Client(target)
    context.call_on_close(client.close)
    return Session(client, as_json or options.as_json)


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """``function``, whose `Failure` becomes lines on stderr and an exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Failure as failure:
            options: Options = cast(typer.Context, kwargs["context"]).obj
            report(failure, as_json=bool(kwargs.get("as_json")) or options.as_json)
            raise typer.Exit(failure.code) from None
        except BrokenPipeError:
            # the reader of our output left; nothing may be flushed into the pipe any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OK) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def command(name: str, of: typer.Typer = app) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A guarded command of `phonectl`, or of one of its groups."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        run = guarded(function)
        of.command(name)(run)
        return run

    return register


def group(name: str, about: str) -> typer.Typer:
    """A group of commands of `phonectl`."""
    made = typer.Typer(help=about, rich_markup_mode=None, context_settings=app.info.context_settings)
    app.add_typer(made, name=name)
    return made


def report(failure: Failure, *, as_json: bool) -> None:
    """The problem itself for programs; what happened and what would help for people. On stderr."""
    if as_json:
        document = failure.problem or {"code": "phonectl", "detail": failure.message}
        output.note(json.dumps({**document, "exit_code": failure.code}, ensure_ascii=False))
        return
    output.note(f"phonectl: {output.clean(failure.message)}")
    for each in failure.each:
        output.note(f"  {output.clean(each)}")
    if failure.fix:
        output.note(f"  try: {failure.fix}")
