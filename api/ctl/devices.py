"""Commands of `phonectl devices` and `phonectl volume`: microphone, speaker and bell of the phone's machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from api.ctl import output
from api.ctl.arguments import Json
from api.ctl.session import command, group, guarded, segment, session

PATH = "/v1/devices"
TRIAL_S = 20.0
ROLES = ("input", "output", "ring")

Role = Annotated[Literal["input", "output", "ring"], typer.Argument(help="The microphone, the speaker or the bell.")]

devices = group("devices", "The machine's sound devices, and what the phone uses of them.")


@devices.callback(invoke_without_command=True)
@guarded
def listing(context: typer.Context, as_json: Json = False) -> None:
    """The machine's sound devices, and what the phone uses of them."""
    if context.invoked_subcommand is None:
        on = session(context, as_json)
        on.show(on.client.get(PATH), shown)


@command("use", devices)
def use(
    context: typer.Context,
    role: Role,
    device: Annotated[str, typer.Argument(help="A name of 'phonectl devices', default, none; config: as configured.")],
    as_json: Json = False,
) -> None:
    """Use another device from now on, over restarts too."""
    _change(context, {role: {"device": None if device == "config" else device}}, as_json)


@command("mute", devices)
def mute(
    context: typer.Context,
    role: Role,
    off: Annotated[bool, typer.Option("--off", help="Let it sound again.")] = False,
    as_json: Json = False,
) -> None:
    """Mute a device, for all calls and over restarts. One call alone is muted by 'phonectl mute'."""
    _change(context, {role: {"muted": not off}}, as_json)


@command("gain", devices)
def gain(
    context: typer.Context,
    gain_db: Annotated[float, typer.Argument(min=-60, max=30, help="In dB; 0 leaves it as it is.")],
    as_json: Json = False,
) -> None:
    """Make the microphone louder or softer. A negative gain is written after --: phonectl devices gain -- -6"""
    _change(context, {"input": {"gain_db": gain_db}}, as_json)


@command("front", devices)
def front(
    context: typer.Context,
    call: Annotated[str, typer.Argument(help="A call's id, or auto: the newest answered one.")],
    as_json: Json = False,
) -> None:
    """Hand microphone and speaker to a call."""
    _change(context, {"call": None if call == "auto" else segment(call)}, as_json)


@command("test", devices)
def send_test(context: typer.Context, as_json: Json = False) -> None:
    """Play a tone and listen for it. Exit code 0 also when it was not heard: see what is said."""
    on = session(context, as_json)
    on.show(on.client.post(f"{PATH}/test", timeout_s=TRIAL_S), tried)


@command("volume")
def volume(
    context: typer.Context,
    percent: Annotated[int | None, typer.Argument(min=0, max=100, help="Without: say what it is.")] = None,
    ring: Annotated[bool, typer.Option("--ring", help="Of the bell, not of the speaker.")] = False,
    as_json: Json = False,
) -> None:
    """How loud the speaker is, or the bell."""
    on = session(context, as_json)
    role = "ring" if ring else "output"
    order = {role: {"volume_pct": percent}}
    view = on.client.get(PATH) if percent is None else on.client.patch(PATH, order)
    on.show(view[role], lambda one: f"{one['volume_pct']} %{' (muted)' if one['muted'] else ''}")


def _change(context: typer.Context, order: Mapping[str, Any], as_json: bool) -> None:
    on = session(context, as_json)
    on.show(on.client.patch(PATH, order), shown)


def shown(view: Mapping[str, Any]) -> str:
    """Roles first, then the devices that there are."""
    roles = [
        (
            role,
            view[role]["device"],
            view[role]["state"],
            view[role]["using"] or "-",
            _level(role, view[role]),
            f"{view[role]['level_dbov']:.0f} dBov" if view[role]["state"] == "open" else "-",
            view[role]["detail"] or "",
        )
        for role in ROLES
    ]
    lines = [output.table(("USE", "WANTED", "STATE", "USES", "SET TO", "LEVEL", ""), roles), ""]
    if view["call"]:
        lines += [f"in front: {view['call']}{' (chosen)' if view['chosen'] else ''}", ""]
    found = [
        (one["name"], "+".join(one["kinds"]), "default" if one["default"] else "", one["description"])
        for one in view["devices"]
    ]
    lines.append(output.table(("DEVICE", "IS", "", "DESCRIPTION"), found) if found else "no devices")
    return "\n".join(lines)


def _level(role: str, use: Mapping[str, Any]) -> str:
    level = f"{use['gain_db']:+g} dB" if role == "input" else f"{use['volume_pct']} %"
    return f"{level} muted" if use["muted"] else level


def tried(view: Mapping[str, Any]) -> str:
    """What a test has found."""
    said = f"{view['played_hz']:g} Hz were played at {view['output']}" if view["output"] else "nothing was played"
    if not view["input"]:
        return f"{said}; nobody listened: no microphone is wanted"
    level = f"{view['level_dbov']:g} dBov (before: {view['quiet_dbov']:g})"
    if view["heard"]:
        return f"{said}, and heard by {view['input']}: {view['heard_hz']:g} Hz, {level}"
    return f"{said}, and not heard by {view['input']}: {level}. A headset is well so, a speakerphone is too soft"
