"""`phoned init`: a first configuration and its secret file, asked for or given."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from phoned.cli.common import ConfigOption, fail
from phoned.cli.files import NewFile, write_all
from phoned.config.places import SYSTEM_FILE


def command(
    url: Annotated[str | None, typer.Option(help="The server: wss://edge.example.org/ws")] = None,
    user: Annotated[str | None, typer.Option(help="alice, or alice@example.org")] = None,
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Holds the password; mode 0600. '-': read it from stdin.")
    ] = None,
    audio: Annotated[
        bool | None, typer.Option("--audio/--headless", help="Use this machine's sound device, or none.")
    ] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing; what is missing is an error.")] = False,
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing files; the old ones are kept beside them (.bak).")
    ] = False,
    examine: Annotated[bool, typer.Option("--doctor/--no-doctor", help="Try it out afterwards.")] = True,
) -> None:
    """Write a configuration for one account. The password goes to a file of its own, readable by you alone.

    Then the doctor tries whether it works. Its findings do not change the exit code: 0 says that the files are written;
    'phoned doctor' tells by its own."""
    path = config or default_path()
    if path.exists() and not force:
        raise typer.Exit(fail(f"{path} exists: use --force to replace it, or --config for another file"))
    if no_input and (url is None or user is None):
        raise typer.Exit(fail("--no-input needs --url and --user", status=2))
    url = _with_scheme(url) if url is not None else typer.prompt("Server (wss://...)", value_proc=_server, err=True)
    user = user or str(typer.prompt("User (alice or alice@example.org)", err=True))
    own = path.parent / f"{account_id(user.removeprefix('sip:'))}.secret"
    if own.exists() and not force and password_file in (None, "-") and not (no_input and password_file is None):
        hint = f"--password-file {own} uses it, --force replaces it (the old one is kept)"
        raise typer.Exit(fail(f"{own} exists: {hint}"))
    secret, secret_path = _secret(own, password_file, no_input)
    if audio is None:
        audio = not no_input and typer.confirm("Use this machine's sound device?", default=False, err=True)
    text = render(
        url=url, user=user, secret_path=secret_path, audio=audio, beside=path.parent, state_dir=units_state_dir(path)
    )
    _check(text, path)
    for kept in _write(path, text, secret, secret_path):
        print(f"kept the old file as {kept}", file=sys.stderr)
    print(path, flush=True)
    if audio:
        print(sound_found(), file=sys.stderr)
    if examine:
        _try_out(path)
    run = "phoned run" if config is None else f"phoned run --config {path}"
    print(f"written. Next: {run}", file=sys.stderr)


def sound_found(program: Sequence[str] | None = None) -> str:
    """What ``default`` may be replaced by, as a note; or why there is no sound yet."""
    import asyncio

    from phoned.audio.portaudio import PROGRAM, PortAudio
    from phoned.doctor.devices import devices_of

    async def look() -> str:
        try:
            found = await devices_of(PortAudio(program or PROGRAM))
        except TimeoutError:
            return "the sound libraries do not answer; 'phoned doctor' looks again"
        if isinstance(found, str):
            return f"no sound yet: {found}"
        names = {kind: [one.name for one in found if kind in one.kinds] for kind in ("input", "output")}
        told = [f"  {kind}: {', '.join(all_) or 'none'}" for kind, all_ in names.items()]
        return "\n".join(("sound: the system's default devices; [audio] may name others:", *told))

    return asyncio.run(look())


def _try_out(path: Path) -> None:
    """What the doctor says, as a note."""
    from phoned.cli import doctor

    if doctor.run(path, as_json=False, notes=True) != 0:
        print(f"mend that, then try again: phoned doctor --config {path}", file=sys.stderr)


def _with_scheme(text: str) -> str:
    """``edge.example.org/ws`` is what people type."""
    return text if "://" in text else f"wss://{text}"


def _server(text: str) -> str:
    """What was typed, as a URL that the configuration takes; else it is asked again."""
    from pydantic import TypeAdapter, ValidationError

    from phoned.config.accounts import WebSocketUrl

    try:
        return str(TypeAdapter(WebSocketUrl).validate_python(_with_scheme(text.strip())))
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def default_path() -> Path:
    """Where the daemon looks first: the user's, or the machine's for root."""
    if os.geteuid() == 0 and "XDG_CONFIG_HOME" not in os.environ:
        return SYSTEM_FILE
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "phoned" / "phoned.toml"


def units_state_dir(path: Path) -> Path | None:
    """The state directory of the systemd unit that reads this file; None for a file that none reads. A unit has it from
    systemd; the other commands, in a shell, would look elsewhere if the file did not name it."""
    path = Path(os.path.abspath(path))
    machines = SYSTEM_FILE.parent
    if path.parent.parent == machines and path.parent.name != "conf.d" and path.name == SYSTEM_FILE.name:
        return Path(f"/var/lib/phoned-{path.parent.name}")  # phoned@NAME
    return Path("/var/lib/phoned") if path.is_relative_to(machines) else None


def render(
    *, url: str, user: str, secret_path: Path | None, audio: bool, beside: Path, state_dir: Path | None = None
) -> str:
    """The TOML text of one account."""
    address = user.removeprefix("sip:")
    if "@" not in address:
        address += f"@{urlsplit(url).hostname or ''}"
    lines = [] if state_dir is None else ["[phone]", f"state_dir = {_quoted(str(state_dir))}", ""]
    lines += ["[[accounts]]", f"id = {_quoted(account_id(address))}", f"aor = {_quoted(f'sip:{address}')}"]
    if secret_path is not None:
        shown = secret_path.name if secret_path.parent == beside else str(secret_path)
        lines.append(f"password_file = {_quoted(shown)}")
    lines += [f"outbound_proxy = {_quoted(url)}", "", "[audio]"]
    lines += [f"{key} = {_quoted('default' if audio else 'none')}" for key in ("input", "output", "ring")]
    return "\n".join(lines) + "\n"


def account_id(address: str) -> str:
    """A name for the account: the user part, as far as an id may hold it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", address.partition("@")[0]).strip("-._")
    return name[:64] or "main"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)  # a JSON string in ASCII is a TOML basic string


