"""The commands of `phonectl`. Exit codes: 0 ok, 1 error, 2 usage, 3 daemon not reachable, 4 not found, 5 wrong state,
6 call not answered, 7 auth, 8 timeout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from api.ctl import complete, output
from api.ctl.arguments import AccountName, AnyCall, Call, FromAccount, Json
from api.ctl.client import ERROR, NOT_ANSWERED, USAGE, Failure
from api.ctl.follow import follow as following
from api.ctl.session import Options, app, command, segment, session


@app.callback()
def options(
    context: typer.Context,
    socket: Annotated[str | None, typer.Option(help="The daemon's unix socket (PHONED_SOCKET).")] = None,
    url: Annotated[
        str | None, typer.Option(help="The daemon's address (PHONED_URL), e.g. http://127.0.0.1:8760.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="A file that holds a token (or PHONED_TOKEN).")] = None,
    as_json: Json = False,
) -> None:
    """Control a running phoned."""
    context.obj = Options(socket=socket, url=url, token_file=token_file, as_json=as_json, environ=os.environ)


@command("status")
def status(context: typer.Context, as_json: Json = False) -> None:
    """The phone at a glance."""
    on = session(context, as_json)
    on.show(on.client.get("/v1/status"), output.status)


@command("register")
def register(context: typer.Context, account: AccountName, as_json: Json = False) -> None:
    """Register an account, now if it waits for its next attempt."""
    on = session(context, as_json)
    on.client.post(f"/v1/accounts/{segment(account)}/register")
    on.show(on.client.post(f"/v1/accounts/{segment(account)}/retry"), lambda view: output.accounts([view]))


@command("proxy")
def proxy(
    context: typer.Context,
    account: AccountName,
    use: Annotated[Literal["primary", "backup", "auto"], typer.Argument(help="Where to go; auto: recovery chooses.")],
    as_json: Json = False,
) -> None:
    """Move an account to its primary or backup outbound proxy, make before break."""
    on = session(context, as_json)
    moved = on.client.post(f"/v1/accounts/{segment(account)}/outbound-proxy", {"use": use})
    on.show(moved, lambda view: output.accounts([view]))


@command("unregister")
def unregister(context: typer.Context, account: AccountName, as_json: Json = False) -> None:
    """Take an account off its registrar."""
    on = session(context, as_json)
    on.show(on.client.post(f"/v1/accounts/{segment(account)}/unregister"), lambda view: output.accounts([view]))


@command("call")
def call(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="A SIP URI, a name at the account's domain, or a number like +49...")],
    account: FromAccount = None,
    wait: Annotated[
        Literal["none", "ringing", "answered"], typer.Option(help="Return when it rings or is answered.")
    ] = "none",
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds until nobody answers.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Call somebody. With --wait, exit code 6 says that it was refused or that nobody answered in time."""
    on = session(context, as_json)
    body = {"account": on.only_account(account), "to": to, "wait": wait, "timeout_s": timeout}
    try:
        placed = on.client.post("/v1/calls", body, timeout_s=timeout + 15.0)
    except Failure as failure:
        if failure.problem is not None and failure.problem["code"] == "deadline_exceeded":
            failure.code = NOT_ANSWERED  # the far end did not answer; the daemon did
        raise
    on.show(placed, lambda view: output.calls([view]))


@command("calls")
def calls(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Ended calls too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: Json = False,
) -> None:
    """The calls, newest first."""
    on = session(context, as_json)
    states = None if every else ["queued", "dialing", "ringing", "early_media", "active"]
    on.show(on.client.get("/v1/calls", state=states, limit=limit)["data"], output.calls)


