"""Session timers of one dialog, both roles (RFC 4028): who refreshes, how often, and when the session is dead.

It decides and counts; sending refreshes and BYE is the session's work. It knows header values, no messages.
"""

from __future__ import annotations

from phoned.sip.account import SessionTimerParameters
from phoned.sip.fields import SessionExpires

FLOOR_S = 90
"""No interval below this exists (RFC 4028 4)."""
LONGEST_S = 30 * 24 * 3600
"""Longer ones are as good as none."""


class SessionTimer:
    """The timer of one dialog. Driven by `phoned.sip.invite_session`: headers in, headers out, two deadlines."""

    __slots__ = ("_min_se_s", "_parameters", "expires_at", "interval_s", "local_refresher", "refresh_at")

    def __init__(self, parameters: SessionTimerParameters) -> None:
        self._parameters = parameters
        self._min_se_s = max(FLOOR_S, parameters.min_se_s)
        self.interval_s = 0
        """Agreed; 0 while there is none."""
        self.local_refresher = False
        self.refresh_at: float | None = None
        self.expires_at: float | None = None
        """When the session is to be ended with BYE."""

    # --- as UAC

    def request_headers(self) -> list[tuple[str, str]]:
        """For an INVITE or a refreshing UPDATE of ours. A running timer keeps its interval and its roles."""
        headers = []
        wanted = self.interval_s or self._parameters.session_expires_s
        if wanted:
            headers.append(
                ("Session-Expires", str(SessionExpires(seconds=self._at_least(wanted), refresher=self._role())))
            )
        if self._min_se_s > FLOOR_S:
            headers.append(("Min-SE", str(self._min_se_s)))
        return headers

    def _at_least(self, seconds: int) -> int:
        return max(seconds, self._min_se_s)

    def _role(self) -> str | None:
        if self.interval_s:
            return "uac" if self.local_refresher else "uas"
        wish = self._parameters.refresher
        return None if wish == "auto" else "uac" if wish == "local" else "uas"

    def too_small(self, min_se: int | None) -> bool:
        """422 to our request: take the far end's Min-SE. False when trying again cannot help."""
        if min_se is None or min_se <= self._min_se_s or min_se > LONGEST_S:
            return False
        self._min_se_s = min_se
        return True

    def accepted_by_peer(self, agreed: SessionExpires | None, now: float) -> None:
        """A 2xx to our INVITE or refresh."""
        if agreed is None:
            self.stop()
            return
        self._run(agreed.seconds, local=agreed.refresher != "uas", now=now)

    # --- as UAS

    def refuses(self, asked: SessionExpires | None, *, peer_supports: bool) -> int | None:
        """The Min-SE for a 422, when the far end's interval is too small and it will understand the refusal."""
        if asked is None or not peer_supports or asked.seconds >= self._min_se_s:
            return None
        return self._min_se_s

    def accept_peer(
        self, asked: SessionExpires | None, min_se: int | None, *, peer_supports: bool, now: float
    ) -> list[tuple[str, str]]:
        """The header fields of our 2xx; the timer starts."""
        wanted = self._parameters.session_expires_s
        if asked is None and not wanted:
            self.stop()
            return []
        offered = asked.seconds if asked else self.interval_s or wanted
        floor = max(min_se or 0, self._min_se_s if peer_supports else FLOOR_S)
        interval = min(max(min(offered, wanted) if wanted else offered, floor), LONGEST_S)
        if not peer_supports:
            local = True
        elif asked is not None and asked.refresher is not None:
            local = asked.refresher == "uas"
        else:
            local = self._parameters.refresher == "local"
        self._run(interval, local=local, now=now)
        agreed = SessionExpires(seconds=interval, refresher="uas" if local else "uac")
        headers = [("Session-Expires", str(agreed))]
        if not local:
            headers.append(("Require", "timer"))
        return headers

    # --- time

    def _run(self, interval_s: int, *, local: bool, now: float) -> None:
        self.interval_s = min(max(FLOOR_S, interval_s), LONGEST_S)
        self.local_refresher = local
        # the refresher has until the end; the other side gives up a little earlier (RFC 4028 10)
        self.refresh_at = now + self.interval_s / 2 if local else None
        self.expires_at = now + self.interval_s - (0 if local else min(32, self.interval_s / 3))

    def refreshing(self) -> None:
        """The refresh is on its way."""
        self.refresh_at = None

    def retry_refresh(self, now: float, after_s: float) -> None:
        """The refresh came to nothing, but the session lives on: try again while there is time."""
        if self.interval_s and self.local_refresher:
            self.refresh_at = now + after_s

    def postpone(self, now: float, seconds: float) -> None:
        """No flow to refresh on: an expiry now would only punish the network's fault."""
        self.expires_at = now + seconds

    def stop(self) -> None:
        """No timer."""
        self.interval_s = 0
        self.local_refresher = False
        self.refresh_at = self.expires_at = None

    def restart(self, interval_s: int, *, local: bool, now: float) -> None:
        """Continue the timer of a restored dialog: its age is unknown, so it counts from now."""
        if interval_s:
            self._run(interval_s, local=local, now=now)

    def next(self) -> float | None:
        """The earlier of the two deadlines."""
        deadlines = [at for at in (self.refresh_at, self.expires_at) if at is not None]
        return min(deadlines) if deadlines else None
