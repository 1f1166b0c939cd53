"""Phone: the only door to the telephone, for HTTP, bots, webhooks and metrics alike.

`PhoneControl` is the protocol that services see; `Phone` (below) is the object that the daemon builds. It has no
telephony rules of its own: it finds the account or the call and passes the verb on. It speaks frozen values of
`phoned.model` and raises errors of `phoned.errors` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from phoned.model import (
    AccountView,
    CallRequest,
    CallView,
    DtmfRequest,
    PhoneStatus,
    PlaybackView,
    PlayRequest,
    RecordingView,
    RecordRequest,
    StatsView,
    Wait,
)


class PhoneControl(Protocol):
    """Commands and views. Every coroutine has a deadline inside; none waits for ever."""

    def status(self) -> PhoneStatus: ...

    def accounts(self) -> tuple[AccountView, ...]: ...

    def account(self, account: str) -> AccountView:
        """Raises `NotFound`."""
        ...

    async def register(self, account: str) -> AccountView:
        """Wish the account registered; returns at once."""
        ...

    async def unregister(self, account: str) -> AccountView: ...

    async def retry(self, account: str) -> AccountView:
        """Jump the back-off queue."""
        ...

    async def place_call(self, request: CallRequest, wait: Wait = "none") -> CallView:
        """A new outgoing call. With ``wait`` returns once it rings or is answered, and raises `Refused` when it was
        refused and `DeadlineExceeded` when ``timeout_s`` ran out. Raises `NotFound`, `NotRegistered`, `Denied`,
        `AtCapacity`, `Draining`, `InvalidValue` before anything is sent."""
        ...

    def calls(self) -> tuple[CallView, ...]:
        """Live and ended calls that are still kept, newest first."""
        ...

    def call(self, call: str) -> CallView:
        """Raises `NotFound`."""
        ...

    async def answer(self, call: str) -> CallView: ...

    async def reject(self, call: str, code: int = 486, reason: str | None = None) -> CallView: ...

    async def hangup(self, call: str, reason: str | None = None) -> CallView:
        """Returns at once, also when repeated; an ended call stays as it is."""
        ...

    async def hold(self, call: str) -> CallView:
        """Returns after the far end's 2xx; `Refused` leaves the state unchanged."""
        ...

    async def unhold(self, call: str) -> CallView: ...

    async def mute(self, call: str, muted: bool) -> CallView: ...

    async def dtmf(self, call: str, request: DtmfRequest) -> CallView:
        """Returns once the digits are queued."""
        ...

    async def tag(self, call: str, tags: dict[str, str]) -> CallView:
        """Merge ``tags`` into the call's."""
        ...

    async def reinvite(self, call: str, *, ice_restart: bool) -> CallView: ...

    def stats(self, call: str) -> StatsView: ...

    async def play(self, call: str, request: PlayRequest) -> PlaybackView: ...

    def playback(self, playback: str) -> PlaybackView: ...

    async def control_playback(self, playback: str, verb: Literal["pause", "resume", "stop"]) -> PlaybackView: ...

    async def record(self, call: str, request: RecordRequest) -> RecordingView: ...

    def recordings(self) -> tuple[RecordingView, ...]: ...

    def recording(self, recording: str) -> RecordingView: ...

    async def control_recording(self, recording: str, verb: Literal["pause", "resume", "stop"]) -> RecordingView: ...

    async def delete_recording(self, recording: str) -> None: ...

    def recording_path(self, recording: str) -> Path:
        """Where the file of a finished recording lies."""
        ...
