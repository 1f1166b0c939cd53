"""Commands of `phonectl stream`: bots on calls."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api.ctl import complete, output
from api.ctl.arguments import AnyCall, Call, Json
from api.ctl.client import NOT_FOUND, USAGE, Failure
from api.ctl.session import Session, command, group, guarded, segment, session

HEADER_FIX = "write --header 'Authorization: Bearer ...', or --header @FILE with such lines"

Id = Annotated[
    str | None,
    typer.Argument(
        metavar="STREAM",
        help="The stream's id; may be left out when only one runs.",
        autocompletion=complete.streams,
        show_default=False,
    ),
]

streams = group("stream", "Bots on calls: programs that hear a call over a WebSocket, and speak in it.")


@streams.callback(invoke_without_command=True)
@guarded
def listing(context: typer.Context, as_json: Json = False) -> None:
    """The streams, newest first."""
    if context.invoked_subcommand is None:
        _list(context, None, as_json)


@command("start", streams)
def start(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="The bot's WebSocket, like wss://bot.example.org/ws.")],
    call: Call = None,
    protocol: Annotated[
        Literal["twilio", "l16"], typer.Option(help="Twilio Media Streams, or linear PCM as Vonage has it.")
    ] = "twilio",
    sample_rate: Annotated[int, typer.Option(help="8000; with l16 also 16000 and 24000.")] = 8000,
    tracks: Annotated[
        Literal["inbound", "both"], typer.Option(help="What it hears: the far end, or both ends (twilio).")
    ] = "inbound",
    parameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="For the bot to read. May be repeated.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME: VALUE",
            help="Of the upgrade; @FILE (@- for stdin) reads such lines, for secrets. May be repeated.",
        ),
    ] = None,
    on_close: Annotated[
        Literal["hangup", "keep", "reconnect"], typer.Option(help="What becomes of the call when the bot leaves.")
    ] = "hangup",
    while_away: Annotated[
        Literal["silence", "music"], typer.Option(help="What the far end hears while the bot is dialled.")
    ] = "silence",
    as_json: Json = False,
) -> None:
    """Give a call to a bot. Returns before the bot has answered: 'phonectl stream show' tells how that went."""
    body = {
        "url": url,
        "protocol": protocol,
        "sample_rate": sample_rate,
        "tracks": tracks,
        "parameters": dict(_parameter(text) for text in parameter or ()),
        "headers": dict(_headers(header or ())),
        "on_close": on_close,
        "while_away": while_away,
    }
    on = session(context, as_json)
    _show(on, on.client.post(f"/v1/calls/{on.only_call(call, 'active')}/streams", body))


@command("list", streams)
def list_(context: typer.Context, call: AnyCall = None, as_json: Json = False) -> None:
    """The streams of all calls, or of one, newest first; also those that are over."""
    _list(context, call, as_json)


@command("show", streams)
def show(context: typer.Context, stream: Id = None, as_json: Json = False) -> None:
    """One stream: how it is, how much was said and heard, and why it ended."""
    on = session(context, as_json)
    on.show(on.client.get(f"/v1/streams/{_only(on, stream)}"), output.pairs)


@command("stop", streams)
def stop(context: typer.Context, stream: Id = None, as_json: Json = False) -> None:
    """Take a bot off its call, which goes on."""
    on = session(context, as_json)
    path = f"/v1/streams/{_only(on, stream)}"
    on.client.delete(path)
    _show(on, on.client.get(path))


def _list(context: typer.Context, call: str | None, as_json: bool) -> None:
    on = session(context, as_json)
    on.show(on.client.get("/v1/streams", call=None if call is None else segment(call))["data"], table)


def _show(on: Session, view: Mapping[str, Any]) -> None:
    on.show(view, lambda view: table([view]))


def _only(on: Session, stream: str | None) -> str:
    """``stream``, or the one that runs."""
    if stream is not None:
        return segment(stream)
    running = [
        view["id"] for view in on.client.get("/v1/streams")["data"] if view["state"] not in ("stopped", "failed")
    ]
    if not running:
        raise Failure(NOT_FOUND, "no stream runs", "see 'phonectl stream list'")
    if len(running) > 1:
        raise Failure(USAGE, f"{len(running)} streams run", "name one of: " + ", ".join(running))
    return str(running[0])


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Failure(USAGE, f"{text!r} is no parameter", "write --parameter language=en")
    return name, value


def _headers(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    """What is given, and the lines of files that are. What cannot be read is not repeated: it may be secret."""
    for text in texts:
        for line in _lines(text[1:]) if text.startswith("@") else [text]:
            name, colon, value = line.partition(":")
            if not (name.strip() and colon):
                raise Failure(USAGE, "this is no header", HEADER_FIX)
            yield name.strip(), value.strip()


def _lines(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(USAGE, f"{file}: {error}", HEADER_FIX) from error
    return [line for line in text.splitlines() if line.strip()]


def table(views: Sequence[Mapping[str, Any]]) -> str:
    """The streams, and why one of them is not up."""
    if not views:
        return "no streams"
    rows = [
        (
            view["id"],
            view["state"],
            f"{view['protocol']} {view['sample_rate']}",
            *(f"{view[name] / 1000:.1f}s" for name in ("sent_ms", "played_ms", "queued_ms")),
            view["call"],
            view["url"],
            view["detail"] or "",
        )
        for view in views
    ]
    return output.table(("STREAM", "STATE", "PROTOCOL", "HEARD", "SAID", "WAITS", "CALL", "BOT", "WHY"), rows)
