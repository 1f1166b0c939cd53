"""From the configuration, and from what the disk held, to the values that the parts are built with and speak of: no
state, no I/O, nothing but translation."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from phoned.accounts.policy import AccountPolicy
from phoned.calls.repair_context import RepairPolicy
from phoned.config.schema import AccountConfig, Config, MediaConfig, RecoveryConfig
from phoned.config.schema import TurnServer as TurnConfig
from phoned.config.types import Secret
from phoned.ids import new_id
from phoned.media.options import EngineOptions, IceOptions, SessionOptions, TurnServer
from phoned.model import RecordingView, SoundDirection
from phoned.recording.floor import DiskFloor
from phoned.recording.recover import Recovered
from phoned.recording.retention import KeepLimits
from phoned.recovery.backoff import Schedule
from phoned.sip.account import AccountParameters
from phoned.transport.flow import FlowTarget, HttpProxy, TlsPolicy

CODECS = {"opus": "opus", "g722": "G722", "pcmu": "PCMU", "pcma": "PCMA"}
"""Configuration's names to those of SDP (RFC 3551, RFC 7587)."""
STUN_PORT = 3478


def schedule_of(recovery: RecoveryConfig) -> Schedule:
    """The back-off that a recovery table describes."""
    return Schedule(
        kind=recovery.backoff,
        first_s=recovery.first_retry_s,
        base_s=recovery.backoff_base_s,
        cap_s=recovery.backoff_cap_s,
        jitter=recovery.backoff_jitter,
        hurry_with_call=recovery.backoff_in_call == "fast",
        max_attempts=recovery.max_attempts,
    )


def target_of(account: AccountConfig, url: str, proxy_credential: Secret | None = None) -> FlowTarget:
    """Where and how an account dials."""
    return FlowTarget(
        url=url,
        tls=TlsPolicy(
            ca_file=account.tls.ca_file,
            pin_sha256=account.tls.pin_sha256,
            insecure_skip_verify=account.tls.insecure_skip_verify,
        ),
        http_proxy=_http_proxy(account.http_proxy, proxy_credential),
    )


def _http_proxy(url: str | None, credential: Secret | None) -> HttpProxy | None:
    if url is None:
        return None
    parts = urlsplit(url)
    username, _, password = (credential.text() if credential else "").partition(":")
    return HttpProxy(
        host=parts.hostname or "", port=parts.port or 80, username=username or None, password=password or None
    )


def policy_of(account: AccountConfig, proxy_credential: Secret | None = None) -> AccountPolicy:
    """An account's figures."""
    recovery = account.recovery
    backup = account.outbound_proxy_backup
    return AccountPolicy(
        target=target_of(account, account.outbound_proxy, proxy_credential),
        target_backup=target_of(account, backup, proxy_credential) if backup else None,
        schedule=schedule_of(recovery),
        on_demand=recovery.connect == "on_demand",
        contact_is_local=account.contact_host == "local_ip",
        keepalive_s=recovery.keepalive_s,
        keepalive_timeout_s=recovery.keepalive_timeout_s,
        refresh_before_expiry_s=recovery.refresh_before_expiry_s,
        attempt_deadline_s=recovery.attempt_deadline_s,
        ping_idle_s=recovery.ping_idle_s,
        ping_call_s=recovery.ping_call_s,
        ping_misses=recovery.ping_misses,
        ping_timeout_s=recovery.ping_timeout_s,
        failover=recovery.failover == "auto",
        failback_s=recovery.failback_s,
        call_sticky_s=recovery.call_sticky_s,
    )


def repair_policy_of(account: AccountConfig) -> RepairPolicy:
    """An account's figures for the media of its calls."""
    recovery = account.recovery
    return RepairPolicy(
        force=recovery.force_media_reconnect,
        on_failed=recovery.on_media_failed,
        rtp_timeout_s=recovery.rtp_timeout_s,
        rtp_timeout_held_s=recovery.rtp_timeout_held_s,
        retention_s=recovery.signalling_retention_s,
        grace_s=recovery.ice_disconnected_grace_s,
        inbound_stall_s=recovery.inbound_stall_s,
    )


