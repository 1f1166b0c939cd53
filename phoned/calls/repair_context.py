"""What the repair of a call's media needs of the others: its account's figures and line, and the call itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from phoned.calls.rounds import Rounds
from phoned.recovery.tiers import TierMemory
from phoned.sip.events import ModifyCause


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPolicy:
    """An account's figures for the media of its calls."""

    force: Literal["auto", "always", "never"] = "auto"
    """Whether the re-INVITE on a new flow restarts ICE; ``auto``: when the way to the far end is another one."""
    on_failed: Literal["keep", "hangup", "redial"] = "keep"
    rtp_timeout_s: float = 60.0
    rtp_timeout_held_s: float = 300.0
    retention_s: float = 300.0
    grace_s: float = 2.0
    inbound_stall_s: float = 0.0
    """0: from packet time, jitter and round trip."""


class Line(Protocol):
    """The account's signalling, as a call's repair must know it."""

    @property
    def usable(self) -> bool:
        """There is a flow, and it is not about to be replaced."""
        ...

    @property
    def lost(self) -> bool:
        """There is none."""
        ...

    @property
    def attached(self) -> bool:
        """A new flow that was offered is still being registered, or is."""
        ...

    @property
    def proxy(self) -> str:
        """Through whom it goes."""
        ...

    @property
    def cause(self) -> str:
        """Why the last flow was lost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairContext:
    """What the repairs of all calls share, and what one account's need."""

    line: Line
    rounds: Rounds
    tiers: TierMemory
    policy: RepairPolicy


class Owner(Protocol):
    """The call, as far as the repair of its media must know it."""

    @property
    def id(self) -> str: ...

    @property
    def ended(self) -> bool: ...

    def publish(self, type_: str, **facts: object) -> None: ...

    def say_again(
        self, cause: ModifyCause, *, ice_restart: bool = False, rebuild: bool = False, pause: bool = False
    ) -> None:
        """One re-INVITE. Raises `PhonedError`."""
        ...

    def on_unusable(self, detail: str) -> None:
        """Media cannot be had at all."""
        ...

    def lose(self, reason: str, *, redial: bool) -> None:
        """Give the call up."""
        ...
