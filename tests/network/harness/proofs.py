"""What must be true once the world has settled after a change."""

from __future__ import annotations

from tests.network.harness.scene import ACCOUNT, USER, Story
from tests.support.child import until

SIGNALLING_S, AUDIO_S, PATIENCE_S = 10.0, 10.0, 40.0
"""Bounds for a busy machine; how fast it is, is measured by `make bench-recovery`."""


def survived(story: Story, since: float, *, gap_s: float = AUDIO_S, patience_s: float = PATIENCE_S) -> None:
    """The same call, heard at both ends; one binding at the registrar."""
    gaps = story.hear_again(since, patience_s)
    assert gaps.longest < gap_s, gaps
    view = story.phone.call(story.call_id)
    assert view["state"] == "active"
    assert not story.phone.events.of("call.ended")
    assert story.page is not None
    assert story.page.state()["established"]
    assert not story.page.log("ended")
    try:
        until(lambda: len(story.contacts()) == 1, "one binding at the registrar", 5)
    except TimeoutError as error:
        server = story.scene.server
        error.add_note(f"it holds {story.contacts()}; it has seen {server.requests('REGISTER', USER)[-8:]}")
        error.add_note(f"the phone says {story.phone.account(ACCOUNT)}")
        raise


def leaves_by(story: Story, address: str, call: str | None = None) -> bool:
    """The media of the story's call, or of another, come from this address of the phone."""
    local = story.phone.call(call or story.call_id)["media"]["local"]
    return local is not None and str(local).startswith(f"{address}:")
