"""What requests may hold, as pydantic models: unknown members are refused, every text has a bound (api.md).

Each request model turns itself into the value that `PhoneControl` takes. Answers are described in `api.answers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from phoned.config.accounts import AccountConfig
from phoned.config.single import MAX_PASSWORD
from phoned.config.stream import StreamOrder
from phoned.model import (
    HEADER_NAME,
    MAX_HEADERS,
    CallRequest,
    CollectRequest,
    DevicesChange,
    DtmfMethod,
    DtmfRequest,
    MessageRequest,
    PlayRequest,
    RecordRequest,
    RoleChange,
    Step,
    Wait,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(HEADER_NAME)
_CALL_ID = r"^call_[0-9a-f]{32}$"


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _media_name(name: str) -> str:
    """A name below the media directory. The phone opens it beneath a directory handle; here it is only looked at."""
    parts = name.split("/")
    if name.startswith(("/", "-", "~")) or "\\" in name or "%" in name or ":" in name:
        raise ValueError("give a name relative to the media directory")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("'.', '..' and empty parts are not allowed")
    if len(name.encode()) > 255:
        raise ValueError("longer than 255 bytes")
    return name


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name[:64]!r} may not be set; X-... headers may")
    return headers


Text = Annotated[str, AfterValidator(_printable)]
Reason = Annotated[Text, Field(min_length=1, max_length=128)]
Digits = Annotated[str, Field(pattern=r"^[0-9*#A-Dw]{1,128}$")]
MediaName = Annotated[Text, Field(min_length=1, max_length=255), AfterValidator(_media_name)]
Tone = Annotated[Text, Field(min_length=1, max_length=64)]
Tags = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], Annotated[Text, Field(max_length=512)]],
    Field(max_length=32),
]
SipHeaders = Annotated[
    dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=1024)]],
    Field(max_length=MAX_HEADERS, json_schema_extra={"propertyNames": {"pattern": HEADER_NAME, "maxLength": 64}}),
    AfterValidator(_headers),
]
CallId = Annotated[str, Field(pattern=_CALL_ID)]


class Body(BaseModel):
    """Base of every request body. Numbers may not come as text, nor text as numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _examples(*values: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [*values]})


