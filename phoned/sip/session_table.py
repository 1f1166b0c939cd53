"""The sessions of a user agent: by id, by dialog, by what they wait for; and when each wants its tick.

It keeps a session until nothing of it is left on the wire. It must not know what happens inside one.
"""

from __future__ import annotations

from collections.abc import Iterator

from phoned.errors import Gone, NotFound
from phoned.sip.accessors import call_id, from_, replaces, to
from phoned.sip.core import AccountCore
from phoned.sip.dialog import DialogState
from phoned.sip.events import Event, SessionId, Token
from phoned.sip.invite_session.session import InviteSession
from phoned.sip.invite_session.state import InviteState, Leg
from phoned.sip.io import TimerSet
from phoned.sip.message import Request


class SessionTable:
    """Driven by the user agent."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, InviteSession] = {}
        self._dialogs: dict[tuple[str, str], InviteSession] = {}
        self._timers: TimerSet[SessionId] = TimerSet()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def live(self) -> int:
        """Sessions that have not ended."""
        return sum(not session.ended for session in self._sessions.values())

    def describe(self) -> list[str]:
        """Each session's state and what it has in hand."""
        return [
            f"{session.id} {session.state}: {[out.request.method for out in session.outgoing.values()]} sent, "
            f"{len(session.incoming)} received, {len(session.timers)} timers"
            for session in self._sessions.values()
        ]

    def keep(self, session: InviteSession) -> None:
        """A new one."""
        self._sessions[session.id] = session
        self._dialogs[session.call_id, session.local_tag] = session

    def forget(self, session: InviteSession) -> None:
        """Nothing of it is left."""
        self._sessions.pop(session.id, None)
        self._dialogs.pop((session.call_id, session.local_tag), None)
        self._timers.clear(session.id)

    def settle(self, session: InviteSession) -> list[Event]:
        """After each input of a session: its events, its next timer, and whether it can be forgotten."""
        events = session.take()
        if session.finished:
            self.forget(session)
            return events
        at = session.next_timer()
        if at is None:
            self._timers.clear(session.id)
        else:
            self._timers.set(session.id, at)
        return events

    # --- finding

    def of(self, account: AccountCore) -> list[InviteSession]:
        """An account's sessions."""
        return [session for session in self._sessions.values() if session.account is account]

    def get(self, session: SessionId) -> InviteSession | None:
        """By id, ended or not."""
        return self._sessions.get(session)

    def live_one(self, session: SessionId) -> InviteSession:
        """By id. Raises NotFound and Gone."""
        found = self._sessions.get(session)
        if found is None:
            raise NotFound(f"no session {session}")
        if found.ended:
            raise Gone(f"session {session} has ended")
        return found

    def leg_of(self, request: Request, account: AccountCore | None) -> tuple[InviteSession, Leg] | None:
        """Where a request inside a dialog belongs (RFC 3261 12.2.2); nobody reaches into another account's calls."""
        session = self._dialogs.get((call_id(request), to(request).tag or ""))
        if session is None or session.account is not account:
            return None
        leg = session.find(from_(request).tag or "")
        return None if leg is None else (session, leg)

    def replaced_by(self, request: Request, account: AccountCore) -> InviteSession | int | None:
        """The session that a new INVITE takes the place of (RFC 3891 3), None when it names none, or the status of its
        refusal. Both tags must be right; a call that still rings here is nobody's to take."""
        named = replaces(request)
        if named is None:
            return None
        session = self._dialogs.get((named.call_id, named.to_tag))
        leg = session.find(named.from_tag) if session is not None and session.account is account else None
        if session is None or leg is None or session.state in (InviteState.INCOMING, InviteState.ANSWERING):
            return 481
        if session.ended:
            return 603
        if named.early_only and leg.dialog.state is DialogState.CONFIRMED:
            return 486
        return session

    def has_dialog(self, session: InviteSession) -> bool:
        """Whether there is one with the same Call-ID and local tag."""
        return (session.call_id, session.local_tag) in self._dialogs

    def wanting(self, token: Token) -> InviteSession | None:
        """Which one waits for this description."""
        return next((session for session in self._sessions.values() if token in session.wants), None)

    # --- time

    def next_timer(self) -> float | None:
        """The earliest."""
        return self._timers.next()

    def due(self, now: float) -> Iterator[InviteSession]:
        """Those that want their tick."""
        for session in self._timers.due(now):
            yield self._sessions[session]
