"""The pure half of the Semantic Kernel adapter: judges, plans and edits definitions without importing Semantic Kernel.

A definition has agents with an orchestration, or prompt functions:

- `{"agents": [...], "orchestration": {...}}`. An agent is a declarative `chat_completion_agent` (`name`, `description`,
  `instructions`, `model: {"id", "options"}`, `tools`), or a person (`"type": "human"`). The orchestration is `sequential` (the
  default), `concurrent`, `group_chat`, `handoff` or `magentic`. One agent may be the whole definition.
- `{"functions": [...]}`: templates that are filled and sent to a model one after the other. Inputs and the results of earlier
  functions are variables by their names; `$input` is the result before, at first the task.

`inputs.task` is the first message, else the inputs as JSON text. A turn of an agent, a function or a person is one step; agents
of a concurrent orchestration run in one step together. Steps are named after who has
the turn, from the second turn on with the round (`round 2 · critic`).

A run's outputs are `{"raw": the last text of an agent, "messages": [{"role", "name", "content"}]}`, and `results` by name for
concurrent agents and for functions. The task's summary is `raw` where a handoff ends with `complete_task`.
"""

from __future__ import annotations

from typing import Any, Final

from activities.adapters.base import Edit, JsonObject, Plan
from activities.adapters.semantic_kernel import states, turns
from activities.adapters.semantic_kernel.checks import check_spec, instructions_of, template_of
from activities.adapters.semantic_kernel.editing import apply_edit
from activities.adapters.semantic_kernel.published import json_schema
from activities.adapters.semantic_kernel.reading import Spec, read
from activities.adapters.semantic_kernel.schema import DEFAULT_ROUNDS, GroupChat, Magentic
from omium_core.errors import Problem

_MAGENTIC: Final = (
    "The manager of a Magentic team runs inside the steps of the agents: there is no checkpoint between a turn and what the "
    "manager makes of it."
)


class SemanticKernelDefinition:
    """Implements `FrameworkDefinition` for Semantic Kernel."""

    name = "semantic_kernel"

    def validate(self, definition: JsonObject, *, tools: frozenset[str] | None) -> list[Problem]:
        """All problems, with paths such as `agents[1].instructions` or `orchestration.handoffs[0].to`."""
        reading = read(definition)
        told = {problem.path for problem in reading.problems}
        return reading.problems + [p for p in check_spec(reading.spec, tools) if p.path not in told]

    def validate_inputs(self, definition: JsonObject, inputs: JsonObject) -> list[Problem]:
        """Variables of templates that nothing fills; the path is the input's name."""
        spec = read(definition).spec
        missing: dict[str, str] = {}
        for agent in spec.agents.values():
            known = inputs.keys() | {name for name, given in agent.fields.inputs.items() if not given.required}
            known |= {name for name, given in agent.fields.inputs.items() if given.default is not None}
            required = {name for name, given in agent.fields.inputs.items() if given.required}
            for name in sorted((instructions_of(agent).variables | required) - known):
                missing.setdefault(name, f"{agent.path or agent.name} uses it")
        before: set[str] = {"input"}
        for function in spec.functions.values():
            declared = {v.name: v for v in function.fields.input_variables}
            optional = {name for name, v in declared.items() if not v.is_required or v.default not in (None, "")}
            known = inputs.keys() | before | optional
            for name in sorted(template_of(function).variables - known):
                missing.setdefault(name, f"{function.path or function.name} uses it")
            before.add(function.name)
        problems = [Problem(name, f"This input is missing: {where}.") for name, where in missing.items()]
        problems += [
            Problem(name, "A function has this name, and its result is what later templates see under it.")
            for name in sorted(spec.functions.keys() & inputs.keys())
        ]
        return sorted(problems, key=lambda problem: problem.path)

    def plan(self, definition: JsonObject, inputs: JsonObject) -> Plan:
        """One step per turn; open-ended where a model decides who follows."""
        reading = read(definition)
        spec = reading.spec
        warnings = list(reading.warnings)
        if isinstance(spec.orchestration, Magentic):
            warnings.append(_MAGENTIC)
        if isinstance(spec.orchestration, GroupChat) and spec.orchestration.max_rounds is None:
            warnings.append(f"orchestration.max_rounds is not given: the chat ends after {DEFAULT_ROUNDS} turns.")
        names = tuple(spec.functions) or tuple(agent.name for agent in spec.members)
        return Plan(tuple(turns.step_names(spec)), turns.is_open_ended(spec), names, tuple(warnings))

    def needs_worker(self, definition: JsonObject, *, tools: frozenset[str]) -> bool:
        """Only for tools that are not known here: a definition holds no code."""
        return not tools.issuperset(_tools(read(definition).spec))

    def json_schema(self) -> JsonObject:
        """The JSON Schema of definitions."""
        return json_schema()

    def view(self, state: JsonObject) -> JsonObject:
        """The inputs, what was said so far, and who is next."""
        shown: dict[str, Any] = {"inputs": state["inputs"], "messages": states.public(state["messages"])}
        if state["results"]:
            shown["results"] = state["results"]
        return {**shown, "next": state["next"] or []}

    def values(self, state: JsonObject) -> JsonObject:
        """`messages`, `last`, and the last text of each agent or function by its name."""
        return states.values(state)

    def units(self, definition: JsonObject, state: JsonObject) -> tuple[str, ...]:
        """Who has the next turn; empty where a model is asked, and at the end."""
        return tuple(state["next"] or ())

    def unit_names(self, definition: JsonObject) -> frozenset[str]:
        """All agents that take part, the person who is asked, or all functions."""
        return turns.all_names(read(definition).spec)

    def edit(self, definition: JsonObject, state: JsonObject, edit: Edit) -> tuple[JsonObject, JsonObject]:
        """Prompts and models by the name of an agent, a function or the `manager`; values as `values` names them."""
        return apply_edit(definition, state, edit)


def _tools(spec: Spec) -> list[str]:
    agents = [tool for agent in spec.agents.values() for tool in agent.tools]
    return agents + [tool for function in spec.functions.values() for tool in function.tools]


DEFINITION: Final = SemanticKernelDefinition()
