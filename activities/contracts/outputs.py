"""What a step gave, as conditions and schemas see it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from activities.adapters.base import Json


def output_of(unit: Json, units: Sequence[str], names: Sequence[str]) -> Json:
    """The output of the units that are named, out of what the whole step produced (`StepResult.unit`).

    A map by the units' names (nodes) gives the one that is named, or a map of those that are. A record `{name, agent,
    output}` (a task) gives its output, a list of such records the one that is named, or a list of those that are.
    Everything else is given as it is.
    """
    if isinstance(unit, dict) and unit and set(unit) <= set(units):
        return unit.get(names[0]) if len(names) == 1 else {name: unit.get(name) for name in names}
    if _is_record(unit):
        return unit["output"]
    if isinstance(unit, list) and unit and all(_is_record(record) for record in unit):
        named = [record["output"] for record in unit if {record.get("name"), record.get("agent")} & set(names)]
        return named[0] if len(named) == 1 else named
    return unit


def _is_record(unit: Json) -> bool:
    return (
        isinstance(unit, dict) and "output" in unit and {"name", "agent", "output"}.issuperset(unit) and len(unit) > 1
    )


def as_json(output: Json) -> Json:
    """A text that holds JSON, also inside a fenced block as models like to write it, as that JSON; else the text."""
    if not isinstance(output, str):
        return output
    body = output.strip()
    if body.startswith("```"):
        body = body.removesuffix("```").partition("\n")[2]
    try:
        return json.loads(body, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return output


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
