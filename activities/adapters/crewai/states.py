"""The state of a crew between two steps: `{"inputs": {...}, "outputs": [...]}`. Pure.

`inputs` are what the run was given, defaults filled in; `outputs` hold one `SavedOutput` for each finished task, in the order
of the tasks. Conversations are not kept: CrewAI's contexts are made of outputs alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from activities.adapters.base import BadDefinition, JsonObject


class SavedOutput(TypedDict):
    """The output of a task. `json` is the structured answer, where the task asked for one."""

    name: str
    agent: str
    raw: str
    json: Any


def make_state(inputs: JsonObject, outputs: Sequence[SavedOutput]) -> JsonObject:
    return {"inputs": inputs, "outputs": list(outputs)}


def read_state(state: JsonObject) -> tuple[JsonObject, list[SavedOutput]]:
    """Inputs and outputs of a state; people may have edited it. Raises `BadDefinition` for what is no state of a crew."""
    inputs, outputs = state.get("inputs"), state.get("outputs")
    if not isinstance(inputs, Mapping) or not isinstance(outputs, list):
        raise BadDefinition("The state of a crew holds `inputs` (an object) and `outputs` (a list).")
    return dict(inputs), [_saved(output, index) for index, output in enumerate(outputs)]


def result_of(outputs: Sequence[SavedOutput]) -> JsonObject:
    """The result of a run: the last task's output, and those of all tasks."""
    last = outputs[-1]
    structured = {} if last["json"] is None else {"json": last["json"]}
    return {"raw": last["raw"], **structured, "tasks_output": list(outputs)}


def _saved(output: Any, index: int) -> SavedOutput:
    if not isinstance(output, Mapping) or not isinstance(output.get("raw"), str):
        raise BadDefinition(f"outputs[{index}] of the state holds no text under `raw`.")
    name, agent = str(output.get("name", f"task {index + 1}")), str(output.get("agent", ""))
    return {"name": name, "agent": agent, "raw": output["raw"], "json": output.get("json")}