class Play(Body):
    """Exactly one of ``file``, ``files``, ``tone`` and ``url``."""

    model_config = _examples(
        {"file": "welcome.wav"},
        {"files": ["hello.opus", "menu.mp3"], "loop": 3},
        {"tone": "425", "loop": True},
        {"tone": "350+440", "duration_ms": 1500},
        {"url": "https://sounds.example.org/news.mp3"},
    )

    file: MediaName | None = None
    files: Annotated[list[MediaName], Field(min_length=1, max_length=64)] | None = None
    """One after another."""
    tone: Tone | None = None
    url: Annotated[Text, Field(max_length=2048)] | None = None
    """`https://` of a public address, or what `[network] allow_private` lists; at most 32 MiB within 15 s, no redirect.
    Needs the scope `admin`."""
    loop: bool | Annotated[int, Field(ge=1, le=1_000_000)] = False
    """True: until it is stopped; a number: so many rounds. A tone without it lasts one round of its cadence, or 5 s."""
    mix: bool = False
    """Beside what else is said, not in its place."""
    duration_ms: Annotated[int, Field(ge=20, le=86_400_000)] | None = None
    """It ends after so long at the latest; a tone lasts so long."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.files, self.tone, self.url)) != 1:
            raise ValueError("give exactly one of file, files, tone and url")
        return self

    def value(self) -> PlayRequest:
        return PlayRequest(
            file=self.file,
            files=tuple(self.files or ()),
            tone=self.tone,
            url=self.url,
            loop=self.loop,
            mix=self.mix,
            duration_ms=self.duration_ms,
        )


class NewMessage(Body):
    """Text to send."""

    model_config = _examples({"account": "front", "to": "200", "body": "The door is open."})

    account: Annotated[Text, Field(min_length=1, max_length=64)]
    to: Annotated[Text, Field(min_length=1, max_length=256)]
    body: Annotated[str, Field(min_length=1, max_length=16384)]
    content_type: Annotated[Text, Field(min_length=3, max_length=128)] = "text/plain;charset=utf-8"

    def value(self) -> MessageRequest:
        return MessageRequest(account=self.account, to=self.to, body=self.body, content_type=self.content_type)


class Record(Body):
    """How to record."""

    model_config = _examples({"format": "wav", "channels": "stereo"}, {"format": "opus", "beep": True})

    format: Literal["wav", "opus"] = "wav"
    channels: Literal["stereo", "mixed"] = "stereo"
    """In stereo our side is on the left, the far end on the right."""
    beep: bool = False
    """Both ends hear a short tone now and then, also where the configuration does not ask for it."""

    def value(self) -> RecordRequest:
        return RecordRequest(format=self.format, channels=self.channels, beep=self.beep)


class Dtmf(Body):
    """Digits to send; ``w`` waits half a second."""

    model_config = _examples({"digits": "12w#"}, {"digits": "5", "method": "rfc4733", "duration_ms": 160})

    digits: Digits
    method: DtmfMethod = "auto"
    duration_ms: Annotated[int, Field(ge=40, le=4000)] = 100
    gap_ms: Annotated[int, Field(ge=40, le=4000)] = 60

    def value(self) -> DtmfRequest:
        return DtmfRequest(digits=self.digits, method=self.method, duration_ms=self.duration_ms, gap_ms=self.gap_ms)


class Collect(Body):
    """Digits to ask the far end for. Without ``play`` it is asked nothing."""

    model_config = _examples(
        {"play": {"file": "pin.wav"}, "max_digits": 4},
        {"play": {"tone": "beep"}, "terminators": "#*", "first_digit_s": 5.0, "barge_in": False},
    )

    play: Play | None = None
    max_digits: Annotated[int, Field(ge=1, le=128)] = 32
    terminators: Annotated[str, Field(pattern=r"^[0-9*#A-D]{0,16}$")] = "#"
    """Each of these ends the input, and is not part of it."""
    first_digit_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """From the end of the prompt."""
    between_digits_s: Annotated[float, Field(gt=0, le=600)] = 4.0
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    """For all of it, the prompt too."""
    barge_in: bool = True
    """A digit ends the prompt; else digits during the prompt do not count."""
    type_ahead: bool = False
    """Digits count that were keyed before and that nobody has asked for."""

    def value(self) -> CollectRequest:
        return CollectRequest(
            play=None if self.play is None else self.play.value(),
            max_digits=self.max_digits,
            terminators=self.terminators,
            first_digit_s=self.first_digit_s,
            between_digits_s=self.between_digits_s,
            timeout_s=self.timeout_s,
            barge_in=self.barge_in,
            type_ahead=self.type_ahead,
        )


class OnAnswer(Body):
    """One step for when media flows: exactly one member."""

    model_config = _examples(
        {"play": {"file": "welcome.wav"}},
        {"dtmf": "12ww#"},
        {"record": {}},
        {"stream": {"url": "wss://bot.example.org/ws"}},
    )

    play: Play | None = None
    dtmf: Digits | Dtmf | None = None
    record: Record | None = None
    stream: StreamOrder | None = None

    @model_validator(mode="after")
    def _one_step(self) -> Self:
        if len(self.model_fields_set) != 1 or all(
            step is None for step in (self.play, self.dtmf, self.record, self.stream)
        ):
            raise ValueError("give exactly one of play, dtmf, record and stream")
        return self

    def value(self) -> Step:
        match self:
            case OnAnswer(play=Play() as play):
                return play.value()
            case OnAnswer(dtmf=Dtmf() as dtmf):
                return dtmf.value()
            case OnAnswer(dtmf=str() as digits):
                return DtmfRequest(digits=digits)
            case OnAnswer(record=Record() as record):
                return record.value()
            case OnAnswer(stream=StreamOrder() as stream):
                return stream.value()
            case _:
                raise AssertionError("exactly one step is given")


class PlaceCall(Body):
    """A new outgoing call."""

    model_config = _examples(
        {"account": "front", "to": "200"},
        {
            "account": "front",
            "to": "+493012345",
            "wait": "answered",
            "timeout_s": 30.0,
            "on_answer": [{"play": {"file": "welcome.wav"}}],
            "headers": {"X-Queue": "night"},
            "tags": {"ticket": "4711"},
        },
    )

    account: Annotated[Text, Field(min_length=1, max_length=64)]
    to: Annotated[Text, Field(min_length=1, max_length=512)]
    headers: SipHeaders = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    max_duration_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    wait: Wait = "none"
    on_answer: Annotated[list[OnAnswer], Field(max_length=16)] = Field(default_factory=list)
    tags: Tags = Field(default_factory=dict)

    def value(self, id_: str | None = None) -> CallRequest:
        return CallRequest(
            account=self.account,
            to=self.to,
            headers=self.headers,
            timeout_s=self.timeout_s,
            max_duration_s=self.max_duration_s,
            on_answer=tuple(step.value() for step in self.on_answer),
            tags=self.tags,
            id=id_,
        )


class Reject(Body):
    """The SIP status that the caller gets."""

    model_config = _examples({"code": 486}, {"code": 603, "reason": "Not today"})

    code: Annotated[int, Field(ge=400, le=699)] = 486
    reason: Reason | None = None


class Hangup(Body):
    """Why, in words for the far end."""

    model_config = _examples({"reason": "Closing time"})

    reason: Reason | None = None


class Reinvite(Body):
    """Renegotiate; with ``ice_restart`` on a new path too."""

    model_config = _examples({"ice_restart": True})

    ice_restart: bool = True


class Transfer(Body):
    """Exactly one of ``to`` and ``replaces``."""

    model_config = _examples({"to": "201"}, {"replaces": "call_01939f2ab7c17c4f9d1be2a3c4d5e6f7"})

    to: Annotated[Text, Field(min_length=1, max_length=512)] | None = None
    """Whom the far end shall call: a SIP URI, a name at the account's domain, or a number."""
    replaces: CallId | None = None
    """The call whose far end it shall talk to."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.to is None) is (self.replaces is None):
            raise ValueError("give exactly one of to and replaces")
        return self


class BridgeCalls(Body):
    """Calls that hear each other."""

    model_config = _examples(
        {"calls": ["call_01939f2ab7c17c4f9d1be2a3c4d5e6f7", "call_01939f2ad3b87e1f8c2d4e5f60718293"]}
    )

    calls: Annotated[list[CallId], Field(min_length=2, max_length=16)]


class Tag(Body):
    """Tags to merge into the call's."""

    model_config = _examples({"tags": {"ticket": "4711"}})

    tags: Tags