def _secret(own: Path, password_file: str | None, no_input: bool) -> tuple[str | None, Path | None]:
    """The password that must be written, if any, and the file that holds it or will."""
    from phoned.config.secrets import BadSecret, read_secret_file

    if password_file == "-":
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise typer.Exit(fail("no password on stdin"))
        return password, own
    if password_file is not None:
        given = Path(password_file).resolve()
        try:
            read_secret_file(given)
        except BadSecret as error:
            raise typer.Exit(fail(error.detail)) from None
        return None, given
    if no_input:
        return None, None
    password = typer.prompt("Password (empty: none)", hide_input=True, default="", show_default=False, err=True)
    return (password, own) if password else (None, None)


def _check(text: str, path: Path) -> None:
    """Refuse what `phoned run` would refuse, before anything is written. Raises `ConfigError`."""
    import tomllib

    from pydantic import ValidationError

    from phoned.config.accounts import AccountConfig
    from phoned.config.report import ConfigError, Origin
    from phoned.config.shape import problems_of

    account = tomllib.loads(text)["accounts"][0]
    try:
        AccountConfig.model_validate(account)
    except ValidationError as error:
        origin = Origin(source=str(path))
        raise ConfigError(problems_of(error, AccountConfig, (), lambda _: origin)) from None


def _daemons_group(path: Path) -> int | None:
    """The group ``phoned``, when root writes the machine's own configuration and the group exists."""
    import grp

    if os.geteuid() != 0 or not path.is_relative_to("/etc"):
        return None
    try:
        return grp.getgrnam("phoned").gr_gid
    except KeyError:
        return None


def _write(path: Path, text: str, secret: str | None, secret_path: Path | None) -> list[Path]:
    """Both files or none, the secret first, so that the configuration never names a file that is not there. Returns
    where old ones went."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files = []
    if secret is not None and secret_path is not None:
        group = _daemons_group(path)  # the system's daemon is not root, and must be able to read it
        mode = 0o600 if group is None else 0o640
        files.append(NewFile(path=secret_path, content=f"{secret}\n".encode(), mode=mode, group=group))
    files.append(NewFile(path=path, content=text.encode(), mode=0o644))
    return write_all(files)
