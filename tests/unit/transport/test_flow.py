"""Values of flows, and the errno table."""

from __future__ import annotations

import errno
import ssl

import pytest

from phoned.errors import UnavailableError
from phoned.model import Cause
from phoned.transport.connect import cause_of, explain
from phoned.transport.flow import Address, FlowError, HttpProxy, TlsPolicy
from phoned.transport.tls import build_context, check_pins


def test_addresses_print_as_in_uris() -> None:
    assert str(Address("192.0.2.1", 5060)) == "192.0.2.1:5060"
    assert str(Address("2001:db8::1", 443)) == "[2001:db8::1]:443"


def test_a_flow_error_is_unavailable_and_names_its_cause() -> None:
    error = FlowError(Cause.UPGRADE, "503", status=503, retry_after_s=7)
    assert isinstance(error, UnavailableError)
    assert (str(error), error.status, error.retry_after_s) == ("upgrade: 503", 503, 7)
    assert str(FlowError(Cause.DNS)) == "dns"


def test_a_proxys_password_is_not_shown() -> None:
    assert "hush" not in repr(HttpProxy(host="p", port=1, username="u", password="hush"))


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FlowError(Cause.TLS), Cause.TLS),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), Cause.REFUSED),
        (TimeoutError(errno.ETIMEDOUT, ""), Cause.TIMEOUT),
        (OSError(errno.ENETUNREACH, ""), Cause.NETWORK),
        (OSError(errno.EHOSTUNREACH, ""), Cause.NETWORK),
        (ConnectionResetError(errno.ECONNRESET, ""), Cause.CLOSED),
        (None, Cause.CLOSED),
    ],
)
def test_socket_errors_have_causes(error: BaseException | None, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_errors_are_explained_in_a_line() -> None:
    assert explain(OSError(errno.ENETUNREACH, "odd words of asyncio")) == "Network is unreachable"
    assert explain(ssl.SSLError(1, "[SSL] bad")) != ""
    assert explain(OSError()) == "OSError"
    assert explain(ValueError("what")) == "what"


def test_tls_1_2_is_the_floor() -> None:
    context = build_context(TlsPolicy())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_that_cannot_be_read_matches_no_pin() -> None:
    check_pins(None, ())
    for certificate in (None, b"junk"):
        with pytest.raises(FlowError) as caught:
            check_pins(certificate, ("00" * 32,))
        assert caught.value.cause is Cause.TLS
