"""Field types of the configuration: units, paths with a root, secrets. Usable by the models of services too.

A relative path means nothing without a place. Each path field says its place in its type, and the loader makes it
absolute before validation: `FromFile` from the file that names it, `FromState` from ``state_dir``, `FromRuntime` from
the runtime directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Root:
    """Marks a path field: what a relative value is relative to."""

    place: Literal["file", "state", "runtime"]


@dataclass(frozen=True, slots=True)
class Holds:
    """Marks a path field whose file holds a secret: the loader checks its permissions and content."""


FromFile = Annotated[Path, Root("file")]
FromState = Annotated[Path, Root("state")]
FromRuntime = Annotated[Path, Root("runtime")]
SecretFile = Annotated[Path, Root("file"), Holds()]

Seconds = Annotated[float, Field(strict=True, ge=0, le=31_536_000, allow_inf_nan=False)]
"""A duration, at most a year."""
PositiveSeconds = Annotated[float, Field(strict=True, gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Table(BaseModel):
    """A TOML table: frozen, and a key that it does not know is an error. Base of every configuration model."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, hide_input_in_errors=True)


class Secret:
    """Secret bytes that do not show themselves. `reveal` is called where they are used, and nowhere else."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself."""
        return self._value

    def text(self) -> str:
        """The secret itself, as UTF-8."""
        return self._value.decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not copied out of the process")
