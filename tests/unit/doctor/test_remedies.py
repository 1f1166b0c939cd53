"""Each failure has a remedy that names what to change."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from phoned.doctor import certificate, remedies
from phoned.doctor.way import server_of, steps_of
from phoned.model import Cause
from phoned.sip.events import RegistrationFailed
from phoned.sip.registration import FailureCause
from phoned.transport.flow import Address, DialStep, FlowError, FlowTarget, HttpProxy, TlsPolicy

EDGE = Address("edge", 443)
TARGET = FlowTarget(url="wss://edge/ws")


@pytest.mark.parametrize(
    ("step", "cause", "said"),
    [
        (DialStep.DNS, Cause.DNS, "getent hosts edge"),
        (DialStep.TCP, Cause.REFUSED, "nothing listens at edge:443"),
        (DialStep.TCP, Cause.NETWORK, "ip route get edge"),
        (DialStep.TCP, Cause.TIMEOUT, "firewall"),
        (DialStep.PROXY, Cause.UPGRADE, "http_proxy"),
        (DialStep.TLS, Cause.TIMEOUT, "speaks TLS"),
        (DialStep.UPGRADE, Cause.UPGRADE, "subprotocol 'sip'"),
        (DialStep.UPGRADE, Cause.TIMEOUT, "ends the connection"),
    ],
)
def test_of_a_dial(step: DialStep, cause: Cause, said: str) -> None:
    assert said in remedies.of_dial(step, FlowError(cause, "x"), TARGET, EDGE, EDGE)


def test_the_key_that_is_wrong_may_be_the_http_proxys() -> None:
    proxy = Address("proxy", 3128)
    assert "in http_proxy" in remedies.of_dial(DialStep.DNS, FlowError(Cause.DNS), TARGET, proxy, EDGE)


def test_a_ca_file_may_be_to_blame() -> None:
    target = FlowTarget(url="wss://edge/", tls=TlsPolicy(ca_file=Path("/ca.pem")))
    assert "/ca.pem holds" in remedies.of_dial(DialStep.TLS, FlowError(Cause.TLS, "x"), target, EDGE, EDGE)


@pytest.mark.parametrize(
    ("cause", "status", "happened", "fix"),
    [
        (FailureCause.TIMEOUT, None, "no answer", "no SIP on it"),
        (FailureCause.FLOW, None, "closed the connection", "log"),
        (FailureCause.FOREIGN_REALM, 401, "cannot be answered", "Digest"),
        (FailureCause.UNANSWERABLE, 401, "cannot be answered", "Digest"),
        (FailureCause.NOT_BOUND, 200, "not in the answer", "contact_host"),
        (FailureCause.AUTH, 401, "refused user 'al'", "password_file"),
        (FailureCause.REFUSED, 403, "refused user 'al'", "password_file"),
        (FailureCause.REFUSED, 404, "does not know sip:al@x", "aor"),
        (FailureCause.REFUSED, 503, "503 R", "not well"),
        (FailureCause.REFUSED, 400, "400 R", "profile"),
    ],
)
def test_of_a_registration(cause: FailureCause, status: int | None, happened: str, fix: str) -> None:
    failed = RegistrationFailed(account="a", flow=1, cause=cause, status=status, reason="R")
    said, helps = remedies.of_registration(failed, "sip:al@x", "al")
    assert happened in said
    assert fix in helps


@pytest.mark.parametrize(
    ("error", "said"),
    [(10, "renew"), (62, "no name at all"), (20, "ca_file"), (18, "ca_file"), (1, "openssl s_client")],
)
def test_of_a_certificate_that_could_not_be_read(error: int, said: str) -> None:
    assert certificate.read(b"nonsense") is None
    assert certificate.read(None) is None
    assert said in certificate.remedy(error, "edge", None, datetime(2026, 1, 1, tzinfo=UTC))


def test_the_steps_of_a_way() -> None:
    assert steps_of(TARGET) == ["dns", "tcp", "tls", "websocket"]
    proxied = FlowTarget(url="ws://edge/", http_proxy=HttpProxy(host="p", port=1))
    assert steps_of(proxied) == ["dns", "tcp", "http_proxy", "websocket"]
    assert server_of(proxied) == (Address("edge", 80), False)
    assert server_of(FlowTarget(url="WSS://[::1]:5/")) == (Address("::1", 5), True)
