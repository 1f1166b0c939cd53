"""Requests beside the call inside its dialog: INFO (RFC 6086), MESSAGE (RFC 3428), OPTIONS. All opaque: what they mean
is for our user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phoned.errors import WrongState
from phoned.sip.accessors import from_
from phoned.sip.events import EndCause, InfoReceived, MessageReceived, Party, RequestAnswered, Token
from phoned.sip.invite_session.state import Incoming, InviteState, Outgoing, Purpose
from phoned.sip.message import Response
from phoned.sip.options import ALLOW, SDP, SUPPORTED

if TYPE_CHECKING:
    from phoned.sip.invite_session.session import InviteSession

CAPABILITIES = [("Allow", ALLOW), ("Accept", SDP), ("Supported", ", ".join(SUPPORTED))]


def send(
    s: InviteSession, method: str, content_type: str, body: bytes, now: float, headers: list[tuple[str, str]]
) -> Token:
    """Send INFO or MESSAGE; a `RequestAnswered` with the token that is returned follows."""
    if s.state is not InviteState.CONFIRMED or s.leg is None:
        raise WrongState(f"no {method} now", state=s.state, allowed_in=("confirmed",))
    request = s.leg.dialog.request(method)
    for name, value in headers:
        request.headers.add(name, value)
    request.headers.add("Content-Type", content_type)
    request.body = body
    token = s.core.random.token()
    s.send(Purpose.MESSAGE, request, now, leg=s.leg, token=token)
    return token


def on_response(s: InviteSession, out: Outgoing, response: Response, now: float) -> None:
    """The outcome of an INFO or MESSAGE of ours."""
    if response.status < 200:
        return
    if s.retried(out, response, now):
        return
    _report(s, out, response.status, response.reason, tuple(response.headers))
    if response.status == 481 and not s.ended:
        # the dialog is gone at the far end (RFC 3261 12.2.1.2)
        s.end(EndCause.DIALOG_GONE, Party.REMOTE, status=481, reason=response.reason)


def on_failure(s: InviteSession, out: Outgoing, status: int, now: float) -> None:
    """No answer."""
    _report(s, out, 0, "", ())


def _report(s: InviteSession, out: Outgoing, status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert out.token is not None
    s.emit(
        RequestAnswered(
            account=s.account.id,
            session=s.id,
            token=out.token,
            method=out.request.method,
            status=status,
            reason=reason,
            headers=headers,
        )
    )


def on_info(s: InviteSession, incoming: Incoming, now: float) -> None:
    """INFO: taken whatever it holds."""
    request = incoming.request
    s.respond(incoming, 200, now)
    s.emit(
        InfoReceived(
            session=s.id,
            content_type=request.headers.get("Content-Type") or "",
            body=request.body,
            info_package=request.headers.get("Info-Package"),
        )
    )


def on_message(s: InviteSession, incoming: Incoming, now: float) -> None:
    """MESSAGE inside a dialog."""
    request = incoming.request
    s.respond(incoming, 200, now)
    far = from_(request)
    s.emit(
        MessageReceived(
            account=s.account.id,
            session=s.id,
            from_uri=str(far.uri),
            from_display_name=far.display_name or None,
            content_type=request.headers.get("Content-Type") or "",
            body=request.body,
            headers=tuple(request.headers),
        )
    )


def on_options(s: InviteSession, incoming: Incoming, now: float) -> None:
    """OPTIONS inside a dialog: it lives, and this is what it can."""
    s.respond(incoming, 200, now, headers=CAPABILITIES)