def parameters_of(
    account: AccountConfig,
    password: Secret | None,
    *,
    instance_id: str,
    reg_id: int,
    call_id: str,
    cseq: int,
    allow_refer: bool,
    user_agent: str,
) -> AccountParameters:
    """What the SIP core must know of an account."""
    return AccountParameters(
        aor=account.aor,
        auth_username=account.username,
        secret=password.text() if password else None,
        instance_id=instance_id,
        reg_id=reg_id,
        call_id=call_id,
        cseq=cseq,
        expires_s=round(account.recovery.register_expires_s),
        in_dialog_auth=account.in_dialog_auth,
        retention_s=account.recovery.signalling_retention_s,
        contact_is_local=account.contact_host == "local_ip",
        allow_refer=allow_refer,
        mailbox=account.mailbox,
        user_agent=user_agent,
    )


def engine_options_of(config: Config) -> EngineOptions:
    """What all media sessions share."""
    return EngineOptions(
        media_dir=config.media.media_dir,
        recordings_dir=config.media.recordings_dir,
        hold_music=config.audio.hold_music,
    )


def session_options_of(media: MediaConfig, turn_secrets: tuple[Secret, ...] = ()) -> SessionOptions:
    """One call's media."""
    free_mb = media.recordings_min_free_mb
    return SessionOptions(
        recordings_floor=DiskFloor(None if free_mb is None else free_mb * 1_000_000),
        recording_beep_s=media.recording_beep_s,
        codecs=tuple(CODECS[codec] for codec in media.codecs),
        detect_voice=voices_of(media),
        opus_bitrate=media.opus_bitrate,
        opus_complexity=media.opus_complexity,
        opus_dtx=media.opus_dtx,
        ice=IceOptions(
            allow_loopback=media.allow_loopback,
            relay_only=media.relay_only,
            stun_server=stun_of(media.stun[0]) if media.stun else None,
            turn_server=turn_of(media.turn[0], turn_secrets[0]) if media.turn and turn_secrets else None,
        ),
    )


def account_options_of(account: AccountConfig, common: SessionOptions) -> SessionOptions:
    """One call's media, by the account that it is of."""
    return replace(common, detect_inband_dtmf=account.inband_dtmf, graph_rate=account.sample_rate)


def voices_of(media: MediaConfig) -> frozenset[SoundDirection]:
    """The directions whose voice activity is told."""
    told: dict[SoundDirection, bool] = {"inbound": media.voice_activity, "outbound": media.voice_activity_outbound}
    return frozenset(direction for direction, wanted in told.items() if wanted)


def keep_limits_of(media: MediaConfig) -> KeepLimits:
    """How long recordings are kept."""
    return KeepLimits(days=media.recordings_keep_days, max_mb=media.recordings_max_mb)


def stun_of(url: str) -> tuple[str, int]:
    """Host and port of ``stun:host[:port]``."""
    parts = urlsplit(f"//{url.partition(':')[2]}")
    return parts.hostname or "", parts.port or STUN_PORT


def turn_of(server: TurnConfig, secret: Secret) -> TurnServer:
    """A TURN server as the media part wants it."""
    scheme, _, rest = server.url.partition(":")
    parts = urlsplit(f"//{rest}")
    return TurnServer(
        host=parts.hostname or "",
        port=parts.port or (5349 if scheme == "turns" else STUN_PORT),
        username=server.username,
        password=secret.text(),
        transport="tcp" if scheme == "turns" or "transport=tcp" in (parts.query or "") else "udp",
        tls=scheme == "turns",
    )


def recovered_view(left: Recovered) -> RecordingView:
    """A recording that the last process did not live to finish. Its file is called after its call and itself."""
    call, found, recording = left.file.rpartition(".")[0].rpartition("-rec_")
    return RecordingView(
        id=f"rec_{recording}" if found else new_id("rec"),
        call=call,
        state="finished",
        format=left.format,
        channels=left.channels,
        file=left.file,
        duration_s=round(left.duration_s, 3),
        recovered=True,
    )
