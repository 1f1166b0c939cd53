"""Are the sound devices there that the configuration names? None is opened: a call may have them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phoned.audio import bells, choice
from phoned.audio.sound import SoundSystem
from phoned.config.schema import AudioConfig
from phoned.doctor.chain import Chain
from phoned.doctor.surroundings import off_loop
from phoned.errors import PhonedError
from phoned.model import DeviceKind, DeviceView

LOOK_S = 10.0
RATE = 16_000


async def check(chain: Chain, audio: AudioConfig, sound: Callable[[], SoundSystem]) -> None:
    """The check ``audio``."""
    wanted = {role: str(getattr(audio, role)) for role in ("input", "output", "ring")}
    wanted = {role: name for role, name in wanted.items() if name != choice.NONE}
    if not wanted:
        chain.passed("none configured")
        return
    try:
        devices = await devices_of(sound())
    except TimeoutError:
        chain.failed("the sound libraries do not answer", "see whether the sound server hangs: pactl info; aplay -l")
        return
    if isinstance(devices, str):
        what, _, cure = devices.partition(": ")
        chain.failed(f"there is no sound: {what}", cure or "try it by hand: python -m phoned.audio.card watch")
        return
    found: list[str] = []
    for role, name in wanted.items():
        kind: DeviceKind = "input" if role == "input" else "output"
        used = choice.pick(choice.candidates(name, audio.fallback), devices, kind)
        if used is None:
            chain.failed(f"[audio] {role}: there is no {kind} device {name!r}", _cure(role, name, devices, kind))
            return
        missing = "" if choice.find(name, devices, kind) else f" ({name} is not there now)"
        found.append(f"{role}: {used}{missing}")
    try:
        await off_loop(lambda: bells.ringtone(audio.ringtone, RATE), LOOK_S)
    except (OSError, PhonedError, TimeoutError) as error:
        chain.failed(f"[audio] ringtone: {audio.ringtone}: {error}", "name a WAV file that the phone can read")
        return
    chain.passed(", ".join(found))


def _cure(role: str, name: str, devices: tuple[DeviceView, ...], kind: DeviceKind) -> str:
    near = choice.nearest(name, devices, kind)
    if not near:
        return (
            f"no {kind} device is there at all: plug one in; the phone's user must be in the group audio, or run in the"
            ' session whose sound server it shall use (systemd/); or set "none"'
        )
    return f"set [audio] {role} to one of: {', '.join(near)}; or plug it in"


async def devices_of(sound: SoundSystem) -> tuple[DeviceView, ...] | str:
    """Those that there are, or why there is no sound. Raises `TimeoutError`."""
    told: asyncio.Future[tuple[DeviceView, ...] | str] = asyncio.get_running_loop().create_future()

    def tell(what: tuple[DeviceView, ...] | str) -> None:
        if not told.done():
            told.set_result(what)

    try:
        sound.watch(tell, tell)
        async with asyncio.timeout(LOOK_S):
            return await told
    finally:
        await sound.close()
