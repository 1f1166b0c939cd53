"""A bot that answers and says back what it hears.

In phoned.toml, without more: every caller gets it.

    [echo_bot]
    match = "*@example.org*"       # only these callers

In a package of your own it is found by an entry point in pyproject.toml:

    [project.entry-points."phoned.services"]
    echo_bot = "my_package.echo_bot:plugin"
"""

from __future__ import annotations

from phoned.bots import Bot, BotCall, BotConfig


async def talk(call: BotCall, config: BotConfig) -> None:
    """One call. It runs in the bot's own thread; when it returns, the call is hung up."""
    await call.answer()
    audio = await call.audio(16_000)
    async for frame in audio:  # 20 ms of mono int16 at a time, until the call ends
        audio.write(frame.heard)


plugin = Bot("echo_bot", talk)
