"""What all policies are written with: numbers with bounds, durations in seconds or milliseconds, and fields that exclude others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from models.wire_recovery import RecoveryRule, RetryPolicy

DAY = 86_400.0
Seconds = Annotated[float, Field(gt=0, le=30 * DAY, allow_inf_nan=False)]
Millis = Annotated[float, Field(gt=0, le=30 * DAY * 1000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


@dataclass
class Layer:
    """What one policy contributes to a run's policy; None and empty where it says nothing.

    `values` and `bounds` go by the names of `RunPolicy`'s fields. `max_retries` alone changes only that of a retry policy.
    """

    values: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, int] = field(default_factory=dict)
    retry: RetryPolicy | None = None
    max_retries: int | None = None
    rules: list[RecoveryRule] = field(default_factory=list)
    allow_irreversible: bool | None = None
    notify: list[str] = field(default_factory=list)


class Part(BaseModel):
    # strict: "3" is no number, and true is no 1
    model_config = ConfigDict(extra="forbid", strict=True)

    def duration(self, *names: str) -> float | None:
        """Seconds, from the one of these fields that is given; None if none is."""
        given = [name for name in names if getattr(self, name) is not None]
        if not given:
            return None
        value = float(getattr(self, given[0]))
        return value / 1000 if given[0].endswith("_ms") else value

    def only_one(self, *names: str) -> None:
        """Refuses more than one of these fields."""
        given = [name for name in names if getattr(self, name) not in (None, [], {})]
        if len(given) > 1:
            raise PydanticCustomError(
                "only_one", "Give only one of {names}.", {"names": ", ".join(given), "at": given[1]}
            )


def missing(name: str) -> PydanticCustomError:
    """The error of a field without which the part says nothing."""
    return PydanticCustomError("missing", "Is required.", {"at": name})
