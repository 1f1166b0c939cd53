"""Bots: programs that talk on the phone, written as one coroutine a call, installed beside phoned as plug-ins.

A `Bot` is what an entry point of the group ``phoned.services`` names. It runs in a thread with a loop of its own: a bot
that computes, blocks or crashes costs neither its call nor others their sound.
"""

from __future__ import annotations

from phoned.bots.call import BotCall as BotCall
from phoned.bots.config import BotConfig as BotConfig
from phoned.bots.plugin import Bot as Bot
