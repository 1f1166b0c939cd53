"""What a server's certificate says, and what helps when it is not believed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from phoned.clock import rfc3339

NOT_YET_VALID, EXPIRED = 9, 10
UNKNOWN_SIGNER = (2, 18, 19, 20, 21)
WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_... numbers."""
NO_PIN = "00" * 32
"""No key has this SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Whom it is for, and when."""

    names: tuple[str, ...]
    since: datetime
    until: datetime


def read(der: bytes | None) -> Facts | None:
    """None for what cannot be read."""
    try:
        found = x509.load_der_x509_certificate(der or b"")
        names = _names(found)
    except ValueError:
        return None
    return Facts(names=names, since=found.not_valid_before_utc, until=found.not_valid_after_utc)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in listed.get_values_for_type(x509.IPAddress))
    return (*listed.get_values_for_type(x509.DNSName), *addresses)


def day(moment: datetime) -> str:
    """A moment of a certificate."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def remedy(error: int, host: str, facts: Facts | None, now: datetime) -> str:
    """What helps against a certificate that was refused for this reason."""
    if error == EXPIRED:
        ended = f" (it ended {day(facts.until)})" if facts else ""
        return (
            f"renew the certificate of {host} on the server{ended}; if this machine's clock ({rfc3339(now)}) is ahead:"
            " timedatectl set-ntp true"
        )
    if error in WRONG_NAME:
        names = ", ".join(facts.names[:5]) if facts and facts.names else "no name at all"
        return f"the certificate is for {names}: use such a name in outbound_proxy, or give the server one for {host}"
    if error in UNKNOWN_SIGNER:
        return (
            "no authority that this machine trusts signed it: name the server's CA in [accounts.tls] ca_file, or"
            " install it (ca-certificates, update-ca-certificates); the server must send its intermediates, too"
        )
    return f"see what the server shows: openssl s_client -connect {host}:PORT -servername {host}"
