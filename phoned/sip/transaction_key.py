"""Which transaction a message belongs to: RFC 3261 17.1.3 and 17.2.3, RFC 2543 without the magic cookie, 8.2.2.2.

Pure functions over one message. They must not know which transactions exist. All raise `MalformedMessage`.
"""

from __future__ import annotations

from phoned.sip.accessors import call_id, cseq, from_, to, via_top
from phoned.sip.io import FlowId
from phoned.sip.message import Request, Response
from phoned.sip.transaction import BRANCH_COOKIE, TransactionKey

MergeKey = tuple[str, str, int, str]
"""Call-ID, From tag, CSeq number and method: what two copies of one forked request have in common."""


def client_key(request: Request, flow: FlowId) -> TransactionKey:
    """The key of the client transaction for a request of ours."""
    branch = via_top(request).branch or ""
    return TransactionKey(side="client", flow=flow, branch=branch, sent_by="", method=request.method)


def response_key(response: Response, flow: FlowId) -> TransactionKey | None:
    """The key of the client transaction that a response is for; None for one that was misrouted to us: it must have
    exactly one Via (RFC 3261 8.1.3.3)."""
    if len(response.headers.values("Via")) != 1:
        return None
    branch = via_top(response).branch or ""
    return TransactionKey(side="client", flow=flow, branch=branch, sent_by="", method=cseq(response).method)


def server_key(request: Request, flow: FlowId) -> TransactionKey:
    """The key of the server transaction for a request that is no ACK."""
    via = via_top(request)
    branch = via.branch or ""
    if not _is_unique(branch):
        branch = _rfc2543(request, to(request).tag or "")
    return TransactionKey(side="server", flow=flow, branch=branch, sent_by=via.sent_by, method=request.method)


def ack_keys(ack: Request, flow: FlowId) -> list[tuple[TransactionKey, str | None]]:
    """The INVITE server transactions that an ACK may be for, each with the To tag that our response must have had
    (None: any). RFC 2543 gives two: the INVITE had no To tag, or that of the ACK."""
    via = via_top(ack)
    branch = via.branch or ""
    to_tag = None if _is_unique(branch) else to(ack).tag or ""
    branches = [branch] if to_tag is None else [_rfc2543(ack, tag) for tag in ("", to_tag)]
    return [
        (TransactionKey(side="server", flow=flow, branch=each, sent_by=via.sent_by, method="INVITE"), to_tag)
        for each in branches
    ]


def merge_key(request: Request) -> MergeKey | None:
    """What tells a merged request (RFC 3261 8.2.2.2); None inside a dialog and for CANCEL."""
    if request.method == "CANCEL" or to(request).tag is not None:
        return None
    return call_id(request), from_(request).tag or "", cseq(request).number, request.method


def _is_unique(branch: str) -> bool:
    # the cookie alone promises nothing (RFC 4475 3.2.1)
    return branch.startswith(BRANCH_COOKIE) and len(branch) > len(BRANCH_COOKIE)


def _rfc2543(request: Request, to_tag: str) -> str:
    parts = (
        request.uri,
        to_tag,
        from_(request).tag or "",
        call_id(request),
        str(cseq(request).number),
        request.headers.values("Via")[0],
    )
    return "\x1f".join(parts)
