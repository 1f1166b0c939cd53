"""TLS for flows: contexts from a policy, and public-key pins.

TLS 1.2 is the floor and the system's authorities (or the policy's file) decide. Loading authorities costs tens of
milliseconds, so contexts are built in a thread and kept per policy. Pins (RFC 7469's SPKI hash) are checked by the
caller right after the handshake, before any byte of ours is sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from phoned.model import Cause
from phoned.transport.flow import FlowError, TlsPolicy


def build_context(policy: TlsPolicy) -> ssl.SSLContext:
    """A client context for ``policy``. Blocks on the disk; raises `OSError` (`ssl.SSLError` among them)."""
    context = ssl.create_default_context(cafile=policy.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a pinned leaf in ca_file is an anchor of its own, though it is no authority
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    if policy.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Contexts:
    """Contexts by policy. `forget` after a failed handshake, so that a renewed CA file is read again."""

    def __init__(self) -> None:
        self._contexts: dict[TlsPolicy, ssl.SSLContext] = {}

    async def get(self, policy: TlsPolicy) -> ssl.SSLContext:
        """The context, built off the loop when it is new. Raises `FlowError` with `Cause.TLS`."""
        context = self._contexts.get(policy)
        if context is None:
            try:
                context = await asyncio.to_thread(build_context, policy)
            except OSError as error:
                raise FlowError(Cause.TLS, f"cannot use the CA file {policy.ca_file}: {error}") from None
            self._contexts[policy] = context
        return context

    def forget(self, policy: TlsPolicy) -> None:
        """Build it anew next time."""
        self._contexts.pop(policy, None)


def spki_sha256(certificate: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a DER certificate."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def check_pins(certificate: bytes | None, pins: tuple[str, ...]) -> None:
    """Raise `FlowError` with `Cause.TLS` unless the certificate's key is pinned, or nothing is pinned."""
    if not pins:
        return
    try:
        actual = spki_sha256(certificate or b"")
    except ValueError:
        raise FlowError(Cause.TLS, "the server's certificate cannot be read, so no pin can match") from None
    if all(_pin(pin) != actual for pin in pins):
        raise FlowError(Cause.TLS, f"the server's key is not pinned: its pin_sha256 is {actual.hex()}")


def _pin(text: str) -> bytes:
    """32 bytes from hex or base64 (the configuration has checked the form)."""
    return bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text)
