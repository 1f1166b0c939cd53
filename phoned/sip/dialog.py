"""A dialog (RFC 3261 12): tags, sequence numbers both ways, route set, remote target. Nothing about calls or media.

It builds requests and judges the order of those that come in; sending is its owner's work. `snapshot` and `restore`
carry it over a restart as plain JSON-able values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from phoned.errors import InvalidValue, MalformedMessage
from phoned.sip.accessors import contacts, cseq, from_, to
from phoned.sip.fields import NameAddr
from phoned.sip.headers import Headers
from phoned.sip.message import Request, Response
from phoned.sip.uri import Uri

MAX_FORWARDS = "70"
CSEQ_LIMIT = 2**31
"""RFC 3261 8.1.1.5."""


class DialogState(StrEnum):
    """RFC 3261 12."""

    EARLY = "early"
    CONFIRMED = "confirmed"


@dataclass(slots=True, kw_only=True)
class Dialog:
    """One dialog, seen from our end. Driven by `phoned.sip.invite_session`."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    """Our From or To without its tag."""
    remote: str
    """Theirs without its tag."""
    local_cseq: int
    remote_cseq: int | None
    remote_target: str
    route_set: tuple[str, ...]
    """Route values in the order in which they are written."""
    secure: bool
    initiator: bool
    """Whether we made the Call-ID: it decides who waits longer after glare (RFC 3261 14.1)."""
    state: DialogState = DialogState.EARLY

    @classmethod
    def uac(cls, request: Request, response: Response) -> Dialog:
        """From our request and a response with a To tag (12.1.2)."""
        far, near = to(response), from_(request)
        dialog = cls(
            call_id=request.headers.get("Call-ID") or "",
            local_tag=near.tag or "",
            remote_tag=far.tag or "",
            local=_untagged(near),
            remote=_untagged(far),
            local_cseq=cseq(request).number,
            remote_cseq=None,
            remote_target=request.uri,
            route_set=tuple(reversed(response.headers.values("Record-Route"))),
            secure=Uri.parse(request.uri).scheme == "sips",
            initiator=True,
        )
        dialog.refresh_target(response)
        if response.status >= 200:
            dialog.state = DialogState.CONFIRMED
        return dialog

    @classmethod
    def uas(cls, request: Request, local_tag: str) -> Dialog:
        """From the far end's request (12.1.1), before it is answered."""
        far, near = from_(request), to(request)
        dialog = cls(
            call_id=request.headers.get("Call-ID") or "",
            local_tag=local_tag,
            remote_tag=far.tag or "",
            local=_untagged(near),
            remote=_untagged(far),
            local_cseq=0,
            remote_cseq=cseq(request).number,
            remote_target=str(far.uri),
            route_set=tuple(request.headers.values("Record-Route")),
            secure=request.uri.startswith("sips:"),
            initiator=False,
        )
        dialog.refresh_target(request)
        return dialog

    def confirm(self, response: Response) -> None:
        """The 2xx to our INVITE: route set and target are computed anew (13.2.2.4)."""
        self.route_set = tuple(reversed(response.headers.values("Record-Route")))
        self.refresh_target(response)
        self.state = DialogState.CONFIRMED

    def refresh_target(self, message: Request | Response) -> bool:
        """Take the Contact as the new remote target (12.2.1.2). True when it changed."""
        found = contacts(message)
        if not found or not found[0].uri.is_sip:
            return False
        target = str(found[0].uri)
        changed = target != self.remote_target
        self.remote_target = target
        return changed

    # --- out

    def request(self, method: str) -> Request:
        """The next request of this dialog, with a CSeq of its own (12.2.1.1)."""
        return self._build(method, self.next_cseq())

    def next_cseq(self) -> int:
        """A number for the next request of ours."""
        self.local_cseq += 1
        return self.local_cseq

    def ack(self, number: int) -> Request:
        """The ACK of the 2xx to the INVITE with this CSeq number."""
        return self._build("ACK", number)

    def _build(self, method: str, number: int) -> Request:
        uri, routes = self.remote_target, list(self.route_set)
        if routes and not _is_loose(routes[0]):
            # a strict router wants to be named in the Request-URI; the target becomes the last Route
            first = NameAddr.parse(routes[0]).uri
            routes = [*routes[1:], f"<{uri}>"]
            uri = str(replace(first, headers="").without_parameters("method"))
        headers = Headers([("Route", route) for route in routes])
        headers.add("Max-Forwards", MAX_FORWARDS)
        headers.add("From", f"{self.local};tag={self.local_tag}" if self.local_tag else self.local)
        headers.add("To", f"{self.remote};tag={self.remote_tag}" if self.remote_tag else self.remote)
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{number} {method}")
        return Request(method=method, uri=uri, headers=headers, body=b"")

    # --- in

    def in_order(self, request: Request) -> bool:
        """Whether a request of the far end is newer than the last (12.2.2); if so, it is the last now."""
        number = cseq(request).number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    # --- journal

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return {
            "call_id": self.call_id,
            "local_tag": self.local_tag,
            "remote_tag": self.remote_tag,
            "local": self.local,
            "remote": self.remote,
            "local_cseq": self.local_cseq,
            "remote_cseq": self.remote_cseq,
            "remote_target": self.remote_target,
            "route_set": list(self.route_set),
            "secure": self.secure,
            "initiator": self.initiator,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], *, cseq_skip: int = 0) -> Dialog:
        """A confirmed dialog of an earlier life. ``cseq_skip`` steps over numbers that may have been used after the
        snapshot was taken. Raises InvalidValue."""
        remote_cseq = snapshot.get("remote_cseq")
        route_set = snapshot.get("route_set")
        if not (remote_cseq is None or _is_number(remote_cseq)) or not isinstance(route_set, list):
            raise InvalidValue("dialog snapshot is damaged")
        if not all(isinstance(route, str) for route in route_set):
            raise InvalidValue("dialog snapshot has a damaged route set")
        number = snapshot.get("local_cseq")
        if not _is_number(number):
            raise InvalidValue("dialog snapshot has a damaged CSeq")
        texts = {name: snapshot.get(name) for name in ("call_id", "local_tag", "local", "remote", "remote_target")}
        if not all(isinstance(value, str) and value for value in texts.values()):
            raise InvalidValue("dialog snapshot lacks a part of its identity")
        try:
            for value in (texts["local"], texts["remote"], *route_set):
                NameAddr.parse(str(value))
            Uri.parse(str(texts["remote_target"]))
        except MalformedMessage as error:
            raise InvalidValue(f"dialog snapshot: {error.detail}") from None
        return cls(
            call_id=str(texts["call_id"]),
            local_tag=str(texts["local_tag"]),
            remote_tag=str(snapshot.get("remote_tag") or ""),
            local=str(texts["local"]),
            remote=str(texts["remote"]),
            local_cseq=int(number or 0) + cseq_skip,
            remote_cseq=remote_cseq,
            remote_target=str(texts["remote_target"]),
            route_set=tuple(route_set),
            secure=snapshot.get("secure") is True,
            initiator=snapshot.get("initiator") is True,
            state=DialogState.CONFIRMED,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < CSEQ_LIMIT


def _is_loose(route: str) -> bool:
    return NameAddr.parse(route).uri.parameter("lr") is not None


def _untagged(address: NameAddr) -> str:
    return str(address.without_parameters("tag"))
