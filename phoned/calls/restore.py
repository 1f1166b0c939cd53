"""What becomes of the calls that an earlier process has left: taken up, or brought to an end as well as can be.

Pure judgement on entries, and the verbs that carry it out. It must not know where entries are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from phoned.calls.call import Call
from phoned.calls.entry import JournalEntry
from phoned.calls.ports import CallSignaling
from phoned.errors import DescriptionError, PhonedError
from phoned.events import CallsTold
from phoned.media.continuation import Continuation
from phoned.model import Peer

log = logging.getLogger(__name__)

RESTART = "daemon_restart"
"""The reason of calls that did not come over a restart."""

Make = Callable[[JournalEntry, Continuation | None], Call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Of a restart: how long there was no process, and how long an account's calls may be without signalling (None:
    there is no such account any more)."""

    silent_s: float
    retention_s: float | None


def may_come_back(entry: JournalEntry, around: Circumstances) -> bool:
    """Whether both ends may still think that this call is up."""
    return (
        entry.standing == "up"
        and entry.dialog is not None
        and around.retention_s is not None
        and around.silent_s <= around.retention_s
    )


def take_up(entry: JournalEntry, around: Circumstances, signaling: CallSignaling, make: Make) -> Call | None:
    """The call of ``entry``: up, with a session that waits for a flow; or ended, with a BYE or CANCEL that does. None
    for one that had ended before."""
    session = _session_of(entry, around, signaling)
    stays = session is not None and may_come_back(entry, around)
    if session is not None and not stays:
        signaling.hangup(session)  # goes out with the first flow; an INVITE's CANCEL does so by itself
    if entry.standing == "over":
        return None
    call = make(entry, _continuation(entry) if stays else None)
    if session is not None and stays:
        patience_s = max((around.retention_s or 0.0) - around.silent_s, 0.0)
        call.memory.resume(session, entry, silent_s=around.silent_s, patience_s=patience_s)
        log.info("%s: taken up after %.1f s", call.id, around.silent_s)
    else:
        call.memory.recall(entry)
        log.warning("%s: lost with the process that had it (%s)", call.id, entry.standing)
        call.lose(RESTART)
    return call


def as_told(entries: Iterable[JournalEntry], told: CallsTold) -> list[JournalEntry]:
    """``entries``, such that every call the world was told of ends exactly once. The two are written one after the
    other, and the process may have died between them: a call whose end was told is over, whatever its entry says; one
    that has no entry, or none that can be read, is brought to its end."""
    known = [replace(entry, standing="over") if entry.call in told.ended else entry for entry in entries]
    kept = {entry.call for entry in known}
    return [
        *known,
        *(entry for entry in map(_entry_of, told.unfinished) if entry is not None and entry.call not in kept),
    ]


def _entry_of(view: Mapping[str, Any]) -> JournalEntry | None:
    try:
        peer = view["peer"]
        return JournalEntry(
            call=str(view["id"]),
            account=str(view["account"]),
            direction="in" if view["direction"] == "in" else "out",
            peer=Peer(uri=str(peer["uri"]), number=peer["number"], display_name=peer["display_name"]),
            created_at=datetime.fromisoformat(view["created_at"]),
            tags=view["tags"],
        )
    except (KeyError, TypeError, ValueError) as error:
        log.error("an event of before does not describe a call: %r", error)
        return None


def _session_of(entry: JournalEntry, around: Circumstances, signaling: CallSignaling) -> str | None:
    if entry.dialog is None or around.retention_s is None:
        return None
    try:
        return signaling.restore(entry.account, entry.dialog)
    except PhonedError as error:
        log.error("%s: its dialog cannot be taken up: %s", entry.call, error.detail)
        return None


def _continuation(entry: JournalEntry) -> Continuation | None:
    if entry.media is None:
        return None
    made = Continuation(description=entry.media, codec=entry.codec)
    try:
        made.previous()
    except DescriptionError as error:
        log.error("%s: its description is damaged: %s", entry.call, error.detail)
        return None
    return made
