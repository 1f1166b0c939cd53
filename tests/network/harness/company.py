"""What a call has with it: a playback, a recording and a bot. What is done to the call must not touch them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.network.harness.scene import SETTLED_S, Scene, Story
from tests.support.child import until
from tests.support.stream_bots import Bot, bot_beside, count, undisturbed

SLACK_S = 1.0
"""What a recording may be shorter than the time for which it was asked: what a crash may cost, too."""


class Company:
    """On the call of a story, from its making on. Raises `AssertionError` or `TimeoutError` for what did not last."""

    def __init__(self, story: Story, bot: Bot) -> None:
        self._story = story
        self._bot = bot
        phone, call = story.phone, story.call_id
        self._stream: str = phone.verb(call, "streams", status=201, url=bot.url)["id"]
        until(lambda: bot.talks and bot.talks[0].counted, "the bot counts")
        self._recording: str = phone.verb(call, "record", status=201, format="wav")["id"]
        self._since = time.monotonic()
        path = f"/v1/recordings/{self._recording}"
        until(lambda: phone.get(path)["duration_s"] > SETTLED_S, "it is recorded")

    def goes_on(self) -> None:
        """One conversation without a seam, the same playback, one recording of the whole time."""
        phone = self._story.phone
        counted = undisturbed(self._bot).counted
        until(lambda: self._bot.talks[0].counted > counted + 3, "the bot goes on")
        undisturbed(self._bot)
        assert phone.get(f"/v1/streams/{self._stream}")["state"] == "started"
        playback = self._playback()
        assert playback["state"] == "playing"
        until(lambda: self._playback()["position_s"] != playback["position_s"], "the playback goes on")
        self._ends(self._recording, time.monotonic() - self._since)

    def goes_on_anew(self, killed_at: float) -> None:
        """After SIGKILL: the bot is dialled again under the stream's id, the recording is finished, and goes on in a
        file of its own. A playback is not (README)."""
        phone, bot = self._story.phone, self._bot
        until(lambda: len(bot.talks) == 2 and bot.talks[1].counted, "the bot was dialled again")
        assert bot.talks[1].sid == bot.talks[0].sid
        assert phone.get(f"/v1/streams/{self._stream}")["state"] == "started"
        kept = phone.get(f"/v1/recordings/{self._recording}")
        assert kept["recovered"]
        assert kept["duration_s"] >= killed_at - self._since - SLACK_S, kept
        running = [each for each in phone.get("/v1/recordings")["data"] if each["state"] == "recording"]
        assert len(running) == 1, running
        self._ends(running[0]["id"], 0.0)

    def _playback(self) -> dict[str, Any]:
        return dict(self._story.phone.get(f"/v1/playbacks/{self._story.playback}"))

    def _ends(self, recording: str, least_s: float) -> None:
        ended = self._story.phone.post(f"/v1/recordings/{recording}/stop")
        assert ended["state"] == "finished", ended
        assert ended["duration_s"] >= least_s - SLACK_S, ended


@contextmanager
def accompanied(scene: Scene, *, both_uplinks: bool = False) -> Iterator[tuple[Story, Company]]:
    """A phone with a call up, and `Company` on it."""
    with ExitStack() as stack:
        with scene.lab.entered("phone"):
            bot = stack.enter_context(bot_beside(count))
        story = stack.enter_context(scene.story(both_uplinks=both_uplinks))
        yield story, Company(story, bot)
