"""What did not hold of a step, and the failure that it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from activities import expressions
from activities.adapters.base import Json, StepError
from activities.contracts.spec import FailureType, Severity

#: Shown of one value, and of how many values, that a condition looked at.
_MAX_FOUND, _MAX_VALUES = 200, 5
_TEXT = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_SELECTED = re.compile(r"(?<![\w.\]])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*\b(?!\s*\())*")


@dataclass(frozen=True)
class Broken:
    """One condition, or one place in an output, that is not as promised.

    `path` is where the definition says so (`checkpoints[0].postconditions[1]`), `source` the condition's text, empty for a
    schema. `found` says what was there instead; only that part holds data of the run.
    """

    path: str
    source: str
    message: str
    found: str = ""
    failure_type: FailureType = "validation_error"
    severity: Severity | None = None

    def __str__(self) -> str:
        condition = f"`{self.source}`" if self.source else ""
        told = " - ".join(text for text in (self.message.rstrip("."), condition) if text)
        return f"{told} ({self.found})" if self.found else told


class ContractBroken(StepError):
    """A step that is not as its definition promises; trying it again with the same answers cannot help.

    Asking the models anew may, unless it is what the step began with (`redoable` is False then).
    The type is `hallucination` if one of the conditions says so. `severity` is the worst that the conditions name, None
    if none does. What stands before ": " in the message holds no data of the run.
    """

    retryable = False

    def __init__(self, what: str, broken: Sequence[Broken], *, redoable: bool = True) -> None:
        super().__init__(f"{what}: {'; '.join(str(one) for one in broken)}")
        self.redoable = redoable
        self.broken = tuple(broken)
        types = {one.failure_type for one in broken}
        self.failure_type = "hallucination" if "hallucination" in types else "validation_error"
        named = [one.severity for one in broken if one.severity is not None]
        self.severity: Severity | None = max(named, key=get_args(Severity).index, default=None)


def found_by(source: str, scope: Mapping[str, Json]) -> str:
    """The values that a condition looked at, for the person who has to understand why it does not hold."""
    names = expressions.variables(source)
    shown: dict[str, str] = {}
    for match in _SELECTED.finditer(_TEXT.sub('""', source)):
        path = match[0].split(".")
        if path[0] not in names or len(shown) == _MAX_VALUES:
            continue
        value: Json = scope
        for depth, name in enumerate(path):
            if not isinstance(value, Mapping) or name not in value:
                shown[".".join(path[: depth + 1])] = "missing"
                break
            value = value[name]
        else:
            shown[match[0]] = short(value)
    return ", ".join(f"{name} = {value}" if value != "missing" else f"no {name}" for name, value in shown.items())


def short(value: Json) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_FOUND else f"{text[:_MAX_FOUND]}..."
