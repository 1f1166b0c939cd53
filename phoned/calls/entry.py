"""What of a call must outlive the process: one entry of the dialog journal, and how it stands there as text.

Values and their coding; no keys, no secrets. A text that `encode` has not written is refused as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from phoned.clock import rfc3339
from phoned.errors import InvalidValue
from phoned.ids import made_at
from phoned.model import (
    Direction,
    OnClose,
    Peer,
    RecordRequest,
    StreamProtocolName,
    StreamRequest,
    StreamTracks,
    WhileAway,
)

VERSION = 1

Standing = Literal["early", "answered", "up", "over"]
"""``early``: not answered. ``answered``: by us, the ACK is awaited. ``up``. ``over``: hung up while there was no flow
for the BYE."""
Channels = Literal["stereo", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One call as the next process must know it."""

    call: str
    account: str
    direction: Direction
    peer: Peer
    created_at: datetime
    standing: Standing = "early"
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    sip_call_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    dialog: Mapping[str, Any] | None = None
    """`phoned.sip.user_agent.UserAgent.snapshot`: the dialog, or the INVITE that waits for its answer."""
    media: str | None = None
    """`phoned.media.continuation`: our session description without ICE credentials and addresses."""
    codec: str | None = None
    held: bool = False
    """The far end has agreed that we hold."""
    holding: bool = False
    """The wish."""
    muted: bool = False
    recordings: tuple[str, ...] = ()
    """Ids of all recordings of this call."""
    recording: tuple[RecordRequest, ...] = ()
    """Of each recording that runs: it is to go on, in a file of its own."""
    streams: tuple[StreamRequest, ...] = ()
    """Bots on the call, to be dialled again. Their headers may be secret: nobody but us reads the journal."""
    max_duration_s: float | None = None
    bridge: str | None = None
    """The bridge that it is in."""


_MOMENTS = ("created_at", "ringing_at", "answered_at")
_TEXTS = ("call", "account")
_OPTIONAL_TEXTS = ("sip_call_id", "media", "codec", "bridge")
_FLAGS = ("held", "holding", "muted")
_MAPS = ("tags", "headers")


def encode(entry: JournalEntry) -> str:
    """The entry as one line of JSON."""
    values: dict[str, Any] = {"version": VERSION, "direction": entry.direction, "standing": entry.standing}
    for name in (*_TEXTS, *_OPTIONAL_TEXTS, *_FLAGS, "recordings", "max_duration_s"):
        values[name] = getattr(entry, name)
    values["recording"] = [_words(request) for request in entry.recording]
    for name in _MAPS:
        values[name] = dict(getattr(entry, name))
    for name in _MOMENTS:
        moment = getattr(entry, name)
        values[name] = None if moment is None else rfc3339(moment)
    values["peer"] = [entry.peer.uri, entry.peer.number, entry.peer.display_name]
    values["streams"] = [asdict(stream) for stream in entry.streams]
    values["dialog"] = None if entry.dialog is None else dict(entry.dialog)
    return json.dumps(values, separators=(",", ":"), sort_keys=True)


def decode(text: str) -> JournalEntry:
    """Raises `InvalidValue` for anything that `encode` has not written."""
    try:
        values = json.loads(text)
        return _entry(values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidValue(f"not a journal entry: {type(error).__name__} {error}") from None


def _entry(values: Mapping[str, Any]) -> JournalEntry:
    if values["version"] != VERSION:
        raise ValueError(f"version {values['version']!r}")
    uri, number, display_name = values["peer"]
    dialog = values["dialog"]
    if dialog is not None:
        dialog = _instance(dialog, dict)
    limit = values["max_duration_s"]
    return JournalEntry(
        call=_text(values["call"]),
        account=_text(values["account"]),
        direction=_one_of(values["direction"], Direction),
        standing=_one_of(values["standing"], Standing),
        peer=Peer(uri=_text(uri), number=_optional(number), display_name=_optional(display_name)),
        created_at=_moment(values["created_at"]),
        ringing_at=None if values["ringing_at"] is None else _moment(values["ringing_at"]),
        answered_at=None if values["answered_at"] is None else _moment(values["answered_at"]),
        sip_call_id=_optional(values["sip_call_id"]),
        tags=_texts(values["tags"]),
        headers=_texts(values["headers"]),
        dialog=dialog,
        media=_optional(values["media"]),
        codec=_optional(values["codec"]),
        held=_instance(values["held"], bool),
        holding=_instance(values["holding"], bool),
        muted=_instance(values["muted"], bool),
        recordings=tuple(map(_text, _instance(values["recordings"], list))),
        recording=tuple(_request(_text(each)) for each in _instance(values["recording"], list)),
        streams=tuple(map(_stream, _instance(values.get("streams", []), list))),
        max_duration_s=None if limit is None else float(limit),
        bridge=_bridge(values.get("bridge")),  # entries of versions that had no bridges lack it
    )


def _stream(values: Any) -> StreamRequest:
    return StreamRequest(
        url=_text(values["url"]),
        protocol=_one_of(values["protocol"], StreamProtocolName),
        sample_rate=_instance(values["sample_rate"], int),
        tracks=_one_of(values["tracks"], StreamTracks),
        parameters=_texts(values["parameters"]),
        headers=_texts(values["headers"]),
        on_close=_one_of(values["on_close"], OnClose),
        while_away=_one_of(values.get("while_away", "silence"), WhileAway),  # once there was nothing but silence
        trusted=_instance(values["trusted"], bool),
        id=_text(values["id"]),
    )


def _words(request: RecordRequest) -> str:
    """The channels, and what is not as usual."""
    return " ".join((request.channels, *(["opus"] * (request.format == "opus")), *(["beep"] * request.beep)))


def _request(words: str) -> RecordRequest:
    channels, *rest = words.split(" ")
    if not {*rest} <= {"opus", "beep"}:
        raise ValueError(f"{words!r:.40} is no recording")
    return RecordRequest(
        channels=_one_of(channels, Channels), format="opus" if "opus" in rest else "wav", beep="beep" in rest
    )


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _text(value: Any) -> str:
    return str(_instance(value, str))


def _texts(value: Any) -> dict[str, str]:
    return {_text(key): _text(item) for key, item in _instance(value, dict).items()}


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)


def _bridge(value: Any) -> str | None:
    if value is not None:
        made_at(_text(value))  # it is to be told when it was made
    return _optional(value)


def _one_of(value: Any, literal: Any) -> Any:
    if value not in get_args(literal):
        raise ValueError(f"{value!r:.40} is none of {get_args(literal)}")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
