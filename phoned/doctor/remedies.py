"""What helps against a dial that failed and a REGISTER that was refused. Pure: texts by cause."""

from __future__ import annotations

from phoned.model import Cause
from phoned.sip.events import RegistrationFailed
from phoned.sip.registration import FailureCause
from phoned.transport.flow import Address, DialStep, FlowError, FlowTarget


def of_dial(step: DialStep, error: FlowError, target: FlowTarget, first: Address, server: Address) -> str:
    """``first`` is what is dialled (an HTTP proxy, or the server itself), ``server`` what the URL names."""
    key = "outbound_proxy" if first == server else "http_proxy"
    match step:
        case DialStep.DNS:
            return f"check the host in {key}, and this machine's resolver: getent hosts {first.host}"
        case DialStep.TCP:
            return _of_tcp(error.cause, first, key)
        case DialStep.PROXY:
            return f"check http_proxy and http_proxy_credential_file; the proxy must allow CONNECT to {server}"
        case DialStep.TLS:
            return _of_tls(error, target, server)
        case DialStep.UPGRADE:
            return _of_upgrade(error, target)


def _of_tcp(cause: Cause, first: Address, key: str) -> str:
    match cause:
        case Cause.REFUSED:
            return f"nothing listens at {first}: check the port in {key}, and that the server runs"
        case Cause.NETWORK:
            return (
                f"there is no way to {first}: check the cable, the address and the routes (ip route get {first.host})"
            )
        case _:
            return f"{first} is silent: a firewall on the way, or the server is down"


def _of_tls(error: FlowError, target: FlowTarget, server: Address) -> str:
    if "pin_sha256" in error.detail:
        return "if the server's key was renewed on purpose, put the new value into [accounts.tls] pin_sha256"
    file = f"; check that {target.tls.ca_file} holds certificates in PEM" if target.tls.ca_file else ""
    return f"check that {server} speaks TLS 1.2 or newer at this port (without TLS the URL begins with ws://){file}"


def _of_upgrade(error: FlowError, target: FlowTarget) -> str:
    if error.status in (301, 302, 303, 307, 308, 404):
        return f"check the path in outbound_proxy ({target.url}): there is no SIP-over-WebSocket server at it"
    if error.status in (401, 403):
        return "the server lets nobody in without more ado: ask whoever runs it whether this address is allowed"
    if error.status is not None and error.status >= 500:
        return "the server is there but not well: ask whoever runs it"
    if error.cause is Cause.UPGRADE:
        return (
            f"{target.url} is no SIP-over-WebSocket server (RFC 7118): check host, port and path in outbound_proxy; "
            "the server must agree on subprotocol 'sip'"
        )
    return f"the server ends the connection: check that outbound_proxy ({target.url}) names its SIP-over-WebSocket port"


def of_registration(failed: RegistrationFailed, aor: str, username: str) -> tuple[str, str]:
    """What happened, and what helps."""
    said = f"{failed.status} {failed.reason}".strip() if failed.status is not None else ""
    match failed.cause:
        case FailureCause.TIMEOUT:
            return "no answer to REGISTER", "the server takes the WebSocket but no SIP on it: ask whoever runs it"
        case FailureCause.FLOW:
            return (
                "the server closed the connection when it saw the REGISTER",
                "ask whoever runs the server; its log knows why",
            )
        case FailureCause.FOREIGN_REALM | FailureCause.UNANSWERABLE:
            return (
                f"{said}, with a challenge that cannot be answered",
                "the server must ask for Digest with MD5, SHA-256 or SHA-512-256 and qop auth",
            )
        case FailureCause.NOT_BOUND:
            return (
                f"{said}, but our Contact is not in the answer",
                'the server keeps no binding for WebSocket phones; some want contact_host = "local_ip"',
            )
    if failed.cause == FailureCause.AUTH or failed.status in (401, 403, 407):
        return (
            f"the server refused user {username!r}: {said}",
            "wrong password or user name: check password_file (or credential), auth_username and aor",
        )
    if failed.status == 404:
        return f"the server does not know {aor}: {said}", "check aor: the user and the domain"
    if failed.status is not None and failed.status >= 500:
        return f"the server said {said}", "the server is there but not well: ask whoever runs it"
    return f"the server said {said}", f"check aor ({aor}) and profile; the server's log knows why"
