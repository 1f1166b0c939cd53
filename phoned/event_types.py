"""The types of events: what may be asked for. `api.asyncapi` describes each."""

from __future__ import annotations

from collections.abc import Mapping

_FAMILIES: Mapping[str, str] = {
    "account": (
        "added changed removed registered unregistered registration_failed connect_failed reconnecting "
        "reconnected gave_up auth_failed tls_error throttled mailbox proxy_changed"
    ),
    "call": (
        "incoming created dialing ringing early_media answered held unheld muted unmuted ended "
        "dialog_verified no_inbound_audio speech_started speech_stopped updated dtmf digits reconnecting "
        "reconnected media_stalled media_failed codec_fallback transfer_started transfer_accepted "
        "transfer_completed transfer_failed transfer_requested lost quality"
    ),
    "bridge": "created changed ended",
    "message": "received sent failed",
    "playback": "started finished failed",
    "recording": "started paused resumed finished failed gap recovered deleted",
    "stream": "connecting started mark overflow reconnecting stopped failed",
    "network": "changed",
    "device": "added removed changed",
    "webhook": "disabled",
    "system": "started draining do_not_disturb reloaded stopping",
}

EVENT_TYPES = tuple(f"{family}.{name}" for family, names in _FAMILIES.items() for name in names.split())
