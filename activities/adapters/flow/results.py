"""The named outputs of a step, found in what its agent gave. Pure.

A name is looked for in the outputs of the agent's framework (`{"raw", "json", ...}` of a crew, the fields of a graph, `raw` and
`messages` of a team), in their `json`, in their text where it is a JSON object, and among the values of the last state (outputs
of tasks, texts of agents). One name alone that is nowhere is the structured answer, else the text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from activities.adapters.base import Json, JsonObject, StepError
from activities.adapters.flow.paths import NothingThere, lookup
from activities.adapters.flow.reading import FlowStep

_FENCED: Final = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


class MissingOutput(StepError):
    """The agent's outputs lack something that the step promised to later steps."""

    failure_type = "validation_error"
    retryable = False
    redoable = True


def named_outputs(step: FlowStep, result: Json, values: JsonObject) -> JsonObject:
    """The outputs of a step by their names. Raises `MissingOutput`."""
    found: JsonObject = {}
    for name, path in step.outputs.items():
        value = _find(_places(result, values), path or (name,))
        if value is None and path is None and len(step.outputs) == 1:
            value = _whole(result, or_all=step.part.outputs is None)
        if value is None:
            place = ".".join(path or (name,))
            raise MissingOutput(f"The outputs of step {step.id!r} lack {place!r}, which it should give as {name!r}.")
        found[name] = value[0]
    return found


def text_of(result: Json) -> str | None:
    """The text of an agent's outputs, where they have one."""
    text = result.get("raw") if isinstance(result, dict) else result
    return text if isinstance(text, str) else None


def _places(result: Json, values: JsonObject) -> list[Json]:
    structured = result.get("json") if isinstance(result, dict) else None
    return [result, structured, _read(text_of(result) or ""), values]


def _find(places: list[Json], path: tuple[str, ...]) -> tuple[Json] | None:
    for place in places:
        try:
            return (lookup(place, path),)
        except NothingThere:
            continue
    return None


def _whole(result: Json, *, or_all: bool) -> tuple[Json] | None:
    structured = result.get("json") if isinstance(result, dict) else None
    text = text_of(result)
    if structured is not None or text is not None:
        return (structured if structured is not None else text,)
    return (result,) if or_all else None


def _read(text: str) -> Any:
    """A text as JSON, also in a fenced block as models like to write it; None if it is none."""
    fenced = _FENCED.search(text)
    for body in (text, fenced[1] if fenced else ""):
        try:
            return json.loads(body, parse_constant=_no_json)
        except ValueError:
            continue
    return None


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
