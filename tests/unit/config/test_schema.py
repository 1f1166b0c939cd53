"""The contract's own example, and the profiles number by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from phoned.config.accounts import AccountConfig, RecoveryConfig
from phoned.config.load import load_config
from phoned.config.profiles import PROFILES

EXAMPLE = """\
[phone]
state_dir = "/var/lib/phoned"
[[accounts]]
id = "front"
aor = "sip:alice@example.org"
auth_username = "alice"
password_file = "alice.secret"
outbound_proxy = "wss://edge1.example.org/ws"
outbound_proxy_backup = "wss://edge2.example.org/ws"
profile = "default"
in_dialog_auth = "407"
contact_host = "invalid"
[accounts.recovery]
connect = "always"
register_expires_s = 120
keepalive_s = 60
keepalive_timeout_s = 5
first_retry_s = 0
backoff = "exponential"
backoff_base_s = 1
backoff_cap_s = 60
max_attempts = 0
attempt_deadline_s = 5
ping_idle_s = 15
ping_call_s = 2
ping_misses = 2
failover = "auto"
failback_s = 300
call_sticky_s = 10
force_media_reconnect = "auto"
on_media_failed = "keep"
rtp_timeout_s = 60
rtp_timeout_held_s = 300
signalling_retention_s = 300
[accounts.tls]
pin_sha256 = []
insecure_skip_verify = false
[media]
codecs = ["opus", "g722", "pcmu", "pcma"]
stun = []
turn = []
media_dir = "media"
recordings_dir = "recordings"
allow_loopback = false
[network]
source = "auto"
ignore_interfaces = ["docker*", "veth*", "br-*"]
allow_private = []
[api]
socket = "api.sock"
port = 8760
allowed_hosts = []
allowed_origins = []
rate_per_s = 50
stream_urls = []
[[incoming]]
match = "*"
action = "ring"
[dial]
allow = ["*"]
deny = []
max_concurrent = 50
max_per_minute = 60
max_duration_s = 14400
emergency = "block"
emergency_numbers = ["112", "911", "999"]
[auto_answer]
callers = []
[transfer]
allow_refer = false
[audio]
input = "none"
output = "none"
ring = "none"
gain_db = 0
fallback = []
ringback = true
[[webhooks]]
url = "https://example.org/phone"
events = ["call.*"]
secret_file = "webhook.secret"
[twilio]
account_sid = "AC0"
"""


def test_the_contracts_example_loads_and_equals_the_defaults(tmp_path: Path) -> None:
    secret = tmp_path / "alice.secret"
    secret.write_text("hush-hush")
    secret.chmod(0o600)
    file = tmp_path / "phoned.toml"
    file.write_text(EXAMPLE)
    loaded = load_config(file, environ={"HOME": str(tmp_path)})
    config = loaded.config
    assert config.accounts[0].recovery == RecoveryConfig()
    small = tmp_path / "small.toml"
    small.write_text('[phone]\nstate_dir = "/var/lib/phoned"\n')
    defaults = load_config(small, environ={"HOME": str(tmp_path)}).config
    assert config.model_copy(update={"accounts": (), "incoming": ()}) == defaults
    assert set(loaded.tables) == {"api", "webhooks", "twilio"}


def recovery(profile: str, **given: Any) -> RecoveryConfig:
    return AccountConfig.model_validate(
        {"id": "a", "aor": "sip:a@x", "outbound_proxy": "wss://x/", "profile": profile, "recovery": given}
    ).recovery


@pytest.mark.parametrize(
    ("profile", "values"),
    [
        ("default", (60, 5, 0, "exponential", 1, 60, 0.5, 0, 5, 15, 2, 2, 2, "auto")),
        ("ringcentral", (60, 5, 2, "exponential", 2, 60, 0.0, 0, 5, 15, 2, 2, 2, "manual")),
        ("pipe", (60, 10, 0.5, "uniform", 0.5, 5, 0.5, 30, 10, 15, 2, 2, 2, "auto")),
        ("flashphoner", (60, 5, 3, "fixed", 3, 3, 0.0, 100, 5, 5, 5, 10, 2, "auto")),
        ("openvidu", (60, 5, 0, "fixed", 3, 3, 0.0, 2000, 5, 5, 5, 2, 4, "auto")),
        ("millicast", (60, 5, 0, "exponential", 2, 32, 0.0, 0, 5, 15, 2, 2, 1.5, "auto")),
    ],
)
def test_profiles_have_the_promised_numbers(profile: str, values: tuple[Any, ...]) -> None:
    made = recovery(profile)
    assert (
        made.keepalive_s,
        made.keepalive_timeout_s,
        made.first_retry_s,
        made.backoff,
        made.backoff_base_s,
        made.backoff_cap_s,
        made.backoff_jitter,
        made.max_attempts,
        made.attempt_deadline_s,
        made.ping_idle_s,
        made.ping_call_s,
        made.ping_misses,
        made.ice_disconnected_grace_s,
        made.failover,
    ) == values


def test_ringcentral_asks_for_a_minute_and_refreshes_three_seconds_before() -> None:
    made = recovery("ringcentral")
    assert (made.register_expires_s, made.refresh_before_expiry_s) == (60, 3)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_given_value_beats_every_profile(profile: str) -> None:
    assert recovery(profile, keepalive_timeout_s=7, max_attempts=1).keepalive_timeout_s == 7


def test_configuration_does_not_change_once_it_is_made() -> None:
    with pytest.raises(ValidationError):
        recovery("default").keepalive_s = 1  # type: ignore[misc]  # read-only is what is tested
