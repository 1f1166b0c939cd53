"""A telephone menu: plays a file, takes a key, and hands the caller over.

    [ivr]
    menu = "menu.wav"                            # files lie in [media] media_dir
    extensions = { 1 = "200", 2 = "201" }

A caller who presses nothing hears the menu again, three times; a key that leads nowhere, or a server that refuses the
transfer, is told with `sorry`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import Field

from phoned.bots import Bot, BotCall, BotConfig
from phoned.errors import PhonedError

log = logging.getLogger(__name__)

ROUNDS = 3


class IvrConfig(BotConfig):
    """``[ivr]``: the keys of every bot, and these."""

    menu: str = "menu.wav"
    sorry: str = "sorry.wav"
    extensions: Mapping[str, str] = Field(default={"1": "200"})


async def talk(call: BotCall, config: IvrConfig) -> None:
    """One caller."""
    await call.answer()
    for _ in range(ROUNDS):
        await call.play(config.menu, stop_at_digit=True)
        key = await call.digits(1, timeout_s=5.0)
        if not key:
            continue
        if key in config.extensions:
            try:
                await call.transfer(config.extensions[key])
                return await call.over()  # it ends when the caller talks to the other
            except PhonedError as error:
                log.warning("%s: no transfer to %s: %s", call.id, config.extensions[key], error.detail)
        await call.play(config.sorry)


plugin = Bot("ivr", talk, IvrConfig)
