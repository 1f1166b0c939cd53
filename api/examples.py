"""Answers as they look, for the description of the API. A test holds them against the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CALL = "call_01939f2ab7c17c4f9d1be2a3c4d5e6f7"
_RECORDING = "rec_01939f2ac0f27d218f0a1b2c3d4e5f60"

ACCOUNT: dict[str, Any] = {
    "id": "front",
    "aor": "sip:alice@example.org",
    "state": "online",
    "since": "2026-11-21T09:00:00.120Z",
    "desired": "registered",
    "registration": {
        "expires_at": "2026-11-21T09:02:00.000Z",
        "contact": "sip:alice@b6e2f0c1.invalid;transport=ws",
        "flow_generation": 1,
        "last_error": None,
    },
    "outbound_proxy": {
        "active": "wss://edge1.example.org/ws",
        "primary": "wss://edge1.example.org/ws",
        "backup": "wss://edge2.example.org/ws",
        "mode": "auto",
    },
    "mailbox": None,
}

CALL: dict[str, Any] = {
    "id": _CALL,
    "account": "front",
    "direction": "out",
    "state": "active",
    "peer": {"uri": "sip:200@example.org", "number": "200", "display_name": None},
    "created_at": "2026-11-21T09:00:01.000Z",
    "sip_call_id": "8f14e45fceea167a5a36dedd4bea2543",
    "hold": {"local": False, "remote": False},
    "muted": False,
    "ringing_at": "2026-11-21T09:00:01.300Z",
    "answered_at": "2026-11-21T09:00:04.200Z",
    "ended_at": None,
    "duration_s": 12.5,
    "media": {
        "state": "flowing",
        "codec": "opus",
        "local": "192.0.2.10:40000",
        "remote": "198.51.100.7:30000",
        "generation": 1,
    },
    "recovering": None,
    "streams": [],
    "recordings": [_RECORDING],
    "tags": {"ticket": "4711"},
    "headers": {"X-Queue": "night"},
    "end": None,
}

BRIDGE: dict[str, Any] = {
    "id": "br_01939f2ac0f27d218f0a1b2c3d4e5f60",
    "calls": [_CALL, "call_01939f2ad3b87e1f8c2d4e5f60718293"],
    "created_at": "2026-11-21T09:00:20.000Z",
    "state": "active",
}

PLAYBACK: dict[str, Any] = {
    "id": "pb_01939f2ac0f27d218f0a1b2c3d4e5f60",
    "call": _CALL,
    "state": "playing",
    "file": "welcome.wav",
    "position_s": 1.2,
}

COLLECTED: dict[str, Any] = {
    "call": _CALL,
    "digits": "4711",
    "reason": "terminator",
    "terminator": "#",
    "playback": PLAYBACK["id"],
}

STREAM: dict[str, Any] = {
    "id": "str_01939f2ac0f27d218f0a1b2c3d4e5f60",
    "call": _CALL,
    "url": "wss://bot.example.org/ws",
    "protocol": "twilio",
    "sample_rate": 8000,
    "state": "started",
    "detail": None,
    "sent_ms": 4200,
    "played_ms": 1800,
    "queued_ms": 640,
}

RECORDING: dict[str, Any] = {
    "id": _RECORDING,
    "call": _CALL,
    "state": "recording",
    "format": "wav",
    "channels": "stereo",
    "file": f"{_RECORDING}.wav",
    "duration_s": 3.0,
    "gaps": [],
    "recovered": False,
    "beep": False,
}

MESSAGE: dict[str, Any] = {
    "id": "msg_01939f2ac0f27d218f0a1b2c3d4e5f60",
    "account": "front",
    "direction": "out",
    "peer": {"uri": "sip:200@example.org", "number": "200", "display_name": None},
    "content_type": "text/plain;charset=utf-8",
    "body": "The door is open.",
    "created_at": "2026-11-21T09:00:01.000Z",
    "state": "sent",
    "sip_code": 200,
    "call": None,
}

STATS: dict[str, Any] = {
    "codec": "opus",
    "packets_sent": 625,
    "packets_received": 621,
    "bytes_sent": 50_000,
    "bytes_received": 49_680,
    "packets_lost": 4,
    "loss_pct": 0.64,
    "jitter_ms": 2.1,
    "rtt_ms": 48.0,
    "mos": 4.2,
    "concealed_ms": 80,
    "sent_dbov": -21.4,
    "received_dbov": -24.0,
    "local": "192.0.2.10:40000",
    "remote": "198.51.100.7:30000",
    "dtls_generation": 1,
    "ice_generation": 1,
    "recoveries": [],
}

DEVICE: dict[str, Any] = {
    "name": "alsa_output.usb-Jabra_SPEAK_510-00.analog-stereo",
    "description": "Jabra SPEAK 510 Analog Stereo",
    "backend": "pulse",
    "kinds": ["output"],
    "default": True,
}

DEVICE_USE: dict[str, Any] = {
    "device": "default",
    "using": "default",
    "state": "open",
    "muted": False,
    "gain_db": None,
    "volume_pct": 80,
    "level_dbov": -24.5,
    "latency_ms": 43.5,
    "detail": None,
}

DEVICES: dict[str, Any] = {
    "devices": [DEVICE],
    "input": {**DEVICE_USE, "gain_db": 0.0, "volume_pct": None},
    "output": DEVICE_USE,
    "ring": {**DEVICE_USE, "device": "none", "using": None, "state": "off", "level_dbov": -127.0, "latency_ms": None},
    "call": _CALL,
    "chosen": None,
}

DEVICE_TEST: dict[str, Any] = {
    "output": "default",
    "input": "default",
    "played_hz": 1000.0,
    "heard": True,
    "heard_hz": 1000.1,
    "level_dbov": -31.2,
    "quiet_dbov": -68.0,
}

EVENT: dict[str, Any] = {
    "id": "evt_01939f2ac0f27d218f0a1b2c3d4e5f60",
    "seq": 1042,
    "type": "call.answered",
    "time": "2026-11-21T09:00:04.201Z",
    "node": "door-1",
    "data": {"call": CALL},
}

TICKET: dict[str, Any] = {
    "ticket": "Nn3QmJt4c1V8xkq0a9yQZzUo2v5wHc7sRr6dTfGgBbE",
    "subprotocol": "bearer.Nn3QmJt4c1V8xkq0a9yQZzUo2v5wHc7sRr6dTfGgBbE",
    "expires_in_s": 30.0,
}

ANSWERS: Mapping[str, dict[str, Any]] = {
    "Account": ACCOUNT,
    "Bridge": BRIDGE,
    "Call": CALL,
    "Collected": COLLECTED,
    "Device": DEVICE,
    "DeviceTest": DEVICE_TEST,
    "DeviceUse": DEVICE_USE,
    "Devices": DEVICES,
    "Event": EVENT,
    "Message": MESSAGE,
    "Playback": PLAYBACK,
    "Recording": RECORDING,
    "Stats": STATS,
    "Stream": STREAM,
    "Ticket": TICKET,
}
"""By the name of the model in `api.answers`."""
