"""Recovery defaults by profile: what five published web phones do, as values for ``[accounts.recovery]``.

``default`` is the schema's own defaults. A profile changes the defaults of an account; single values still override.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

ProfileName = Literal["default", "ringcentral", "pipe", "flashphoner", "openvidu", "millicast"]

PROFILES: Mapping[ProfileName, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        "ringcentral": {
            "register_expires_s": 60,
            "refresh_before_expiry_s": 3,
            "first_retry_s": 2,
            "backoff_base_s": 2,
            "backoff_jitter": 0.0,
            "backoff_in_call": "same",
            "failover": "manual",
        },
        "pipe": {
            "keepalive_timeout_s": 10,
            "first_retry_s": 0.5,
            "backoff": "uniform",
            "backoff_base_s": 0.5,
            "backoff_cap_s": 5,
            "backoff_in_call": "same",
            "max_attempts": 30,
            "attempt_deadline_s": 10,
        },
        "flashphoner": {
            "first_retry_s": 3,
            "backoff": "fixed",
            "backoff_base_s": 3,
            "backoff_cap_s": 3,
            "backoff_jitter": 0.0,
            "backoff_in_call": "same",
            "max_attempts": 100,
            "ping_idle_s": 5,
            "ping_call_s": 5,
            "ping_timeout_s": 5,
            "ping_misses": 10,
        },
        "openvidu": {
            "backoff": "fixed",
            "backoff_base_s": 3,
            "backoff_cap_s": 3,
            "backoff_jitter": 0.0,
            "backoff_in_call": "same",
            "max_attempts": 2000,
            "ping_idle_s": 5,
            "ping_call_s": 5,
            "ping_timeout_s": 5,
            "ice_disconnected_grace_s": 4,
        },
        "millicast": {
            "backoff_base_s": 2,
            "backoff_cap_s": 32,
            "backoff_jitter": 0.0,
            "backoff_in_call": "same",
            "ice_disconnected_grace_s": 1.5,
            "inbound_stall_s": 5,
        },
    }
)