@command("answer")
def answer(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """Answer an incoming call."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "ringing", direction="in"), "answer")


@command("reject")
def reject(
    context: typer.Context,
    call: Call = None,
    code: Annotated[int, typer.Option(min=400, max=699, help="The SIP status to refuse with.")] = 486,
    as_json: Json = False,
) -> None:
    """Refuse an incoming call."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "ringing", direction="in"), "reject", {"code": code})


@command("hangup")
def hangup(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """End a call."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "queued", "dialing", "ringing", "early_media", "active"), "hangup")


@command("hold")
def hold(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """Put the far end on hold."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "hold")


@command("unhold")
def unhold(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """Talk again."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "unhold")


@command("transfer")
def transfer(
    context: typer.Context,
    to: Annotated[str | None, typer.Argument(help="Whom the far end shall call.")] = None,
    call: Annotated[
        str | None,
        typer.Option(help="The call's id; may be left out when only one call fits.", autocompletion=complete.calls),
    ] = None,
    replaces: Annotated[
        str | None,
        typer.Option(
            metavar="CALL",
            help="Instead: the call whose far end it shall talk to.",
            autocompletion=complete.calls,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hand a far end over to somebody else. `events --follow` shows how it goes."""
    on = session(context, as_json)
    if (to is None) is (replaces is None):
        raise Failure(USAGE, "say either whom to call, or --replaces CALL")
    body = {"to": to} if to is not None else {"replaces": replaces}
    on.verb(on.only_call(call, "active"), "transfer", body)


@command("mute")
def mute(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """Send silence."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "mute")


@command("unmute")
def unmute(context: typer.Context, call: Call = None, as_json: Json = False) -> None:
    """Send sound again."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "unmute")


@command("dtmf")
def dtmf(
    context: typer.Context,
    digits: Annotated[str, typer.Argument(help="0-9 * # A-D, and w for half a second.")],
    call: Call = None,
    method: Annotated[Literal["auto", "rfc4733", "info", "inband"], typer.Option()] = "auto",
    as_json: Json = False,
) -> None:
    """Send digits."""
    on = session(context, as_json)
    on.verb(on.only_call(call, "active"), "dtmf", {"digits": digits, "method": method})


@command("collect")
def collect(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(help="What to ask with: a file below the media directory.")] = None,
    call: Call = None,
    max_digits: Annotated[int, typer.Option(min=1, max=128)] = 32,
    terminators: Annotated[str, typer.Option(help="Keys that end the input.")] = "#",
    first_digit_s: Annotated[float, typer.Option(help="From the end of the prompt.")] = 10.0,
    between_digits_s: Annotated[float, typer.Option()] = 4.0,
    timeout_s: Annotated[float, typer.Option(min=1, max=600, help="For all of it.")] = 120.0,
    barge_in: Annotated[bool, typer.Option(help="A key ends the prompt.")] = True,
    type_ahead: Annotated[bool, typer.Option("--type-ahead", help="Keys pressed before count, too.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the far end for digits, and print them."""
    on = session(context, as_json)
    body = {
        **({} if file is None else {"play": {"file": file}}),
        "max_digits": max_digits,
        "terminators": terminators,
        "first_digit_s": first_digit_s,
        "between_digits_s": between_digits_s,
        "timeout_s": timeout_s,
        "barge_in": barge_in,
        "type_ahead": type_ahead,
    }
    path = f"/v1/calls/{on.only_call(call, 'active')}/collect"
    on.show(on.client.post(path, body, timeout_s=timeout_s + 15.0), lambda view: str(view["digits"]))


@command("play")
def play(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(help="A file below the media directory.")] = None,
    call: Call = None,
    then: Annotated[list[str] | None, typer.Option(help="Another file, after it; again for more.")] = None,
    tone: Annotated[str | None, typer.Option(help="A tone in the place of a file.")] = None,
    url: Annotated[str | None, typer.Option(help="A URL in the place of a file.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Over and over.")] = False,
    times: Annotated[int, typer.Option(min=1, help="So many rounds.")] = 1,
    duration_ms: Annotated[int | None, typer.Option(min=20, help="It ends after so long.")] = None,
    mix: Annotated[bool, typer.Option("--mix", help="Beside the other sources.")] = False,
    as_json: Json = False,
) -> None:
    """Play files, a tone or what a URL gives into a call."""
    on = session(context, as_json)
    sources = {"files": [file, *then]} if file and then else {"file": file}
    given = {name: value for name, value in {**sources, "tone": tone, "url": url}.items() if value is not None}
    if len(given) != 1 or (then and file is None):
        raise Failure(USAGE, "give a file, --tone or --url", "phonectl play welcome.wav")
    limit = {} if duration_ms is None else {"duration_ms": duration_ms}
    body = {**given, **limit, "loop": True if loop else times, "mix": mix}
    on.show(on.client.post(f"/v1/calls/{on.only_call(call, 'active')}/play", body), output.pairs)


@command("record")
def record(
    context: typer.Context,
    call: Call = None,
    stop: Annotated[str | None, typer.Option(help="Stop this recording.", autocompletion=complete.recordings)] = None,
    format_: Annotated[Literal["wav", "opus"], typer.Option("--format")] = "wav",
    channels: Annotated[Literal["stereo", "mixed"], typer.Option()] = "stereo",
    beep: Annotated[bool, typer.Option("--beep", help="Both ends hear that it runs.")] = False,
    as_json: Json = False,
) -> None:
    """Record a call, or stop doing so."""
    on = session(context, as_json)
    if stop is not None:
        on.show(on.client.post(f"/v1/recordings/{segment(stop)}/stop"), output.pairs)
        return
    body = {"format": format_, "channels": channels, "beep": beep}
    on.show(on.client.post(f"/v1/calls/{on.only_call(call, 'active')}/record", body), output.pairs)


@command("stats")
def stats(context: typer.Context, call: AnyCall = None, as_json: Json = False) -> None:
    """How good the call sounds."""
    on = session(context, as_json)
    on.show(on.client.get(f"/v1/calls/{on.only_call(call, 'active')}/stats"), output.pairs)


@command("trace")
def trace(
    context: typer.Context,
    call: AnyCall = None,
    pcap: Annotated[Path | None, typer.Option(help="Write a capture that Wireshark opens to this file.")] = None,
    as_json: Json = False,
) -> None:
    """The SIP of a call, also of one that has ended (name it then), without secrets."""
    on = session(context, as_json)
    path = f"/v1/calls/{on.only_call(call, 'ringing', 'early_media', 'active')}/trace"
    if pcap is not None:
        capture = on.client.download(path, "application/vnd.tcpdump.pcap")
        try:
            pcap.write_bytes(capture)
        except OSError as error:
            raise Failure(ERROR, f"{pcap}: {error.strerror}", "name a file that can be written") from error
        output.note(f"{len(capture)} bytes in {pcap}")
        return
    on.show(on.client.get(path), lambda _: "\n".join(map(output.clean, on.client.text(path).splitlines())))


@command("message")
def message(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="A number or a SIP address.")],
    text: Annotated[str, typer.Argument(help="What to say.")],
    account: FromAccount = None,
    as_json: Json = False,
) -> None:
    """Send text."""
    on = session(context, as_json)
    body = {"account": on.only_account(account), "to": to, "body": text}
    on.show(on.client.post("/v1/messages", body, timeout_s=45.0), lambda view: f"{view['state']} {view['id']}")


@command("events")
def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, also across a restart of the daemon.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Begin behind this sequence number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, without --follow.")] = 100,
    as_json: Json = False,
) -> None:
    """What happened; with --follow what happens. One line each (NDJSON with --json)."""
    on = session(context, as_json)
    if not follow:
        for item in on.client.get("/v1/events", after=after, limit=limit)["data"]:
            on.show(item, output.event)
        return
    for item in following(
        on.client,
        after,
        lost=lambda: output.note("phonectl: connection lost, looking for the daemon"),
        back=lambda: output.note("phonectl: connected again"),
    ):
        on.show(item, output.event)
