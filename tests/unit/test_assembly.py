"""Every figure of the file reaches the part that it is about."""

from __future__ import annotations

from pathlib import Path

from phoned.assembly import (
    CODECS,
    account_options_of,
    engine_options_of,
    keep_limits_of,
    parameters_of,
    policy_of,
    recovered_view,
    schedule_of,
    session_options_of,
)
from phoned.config.load import LoadedConfig, load_config
from phoned.config.schema import MediaConfig
from phoned.config.types import Secret
from phoned.media import codecs
from phoned.recording.recover import Recovered
from phoned.recording.retention import KeepLimits
from phoned.transport.flow import HttpProxy, TlsPolicy

FILE = """
[phone]
state_dir = "state"
[media]
codecs = ["pcma", "g722"]
stun = ["stun:stun.example.org"]
allow_loopback = true
opus_bitrate = 64000
opus_complexity = 5
opus_dtx = true
[[media.turn]]
url = "turns:turn.example.org?transport=tcp"
username = "u"
credential_file = "secret"
[[accounts]]
id = "a"
aor = "sip:alice@example.org"
auth_username = "auth"
password_file = "secret"
outbound_proxy = "wss://one.example.org/"
outbound_proxy_backup = "wss://two.example.org/"
http_proxy = "http://proxy.example.org"
in_dialog_auth = "both"
inband_dtmf = true
sample_rate = 48000
[accounts.tls]
insecure_skip_verify = true
[accounts.recovery]
register_expires_s = 300
keepalive_s = 30
keepalive_timeout_s = 4
attempt_deadline_s = 7
ping_idle_s = 9
ping_call_s = 3
ping_misses = 4
backoff = "fixed"
first_retry_s = 1
backoff_base_s = 2
backoff_cap_s = 3
max_attempts = 5
"""


def loaded(home: Path, text: str = FILE) -> LoadedConfig:
    secret = home / "secret"
    secret.touch(mode=0o600)
    secret.write_text("pw")
    file = home / "phoned.toml"
    file.write_text(text)
    return load_config(file, environ={"RUNTIME_DIRECTORY": str(home / "run"), "HOME": str(home)})


def test_an_accounts_figures(tmp_path: Path) -> None:
    (account,) = loaded(tmp_path).config.accounts
    policy = policy_of(account, Secret(b"user:p:w"))
    assert policy.target.url == "wss://one.example.org/"
    assert policy.target_backup is not None
    assert policy.target_backup.url == "wss://two.example.org/"
    assert policy.target.tls == TlsPolicy(insecure_skip_verify=True)
    assert policy.target.http_proxy == HttpProxy(host="proxy.example.org", port=80, username="user", password="p:w")
    assert (policy.keepalive_s, policy.keepalive_timeout_s, policy.attempt_deadline_s) == (30, 4, 7)
    assert (policy.ping_idle_s, policy.ping_call_s, policy.ping_misses) == (9, 3, 4)
    schedule = schedule_of(account.recovery)
    assert (schedule.kind, schedule.first_s, schedule.base_s, schedule.cap_s, schedule.max_attempts) == (
        "fixed",
        1,
        2,
        3,
        5,
    )
    without = policy_of(account)
    assert without.target.http_proxy == HttpProxy(host="proxy.example.org", port=80)


def test_what_the_core_knows_of_an_account(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    (account,) = config.config.accounts
    identity = {"instance_id": "urn:uuid:1", "reg_id": 2, "call_id": "c", "cseq": 3}
    parameters = parameters_of(
        account,
        config.password("a"),
        instance_id="urn:uuid:1",
        reg_id=2,
        call_id="c",
        cseq=3,
        allow_refer=True,
        user_agent="p/1",
    )
    assert {name: getattr(parameters, name) for name in identity} == identity
    assert (parameters.auth_username, parameters.secret, parameters.expires_s) == ("auth", "pw", 300)
    assert parameters.retention_s == account.recovery.signalling_retention_s
    assert (parameters.in_dialog_auth, parameters.allow_refer, parameters.user_agent) == ("both", True, "p/1")
    assert (
        parameters_of(
            account, None, instance_id="", reg_id=1, call_id="", cseq=0, allow_refer=False, user_agent=""
        ).secret
        is None
    )


def test_what_media_is_told(tmp_path: Path) -> None:
    config = loaded(tmp_path).config
    options = session_options_of(config.media, (Secret(b"turnpw"),))
    assert options.codecs == ("PCMA", "G722")
    assert options.ice.allow_loopback
    assert (options.opus_bitrate, options.opus_complexity, options.opus_dtx) == (64_000, 5, True)
    assert (options.graph_rate, options.detect_inband_dtmf) == (16_000, False)
    of_account = account_options_of(config.accounts[0], options)
    assert (of_account.graph_rate, of_account.detect_inband_dtmf) == (48_000, True)
    assert options.detect_voice == {"inbound"}
    assert not session_options_of(config.media.model_copy(update={"voice_activity": False})).detect_voice
    both = config.media.model_copy(update={"voice_activity_outbound": True})
    assert session_options_of(both).detect_voice == {"inbound", "outbound"}
    assert options.ice.stun_server == ("stun.example.org", 3478)
    turn = options.ice.turn_server
    assert turn is not None
    assert (turn.host, turn.port, turn.username, turn.password, turn.transport, turn.tls) == (
        "turn.example.org",
        5349,
        "u",
        "turnpw",
        "tcp",
        True,
    )
    assert session_options_of(config.media).ice.turn_server is None
    assert engine_options_of(config).recordings_dir == config.media.recordings_dir
    music = config.audio.model_copy(update={"hold_music": Path("/music.wav")})
    assert engine_options_of(config.model_copy(update={"audio": music})).hold_music == Path("/music.wav")


def test_how_long_recordings_are_kept() -> None:
    assert keep_limits_of(MediaConfig()) == KeepLimits()
    limits = MediaConfig(recordings_keep_days=30, recordings_max_mb=500)
    assert keep_limits_of(limits) == KeepLimits(days=30, max_mb=500)


def test_a_plain_phone_needs_neither_stun_nor_a_proxy(tmp_path: Path) -> None:
    text = '[[accounts]]\nid = "a"\naor = "sip:a@b.example"\noutbound_proxy = "ws://c.example"\n'
    config = loaded(tmp_path, text).config
    assert session_options_of(config.media).ice.stun_server is None
    policy = policy_of(config.accounts[0])
    assert (policy.target.http_proxy, policy.target_backup) == (None, None)


def test_every_codec_of_the_configuration_exists() -> None:
    assert {name.lower() for name in CODECS.values()} <= {name.lower() for name in codecs.available()} | {
        "opus",
        "g722",
    }


def test_a_recovered_recording_is_told_whole() -> None:
    view = recovered_view(Recovered(file="r.wav", format="wav", channels="stereo", duration_s=1.23456))
    assert (view.file, view.duration_s, view.recovered, view.state) == ("r.wav", 1.235, True, "finished")
    known = recovered_view(Recovered(file="my-call-rec_7.opus", format="opus", channels="mixed", duration_s=1.0))
    assert (known.call, known.id, known.format, known.channels) == ("my-call", "rec_7", "opus", "mixed")
