"""The events, described: AsyncAPI 3.0 for programs, and models that tests hold real traffic against.

`EVENTS` is the one table of types. Each event carries the full object that it is about, and fields of its own beside.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from api import answers, hooks
from api.answers import Answer, Moment
from phoned.model import Cause, CollectReason, DeviceRole, SoundDirection

SUBJECTS: dict[str, type[Answer]] = {
    "account": answers.Account,
    "bridge": answers.Bridge,
    "call": answers.Call,
    "device": answers.Device,
    "message": answers.Message,
    "network": answers.Network,
    "playback": answers.Playback,
    "recording": answers.Recording,
    "stream": answers.Stream,
    "webhook": hooks.Webhook,
}
Plane = Literal["signalling", "media", "both"]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Fields = dict[str, tuple[Any, Any]]


def _needs(**kinds: Any) -> Fields:
    return {name.removesuffix("_"): (kind, ...) for name, kind in kinds.items()}


EVENTS: dict[str, Fields] = {
    "account.added": {},
    "account.changed": {},
    "account.removed": {},
    "account.registered": {},
    "account.unregistered": {},
    "account.registration_failed": _needs(cause=Cause, sip_code=int | None),
    "account.connect_failed": _needs(cause=Cause, first=bool),
    "account.reconnecting": _needs(n=Annotated[int, Field(ge=1)], cause=Cause, next_in_s=Seconds),
    "account.reconnected": _needs(outage_ms=Count, attempts=Count),
    "account.gave_up": {},
    "account.auth_failed": {},
    "account.tls_error": {},
    "account.throttled": _needs(retry_after_s=Seconds),
    "account.mailbox": {},
    "account.proxy_changed": _needs(from_=Literal["primary", "backup"], to=Literal["primary", "backup"], why=str),
    **{
        f"call.{name}": {}
        for name in (
            "incoming",
            "created",
            "dialing",
            "ringing",
            "early_media",
            "answered",
            "held",
            "unheld",
            "muted",
            "unmuted",
            "ended",
            "dialog_verified",
            "no_inbound_audio",
        )
    },
    "call.updated": {"on_answer_failed": (str | None, None)},
    "call.speech_started": _needs(direction=SoundDirection),
    "call.speech_stopped": _needs(direction=SoundDirection),
    "call.dtmf": _needs(digit=str, duration_ms=Count, method=Literal["rfc4733", "info", "inband"]),
    "call.digits": _needs(digits=str, reason=CollectReason, terminator=str | None),
    "call.reconnecting": _needs(plane=Plane, cause=Cause),
    "call.reconnected": _needs(plane=Plane, gap_ms=Count, tier=Annotated[int, Field(ge=0, le=2)]),
    "call.media_stalled": _needs(direction=SoundDirection),
    "call.media_failed": _needs(local=bool),
    "call.codec_fallback": _needs(from_=str, to=str),
    "call.transfer_started": _needs(to=str | None, replaces=str | None),
    "call.transfer_accepted": {},
    "call.transfer_completed": _needs(sip_code=int | None),
    "call.transfer_failed": _needs(sip_code=int | None, reason=str | None),
    "call.transfer_requested": _needs(to=str, referred_by=str | None, call_placed=str | None),
    "call.lost": _needs(
        reason=Literal["dialog_gone", "no_answer_from_peer", "signalling_timeout", "media_timeout", "daemon_restart"]
    ),
    "call.quality": _needs(mos=float | None, jitter_ms=Seconds, loss_pct=Seconds, rtt_ms=float | None),
    "bridge.created": {},
    "bridge.changed": {},
    "bridge.ended": {},
    "message.received": {},
    "message.sent": {},
    "message.failed": {},
    "playback.started": {},
    "playback.finished": {},
    "playback.failed": _needs(detail=str),
    "recording.started": {},
    "recording.paused": {},
    "recording.resumed": {},
    "recording.finished": {},
    "recording.failed": _needs(detail=str),
    "recording.gap": _needs(start_s=Seconds, end_s=Seconds, cause=Literal["far_end", "disk"]),
    "recording.recovered": {},
    "recording.deleted": _needs(reason=Literal["asked", "age", "size"]),
    "stream.connecting": {},
    "stream.started": {},
    "stream.mark": _needs(name=str, played=bool),
    "stream.overflow": _needs(direction=Literal["from_bot", "to_bot"], dropped_ms=Count, dropped_marks=Count),
    "stream.reconnecting": _needs(n=Annotated[int, Field(ge=1)], next_in_s=Seconds, detail=str),
    "stream.stopped": _needs(detail=str),
    "stream.failed": _needs(detail=str),
    "network.changed": _needs(reasons=list[str], generation=Count),
    "device.added": {},
    "device.removed": _needs(role=DeviceRole | None),
    "device.changed": _needs(device=answers.Device | None, role=DeviceRole, use=answers.DeviceUse),
    "webhook.disabled": _needs(reason=Literal["gone", "failing"]),
    "system.started": {},
    "system.draining": _needs(draining=bool),
    "system.do_not_disturb": _needs(do_not_disturb=bool),
    "system.reloaded": _needs(reload=answers.Reload),
    "system.stopping": {},
}
"""Type to the fields beside the object that it is about."""
SNAPSHOTS = ("events.snapshot", "events.gap")
"""Without a sequence number: the world as it is."""


@cache
def model_of(type_: str) -> type[BaseModel]:
    """The envelope of events of this type. Raises `KeyError` for a type that there is not."""
    name = "".join(part.capitalize() for part in type_.replace(".", "_").split("_"))
    closed = ConfigDict(extra="forbid")
    fields: dict[str, Any]
    if type_ in SNAPSHOTS:
        fields = _needs(
            accounts=list[answers.Account],
            calls=list[answers.Call],
            bridges=list[answers.Bridge],
            network=answers.Network | None,
            last_seq=Count,
        )
    else:
        subject = type_.partition(".")[0]
        about = {subject: (SUBJECTS[subject], ...)} if subject in SUBJECTS else {}
        fields = {**about, **EVENTS[type_]}
    data = create_model(f"{name}Data", __config__=closed, **fields)
    envelope = _needs(
        id=Annotated[str, Field(pattern=r"^evt_[0-9a-f]{32}$")],
        type=Literal.__getitem__(type_),
        time=Moment,
        node=str,
        data=data,
    )
    if type_ not in SNAPSHOTS:
        envelope |= _needs(seq=Annotated[int, Field(ge=1)])
    made: type[BaseModel] = create_model(name, __config__=closed, **cast(dict[str, Any], envelope))
    return made


@cache
def document(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0 of ``GET /v1/events`` and ``/v1/events/ws``."""
    types = [*EVENTS, *SNAPSHOTS]
    names, definitions = models_json_schema(
        [(model_of(type_), "serialization") for type_ in types], ref_template="#/components/schemas/{model}"
    )
    messages = {
        type_: {"name": type_, "contentType": "application/json", "payload": names[model_of(type_), "serialization"]}
        for type_ in types
    }
    channels = {
        name: {
            "address": address,
            "description": text,
            "messages": {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in types},
        }
        for name, address, text in (
            ("sse", "/v1/events", "Server-sent events; the id of each is its sequence number. `after` replays."),
            ("websocket", "/v1/events/ws", "The same, one event a text frame."),
        )
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "phoned events", "version": version, "description": (__doc__ or "").partition("\n\n")[2]},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}, "summary": "phoned tells what happens."}
            for name in channels
        },
        "components": {"messages": messages, "schemas": definitions["$defs"]},
    }
