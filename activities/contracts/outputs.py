"""What a step gave, as conditions and schemas see it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from activities.adapters.base import Json, JsonObject

#: What an adapter says of one task, or of one message of an agent.
_RECORD = frozenset({"name", "agent", "output", "handoff"})


def output_of(unit: Json, units: Sequence[str], names: Sequence[str]) -> Json:
    """The output of the units that are named, out of what the whole step produced (`StepResult.unit`).

    A map by the units' names (nodes) gives the one that is named, or a map of those that are. A record `{name, agent,
    output}` (a task, a message) gives its output. A list of records gives the outputs of those that are named, or the
    one of the only task, or the last message of the only agent. Everything else is given as it is.
    """
    if isinstance(unit, dict) and unit and set(unit) <= set(units):
        # a step of a flow has names that its agent's framework does not know
        return _one_or_all({name: unit[name] for name in names if name in unit} or unit)
    if _is_record(unit):
        return unit["output"]
    if isinstance(unit, list) and unit and all(_is_record(record) for record in unit):
        named = [record for record in unit if {record.get("name"), record.get("agent")} & set(names)] or unit
        said = sorted(named, key=lambda record: "handoff" not in record)
        outputs = {record.get("name") or record["agent"]: record["output"] for record in said}
        return outputs.popitem()[1] if len(outputs) == 1 else [outputs[name] for name in _in_order(named)]
    return unit


def _one_or_all(outputs: JsonObject) -> Json:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _in_order(records: Sequence[JsonObject]) -> list[str]:
    return list(dict.fromkeys(record.get("name") or record["agent"] for record in records))


def _is_record(unit: Json) -> bool:
    named = isinstance(unit, dict) and ("name" in unit or "agent" in unit)
    return named and "output" in unit and _RECORD.issuperset(unit)


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