class PutAccount(RootModel[dict[str, Any]]):
    """An account. Read by the phone, with the rules and the words of the configuration file."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = AccountConfig.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions = schema.pop("$defs", {})
        schema["properties"] = {
            **{name: _inlined(value, definitions) for name, value in schema["properties"].items() if name != "id"},
            "password": {"type": "string", "writeOnly": True, "minLength": 1, "maxLength": MAX_PASSWORD},
        }
        schema["required"] = [name for name in schema["required"] if name != "id"]
        return {**schema, "title": cls.__name__, "description": cls.__doc__}


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """``schema`` without references."""
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name:
            return _inlined(definitions[name], definitions)
        return {key: _inlined(value, definitions) for key, value in schema.items()}
    return [_inlined(item, definitions) for item in schema] if isinstance(schema, list) else schema


class Login(Body):
    """The code of a link of `phoned token --console`."""

    model_config = _examples({"code": "Nn3QmJt4c1V8xkq0a9yQZzUo2v5wHc7s"})

    code: Annotated[Text, Field(min_length=1, max_length=128)]


DeviceName = Annotated[Text, Field(max_length=256)]


class Use(Body):
    """What shall be different about a device's use. A ``device`` of null: the configuration's."""

    device: DeviceName | None = None
    muted: bool | None = None

    def value(self) -> RoleChange:
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "device" in fields:
            fields["device"] = fields["device"] or ""
        return RoleChange(**fields)


class InputUse(Use):
    """The microphone."""

    model_config = _examples({"device": "default", "gain_db": -6.0}, {"muted": True})

    gain_db: Annotated[float, Field(ge=-60, le=30)] | None = None


class OutputUse(Use):
    """A speaker."""

    model_config = _examples({"volume_pct": 80}, {"device": None})

    volume_pct: Annotated[int, Field(ge=0, le=100)] | None = None


class ChangeDevices(Body):
    """What shall be different. ``call``: who has microphone and speaker; null leaves it to the phone."""

    model_config = _examples(
        {"output": {"device": "alsa_output.usb-Jabra_SPEAK_510-00.analog-stereo", "volume_pct": 80}},
        {"input": {"muted": True}},
        {"call": "call_01939f2ab7c17c4f9d1be2a3c4d5e6f7"},
    )

    input: InputUse = InputUse()
    output: OutputUse = OutputUse()
    ring: OutputUse = OutputUse()
    call: CallId | None = None

    def chooses(self) -> bool:
        """Whether it says which devices are used."""
        return any("device" in role.model_fields_set for role in (self.input, self.output, self.ring))

    def value(self) -> DevicesChange:
        call = (self.call or "") if "call" in self.model_fields_set else None
        return DevicesChange(input=self.input.value(), output=self.output.value(), ring=self.ring.value(), call=call)


class UseProxy(Body):
    """Which outbound proxy to use; ``auto`` leaves it to recovery."""

    model_config = _examples({"use": "backup"})

    use: Literal["primary", "backup", "auto"]
