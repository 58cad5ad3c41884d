"""What a step is given when it starts, and whether it starts at all. Pure.

Names mean, in this order: the output of the last step before this one that ran and has it; an input of the run; null, for an
output of a step that was skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from activities import expressions, templates
from activities.adapters.base import BadDefinition, Json, JsonObject
from activities.adapters.flow.agents import half_of, inner_definition
from activities.adapters.flow.paths import NothingThere, lookup
from activities.adapters.flow.planning import Graph
from activities.adapters.flow.reading import Agent, FlowSpec, FlowStep, Source

#: The states of steps that ended, by their ids; skipped ones may be missing.
Ends = Mapping[str, JsonObject]

#: A placeholder as CrewAI writes it.
_PLACEHOLDER: Final = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)}(?!})")


def ran(ends: Ends, step: str) -> JsonObject | None:
    """The state of a step that ran to its end; None if it was skipped."""
    wrapper = ends.get(step)
    return None if wrapper is None or wrapper.get("skipped") else wrapper


def known_values(flow: FlowSpec, graph: Graph, step: FlowStep, inputs: JsonObject, ends: Ends) -> JsonObject:
    """All names that a step may use, with what they mean; `inputs` and `steps` among them."""
    before = [name for name in graph.order if name in graph.ancestors[step.id]]
    made: JsonObject = {}
    missing: JsonObject = {}
    for name in before:
        wrapper = ran(ends, name)
        if wrapper is None:
            missing |= dict.fromkeys(flow.steps[name].outputs)
        else:
            made |= wrapper["outputs"]
    results = {name: (ran(ends, name) or {}).get("result") for name in before}
    return {**missing, **inputs, **made, "inputs": inputs, "steps": results}


def made_names(flow: FlowSpec, graph: Graph, step: FlowStep) -> frozenset[str]:
    """The names of all outputs of the steps before this one."""
    return frozenset(output for name in graph.ancestors[step.id] for output in flow.steps[name].outputs)


def unmade_names(flow: FlowSpec, graph: Graph, step: FlowStep, inputs: JsonObject, ends: Ends) -> frozenset[str]:
    """Of these, those that no step made because it was skipped, and that the run's inputs do not have either."""
    made = {output for name in graph.ancestors[step.id] for output in (ran(ends, name) or {}).get("outputs") or ()}
    return made_names(flow, graph, step) - made - inputs.keys()


def starts(graph: Graph, step: FlowStep, known: JsonObject, ends: Ends) -> bool:
    """Whether a step runs: something that it waits for ran, and its condition holds. `BadDefinition` if that cannot be told.

    In a plain list of steps one that is skipped is passed over, and the list goes on.
    """
    needs = () if graph.is_list else graph.waits_for[step.id]
    if needs and all(ran(ends, name) is None for name in needs):
        return False
    if step.part.when is None:
        return True
    try:
        return expressions.evaluate(step.part.when, known)
    except expressions.ExpressionError as error:
        raise BadDefinition(f"The condition of step {step.id!r} cannot be evaluated: {error}") from error


def inputs_of(agent: Agent, step: FlowStep, known: JsonObject, skipped: frozenset[str]) -> JsonObject:
    """What the agent is given. `skipped` are names that only skipped steps would have made. Raises `BadDefinition`."""
    if step.sources is None:
        given = {name: value for name, value in known.items() if name not in ("inputs", "steps")}
        unmade = skipped
    else:
        given = {source.target: _value(step, source, known, skipped) for source in step.sources}
        unmade = frozenset(s.target for s in step.sources if s.parts and s.parts[0] in skipped and not s.default)
    if agent.is_lone or step.task is not None:
        given["task"] = task_text(agent, step, {**known, **given}, given)
    if unmade:
        refused = {problem.path for problem in half_of(agent).validate_inputs(inner_definition(agent, step), given)}
        given = {name: value for name, value in given.items() if name not in unmade & refused}
    return given


def _value(step: FlowStep, source: Source, known: JsonObject, skipped: frozenset[str]) -> Json:
    if not source.parts:
        return source.value
    try:
        found = lookup(known, source.parts)
    except NothingThere as nothing:
        if not source.default and (source.parts[0] in skipped or _in_skipped_step(source, known)):
            return None
        if not source.default:
            message = f"Step {step.id!r} lacks its input {source.target!r}: there is no {nothing.place!r}."
            raise BadDefinition(message) from nothing
        return source.default[0]
    return source.default[0] if found is None and source.default and source.parts[0] in skipped else found


def _in_skipped_step(source: Source, known: JsonObject) -> bool:
    return source.parts[0] == "steps" and known["steps"].get(source.parts[1]) is None


def task_text(agent: Agent, step: FlowStep, known: JsonObject, given: JsonObject) -> str:
    """The task as text. One that uses nothing of what is given is followed by what is given."""
    template = step.task or f"{step.name}: do your part with what is given."
    if agent.is_lone:
        template = _PLACEHOLDER.sub(lambda found: f"{{{{ {found[1]} }}}}" if found[1] in given else found[0], template)
    try:
        text = templates.render(template, known)
        uses_any = bool(templates.variables(template))
    except templates.TemplateError as error:
        raise BadDefinition(f"The task of step {step.id!r} cannot be written: {error}") from error
    rest = {name: value for name, value in given.items() if name != "task"}
    if uses_any or not rest:
        return text
    return f"{text}\n\nGiven:\n{json.dumps(rest, ensure_ascii=False, indent=2, sort_keys=True)}"
