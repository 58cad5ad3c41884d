"""The state of a flow's run: `{"inputs": {...}, "flow": null}` before its only step, and the result under `flow` after it. Pure."""

from __future__ import annotations

from activities.adapters.base import BadDefinition, JsonObject


def make_state(inputs: JsonObject, result: JsonObject | None) -> JsonObject:
    return {"inputs": inputs, "flow": result}


def is_state_of_flow(state: JsonObject) -> bool:
    return "flow" in state and "outputs" not in state


def read_state(state: JsonObject) -> tuple[JsonObject, JsonObject | None]:
    """Inputs and result; people may have edited them. Raises `BadDefinition` for what is no state of a flow."""
    inputs, result = state.get("inputs"), state.get("flow")
    if not isinstance(inputs, dict) or not (result is None or isinstance(result, dict)):
        raise BadDefinition("The state of a flow holds `inputs` (an object) and `flow` (null, or its result).")
    return inputs, result
