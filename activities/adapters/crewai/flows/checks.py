"""Whether the parts of a flow fit together: events, expressions, the crews inside. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from activities.adapters.base import Json, JsonObject
from activities.adapters.crewai.checks import check_crew, placeholders
from activities.adapters.crewai.flows.spec import (
    Action,
    AgentCall,
    CrewCall,
    EachCall,
    ExpressionCall,
    FlowSpec,
    Method,
    ToolCall,
    events_of,
)
from activities.adapters.crewai.flows.templates import bare, expressions_of, texts_of, without_strings
from activities.adapters.crewai.parts import did_you_mean
from activities.expressions import ExpressionError, check, variables
from activities.schemas import fit_problems, schema_problems
from omium_core.errors import Problem

#: What expressions see; inside an `each`, `item` as well.
_ROOTS: Final = frozenset({"state", "outputs"})
_NOW: Final = re.compile(r"(?<![\w.])now\s*\(")
_OUTPUT: Final = re.compile(r"(?<![\w.])outputs\.([A-Za-z_]\w*)")
_FIELD_ALONE: Final = re.compile(r"state\.([A-Za-z_]\w*)")


def check_flow(flow: FlowSpec, tools: frozenset[str] | None) -> Iterator[Problem]:
    """All problems between the parts of a flow. `tools` None: tools are not known here, and not judged."""
    if flow.schema is not None:
        yield from schema_problems(flow.schema, "state.json_schema")
    if flow.methods and not any(method.start for method in flow.methods.values()):
        yield Problem("methods", "No method starts the flow: give one of them `start: true`.")
    for method in flow.methods.values():
        yield from _events(flow, method)
        if method.action is not None:
            yield from _expressions(flow, method.action, _ROOTS, frozenset(flow.methods))
    for _, action in flow.actions():
        if isinstance(action, CrewCall | AgentCall):
            yield from _crew(action, tools)
        elif isinstance(action, ToolCall) and tools is not None and action.name not in tools:
            yield Problem(
                f"{action.path}.ref", f"Tool {action.name!r} is not registered{did_you_mean(action.name, tools)}"
            )


def missing_inputs(flow: FlowSpec, inputs: JsonObject) -> Iterator[Problem]:
    """Inputs that do not fit the schema of the state, and those without which a template surely fails."""
    state = {**flow.defaults, **inputs}
    found: dict[str, Problem] = {}
    if flow.schema is not None:
        for problem in fit_problems(state, flow.schema, ""):
            path = problem.path.removeprefix(".")
            found.setdefault(path, Problem(path, problem.message))
    for _, action in flow.actions():
        for path, source in _sources(action):
            named = _FIELD_ALONE.fullmatch(source)
            if named is not None and named[1] not in {*state, "id"}:
                message = f"This input is missing: {path} uses state.{named[1]}."
                found.setdefault(named[1], Problem(named[1], message))
    yield from found.values()


def _events(flow: FlowSpec, method: Method) -> Iterator[Problem]:
    emitted = {event for router in flow.methods.values() if router.router for event in router.emit}
    known = flow.methods.keys() | emitted
    # A router that does not say what it emits may emit anything.
    any_event = any(other.router and not other.emit for other in flow.methods.values())
    for field, condition in (("listen", method.listen), ("start", method.start)):
        if condition is None or isinstance(condition, bool):
            continue
        for place, event in events_of(condition):
            path = f"{method.path}.{field}{place}"
            if field == "listen" and event == method.name:
                yield Problem(path, "A method that listens to itself would never end.")
            elif event not in known and not any_event:
                yield Problem(path, f"There is no method and no emitted event {event!r}{did_you_mean(event, known)}")


def _sources(action: Action) -> Iterator[tuple[str, str]]:
    """All expressions of an action with their paths, without those inside an `each`. `ExpressionError` where one is cut off."""
    match action:
        case ExpressionCall():
            yield action.path, bare(action.expr)
        case CrewCall():
            yield from _in_template(action.inputs, f"{action.path}.inputs")
        case AgentCall():
            yield from _in_template(action.input, f"{action.place}.input")
        case ToolCall():
            yield from _in_template(action.arguments, f"{action.path}.with")
        case EachCall():
            yield f"{action.path}.in", bare(action.items)
            for step in action.steps:
                if step.condition is not None:
                    yield f"{step.path}.if", bare(step.condition)


def _in_template(template: Json, path: str) -> Iterator[tuple[str, str]]:
    for where, text in texts_of(template, path):
        try:
            yield from ((where, source) for source in expressions_of(text))
        except ExpressionError as error:
            raise ExpressionError(f"{where}: {error}") from error


def _expressions(flow: FlowSpec, action: Action, roots: frozenset[str], outputs: frozenset[str]) -> Iterator[Problem]:
    inner = roots | {"item"}
    try:
        for path, source in _sources(action):
            of_a_step = isinstance(action, EachCall) and path.endswith(".if")
            names = outputs | {step.name for step in action.steps} if isinstance(action, EachCall) else outputs
            yield from _expression(path, source, inner if of_a_step else roots, names if of_a_step else outputs)
    except ExpressionError as error:
        path, _, message = str(error).partition(": ")
        yield Problem(path, message)
    if isinstance(action, EachCall):
        names = outputs | {step.name for step in action.steps}
        for step in action.steps:
            yield from _expressions(flow, step.action, inner, names)


def _expression(path: str, source: str, roots: frozenset[str], outputs: frozenset[str]) -> Iterator[Problem]:
    words = without_strings(source)
    if _NOW.search(words):
        yield Problem(path, "now() is not supported, as a repeated step must ask the same; give the time as an input.")
        return
    if (wrong := check(source, gives_value=not path.endswith(".if"))) is not None:
        yield Problem(path, wrong)
        return
    for name in sorted(variables(source) - roots):
        yield Problem(path, f"There is no {name!r} here, only {', '.join(sorted(roots))}: state.field, outputs.method.")
    for name in _OUTPUT.findall(words):
        if name not in outputs:
            yield Problem(path, f"There is no method {name!r}{did_you_mean(name, outputs)}")


def _crew(action: CrewCall | AgentCall, tools: frozenset[str] | None) -> Iterator[Problem]:
    inside = f"agents.{action.name}" if isinstance(action, AgentCall) else ""
    for problem in check_crew(action.crew, tools):
        path = problem.path.removeprefix(inside) if inside else f".{problem.path}"
        yield Problem(f"{action.place}{path}", problem.message)
    if isinstance(action, AgentCall):
        return
    for task in action.crew.tasks:
        if task.spec.human_input:
            path = f"{action.place}.{task.path}.human_input"
            yield Problem(path, "A flow is one step that nobody can answer; ask a person in a crew of its own.")
    for where, name in placeholders(action.crew):
        if name not in action.inputs:
            message = f"{{{name}}} gets no value: give it in {action.path}.inputs.{name}."
            yield Problem(f"{action.place}.{where}", message)
    if "crew_chat_messages" in action.inputs:
        yield Problem(f"{action.path}.inputs.crew_chat_messages", "This name is reserved by CrewAI for its chat.")
