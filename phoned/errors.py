"""Every error phoned raises on purpose, in one tree, sorted by blame.

    PhonedError
    ├── UsageError         the caller asked for something that cannot be (fix the request)
    │   ├── InvalidValue       a value is malformed or out of range (InvalidValues: several; UnknownDevice)
    │   ├── NotFound           no such account, call, recording, ...
    │   ├── WrongState         the thing exists, but not in a state for this verb
    │   ├── Gone               the call has ended
    │   └── Denied             policy says no (dial rules, scopes, emergency numbers)
    ├── RemoteError        the far end or a server said no, or broke the protocol
    │   ├── Refused            a SIP final response >= 300
    │   ├── FetchFailed        a URL gave nothing that can be used
    │   ├── MalformedMessage   bytes that are no SIP message, or an illegal one
    │   └── DescriptionError   a session description that cannot be used (SIP 488 or 400)
    ├── UnavailableError   not now; trying later may work
    │   ├── NotRegistered  AtCapacity  DiskFull  Draining  NotImplementedYet  SoundUnavailable
    │   └── DeadlineExceeded   an answer did not come in time
    └── InternalError      our own fault: a bug or a broken machine

Each class has a stable ``code`` (snake case), which is the slug of its problem page. HTTP status codes live in
``api.errors`` alone; this module knows neither HTTP nor SIP transport.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class PhonedError(Exception):
    """Root of the tree. ``detail`` is one plain sentence that may be shown to a person; it holds no secret."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "", **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts: Mapping[str, object] = facts


class UsageError(PhonedError):
    """The request cannot be right, whatever the state of the world."""

    code = "usage"


class InvalidValue(UsageError):
    """A value is malformed or out of range. ``pointer`` names the place (RFC 6901), when there is one."""

    code = "invalid_value"

    def __init__(self, detail: str = "", *, pointer: str = "", **facts: object) -> None:
        super().__init__(detail, **facts)
        self.pointer = pointer


class InvalidValues(InvalidValue):
    """Several values at once: ``found`` has the place and the trouble of each, in order."""

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        pointer, detail = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        super().__init__(f"{pointer}: {detail}{more}" if pointer else f"{detail}{more}", pointer=pointer)
        self.found = tuple(found)


class UnknownDevice(InvalidValue):
    """The machine has no sound device of that name now; the detail names those that it has."""

    code = "unknown_device"


class NotFound(UsageError):
    """No such thing."""

    code = "not_found"


class WrongState(UsageError):
    """The verb does not fit the present state; ``allowed_in`` lists the states that it fits."""

    code = "wrong_state"

    def __init__(self, detail: str = "", *, state: str, allowed_in: tuple[str, ...] = (), **facts: object) -> None:
        super().__init__(detail, **facts)
        self.state = state
        self.allowed_in = allowed_in


class Gone(UsageError):
    """The call has ended; its record is still readable."""

    code = "gone"


class Denied(UsageError):
    """Policy refuses. ``code`` of the instance tells which policy; ``retry_after_s`` when it will not for ever."""

    code = "denied"

    def __init__(
        self, detail: str = "", *, code: str = "denied", retry_after_s: float | None = None, **facts: object
    ) -> None:
        super().__init__(detail, **facts)
        self.retry_after_s = retry_after_s
        self.code = code  # type: ignore[misc]  # the instance narrows the class's code


class RemoteError(PhonedError):
    """The far end, or a server between, is to blame."""

    code = "remote"


class Refused(RemoteError):
    """A SIP final response of 300 or above, in the peer's words."""

    code = "refused"

    def __init__(self, status: int, reason: str = "", detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(detail or f"{status} {reason}".strip())
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class FetchFailed(RemoteError):
    """A URL gave nothing that can be used: no connection, no answer, a wrong one, too much."""

    code = "fetch_failed"


class MalformedMessage(RemoteError):
    """Bytes that break the SIP grammar or our limits. ``status`` is what a request of this kind is answered with."""

    code = "malformed_message"

    def __init__(self, detail: str = "", *, status: int = 400, **facts: object) -> None:
        super().__init__(detail, **facts)
        self.status = status


class DescriptionError(RemoteError):
    """A session description that cannot be used: 400 when it is malformed, 488 when it is merely not for us."""

    code = "bad_description"

    def __init__(self, detail: str = "", *, status: int = 488, **facts: object) -> None:
        super().__init__(detail, **facts)
        self.status = status


class UnavailableError(PhonedError):
    """Not now. ``retry_after_s`` is a hint in seconds, when there is one."""

    code = "unavailable"

    def __init__(self, detail: str = "", *, retry_after_s: float | None = None, **facts: object) -> None:
        super().__init__(detail, **facts)
        self.retry_after_s = retry_after_s


class NotRegistered(UnavailableError):
    """The account has no registered flow."""

    code = "not_registered"


class AtCapacity(UnavailableError):
    """A configured cap is reached."""

    code = "at_capacity"


class DiskFull(UnavailableError):
    """No room, or less than is to stay free."""

    code = "disk_full"


class Draining(UnavailableError):
    """The daemon takes no new work."""

    code = "draining"


class NotImplementedYet(UnavailableError):
    """The contract names it, this version does not have it."""

    code = "not_implemented"


class SoundUnavailable(UnavailableError):
    """No sound device can be used: none is configured, there, or willing. The detail says what to do."""

    code = "sound_unavailable"


class DeadlineExceeded(UnavailableError):
    """An answer did not come in time."""

    code = "deadline_exceeded"


class InternalError(PhonedError):
    """Our own fault."""

    code = "internal"
