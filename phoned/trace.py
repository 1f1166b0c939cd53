"""The SIP of each call, for people who must find out: inside of a WebSocket with TLS nobody else can see it.

Owns a bounded memory of messages by Call-ID, and which Call-IDs a call had. It never changes a message; secrets are
hidden when it is asked.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from phoned.clock import WallClock, wall_clock
from phoned.model import SipMessageView, TraceView
from phoned.redaction import Redactor
from phoned.transport.flow import Address, Flow

MAX_DIALOGS, MAX_MESSAGES, MAX_BYTES = 500, 400, 8 << 20
"""What is kept: Call-IDs, messages of one, and bytes of all. The oldest go first."""
_CALL_ID = re.compile(rb"\r\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_NO_CALL = re.compile(rb"\r\ncseq[ \t]*:[ \t]*\d+[ \t]+(?:REGISTER|OPTIONS)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Message:
    at: datetime
    sent: bool
    flow: int
    transport: str
    local: Address
    remote: Address
    data: bytes


@dataclass(slots=True)
class _Dialog:
    messages: deque[_Message] = field(default_factory=deque)
    size: int = 0
    dropped: bool = False


class SipTrace:
    """Driven by `Signaling` (`note`) and by the call manager (`belongs`)."""

    def __init__(
        self, redact: Callable[[str], str] | None = None, *, clock: WallClock = wall_clock, max_bytes: int = MAX_BYTES
    ) -> None:
        self._redact = redact or Redactor()
        self._clock = clock
        self._max_bytes = max_bytes
        self._dialogs: OrderedDict[str, _Dialog] = OrderedDict()
        self._size = 0
        self._calls: OrderedDict[str, list[str]] = OrderedDict()

    def note(self, flow: Flow, data: bytes, *, sent: bool) -> None:
        """A message passes. Those of registrations are not kept: there would be nothing else."""
        head = data.partition(b"\r\n\r\n")[0]
        found = _CALL_ID.search(head)
        if found is None or _NO_CALL.search(head):
            return
        name = found[1].strip().decode("utf-8", "replace")
        dialog = self._dialogs.setdefault(name, _Dialog())
        self._dialogs.move_to_end(name)
        dialog.messages.append(
            _Message(self._clock(), sent, flow.generation, flow.transport, flow.local, flow.remote, data)
        )
        dialog.size += len(data)
        self._size += len(data)
        if len(dialog.messages) > MAX_MESSAGES:
            self._forget_one(dialog)
        while len(self._dialogs) > MAX_DIALOGS or (self._size > self._max_bytes and len(self._dialogs) > 1):
            _, oldest = self._dialogs.popitem(last=False)
            self._size -= oldest.size
        while self._size > self._max_bytes:
            self._forget_one(dialog)

    def _forget_one(self, dialog: _Dialog) -> None:
        size = len(dialog.messages.popleft().data)
        dialog.size -= size
        dialog.dropped = True
        self._size -= size

    def belongs(self, call: str, call_id: str) -> None:
        """The call has a dialog of this Call-ID; it may get more, one after the other."""
        known = self._calls.setdefault(call, [])
        if call_id not in known:
            known.append(call_id)
        while len(self._calls) > MAX_DIALOGS:
            self._calls.popitem(last=False)

    def of(self, call: str) -> TraceView:
        """What is kept of a call, oldest first, without secrets."""
        names = self._calls.get(call, [])
        dialogs = [(name, self._dialogs[name]) for name in names if name in self._dialogs]
        views = [self._view(name, message) for name, dialog in dialogs for message in dialog.messages]
        views.sort(key=lambda view: view.time)
        complete = len(dialogs) == len(names) and not any(dialog.dropped for _, dialog in dialogs)
        return TraceView(call=call, sip_call_ids=tuple(names), complete=complete and bool(names), messages=tuple(views))

    def _view(self, name: str, message: _Message) -> SipMessageView:
        return SipMessageView(
            time=message.at,
            direction="sent" if message.sent else "received",
            sip_call_id=name,
            flow=message.flow,
            transport=message.transport,
            local=str(message.local),
            remote=str(message.remote),
            text=self._redact(message.data.decode("utf-8", "replace")),
        )
