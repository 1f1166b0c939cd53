"""The TLS of whatever a service dials."""

from __future__ import annotations

import ssl


def system_tls() -> ssl.SSLContext:
    """TLS 1.2 at least, with the system's authorities. Reads their files: call it on a thread."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
