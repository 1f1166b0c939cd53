"""What all answers share, and those that are about the API itself."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from phoned.store.tokens import Scope

T = TypeVar("T")


Moment = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", json_schema_extra={"format": "date-time"})
]


class Answer(BaseModel):
    """Base of every answer. Built when the description is asked for: a start has no use for it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class Event(Answer):
    """The envelope. `events.snapshot` and `events.gap` have no ``seq``."""

    id: str
    seq: int | None = None
    type: str
    time: Moment
    node: str
    data: dict[str, Any]


class Root(Answer):
    version: str
    node: str
    links: dict[str, str]


class Health(Answer):
    status: Literal["ok", "ready"]


class Ticket(Answer):
    """``subprotocol`` goes into the WebSocket's list of subprotocols, once, within ``expires_in_s``."""

    ticket: str
    subprotocol: str
    expires_in_s: float


class Login(Answer):
    """A session: ``token`` is shown this once, and is a bearer token until ``expires_at``."""

    token: str
    id: str
    scope: Scope
    expires_at: Moment


class Identity(Answer):
    """Who asks. ``expires_at`` is null for a token that lasts, and for a user of the unix socket."""

    id: str
    scope: Scope
    expires_at: Moment | None


class Page(Answer, Generic[T]):
    data: list[T]
    next_cursor: str | None


class FieldError(Answer):
    pointer: str
    detail: str


class Sip(Answer):
    code: int
    reason: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow", title="Problem", defer_build=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    state: str | None = None
    allowed_in: list[str] | None = None
    sip: Sip | None = None
    errors: list[FieldError] | None = None
    retry_after_s: float | None = None
