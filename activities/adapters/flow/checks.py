"""Whether the parts of a flow fit together: agents, steps, names, conditions, and each agent's own definition. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from activities import expressions, templates
from activities.adapters.flow.agents import INNER_FRAMEWORKS, half_of, inner_definition, outer_path
from activities.adapters.flow.planning import Circle, Graph, graph_of, makers_of, used_names, used_steps
from activities.adapters.flow.reading import Agent, FlowSpec, FlowStep, did_you_mean
from activities.adapters.flow.spec import RESERVED
from omium_core.errors import Problem


def check_flow(flow: FlowSpec, tools: frozenset[str] | None) -> Iterator[Problem]:
    """All problems between the parts of a flow that was read, and inside of its agents."""
    for step in flow.steps.values():
        yield from _references(flow, step)
        yield from _texts(step)
    for agent in flow.agents.values():
        yield from _framework(agent)
    yield from _order(flow)
    yield from _agents(flow, tools)


def _references(flow: FlowSpec, step: FlowStep) -> Iterator[Problem]:
    if flow.all_agents and step.part.agent not in flow.agents:
        hint = did_you_mean(step.part.agent, flow.agents)
        yield Problem(f"{step.path}.agent", f"There is no agent {step.part.agent!r}{hint}")
    for index, name in enumerate(step.depends_on or ()):
        path = f"{step.path}.depends_on"
        if isinstance(step.part.depends_on, list):
            path = f"{path}[{index}]"
        if name == step.id:
            yield Problem(path, "A step cannot wait for itself.")
        elif flow.all_steps and name not in flow.steps:
            yield Problem(path, f"There is no step {name!r}{did_you_mean(name, flow.steps)}")
    for name, path in used_steps(step):
        if flow.all_steps and name not in flow.steps:
            yield Problem(path, f"There is no step {name!r}{did_you_mean(name, flow.steps)}")
    for index, name in enumerate(step.outputs):
        if step.part.outputs is not None and name in RESERVED:
            yield Problem(_output_path(step, index, name), f"The name {name!r} is reserved.")


def _output_path(step: FlowStep, index: int, name: str) -> str:
    if isinstance(step.part.outputs, list):
        return f"{step.path}.outputs[{index}]"
    return f"{step.path}.outputs.{name}" if isinstance(step.part.outputs, dict) else f"{step.path}.outputs"


def _texts(step: FlowStep) -> Iterator[Problem]:
    if step.part.when is not None and (wrong := expressions.check(step.part.when)):
        yield Problem(f"{step.path}.when", wrong)
    if step.task is not None and (wrong := templates.check(step.task)):
        yield Problem(f"{step.path}.{'task' if step.part.task else 'description'}", wrong)
    for source in step.sources or ():
        if source.target == "task" and step.part.task is not None:
            yield Problem(source.path, "The step has a `task`, which is this input: leave one of them out.")


def _framework(agent: Agent) -> Iterator[Problem]:
    if agent.framework not in INNER_FRAMEWORKS:
        hint = did_you_mean(agent.framework, INNER_FRAMEWORKS)
        known = ", ".join(INNER_FRAMEWORKS)
        yield Problem(f"{agent.path}.framework", f"Unknown framework {agent.framework!r}{hint} Known are: {known}.")


def _order(flow: FlowSpec) -> Iterator[Problem]:
    try:
        graph = graph_of(flow)
    except Circle as circle:
        yield Problem("flow", f"These steps wait for each other: {', '.join(circle.steps)}.")
        return
    for step in flow.steps.values():
        yield from _made_later(flow, graph, step)


def _made_later(flow: FlowSpec, graph: Graph, step: FlowStep) -> Iterator[Problem]:
    """Names of outputs that only this step or those after it make: the run's inputs may still have them, but a path `steps.x` not."""
    for name, path in used_steps(step):
        if name in flow.steps and name not in graph.ancestors[step.id]:
            yield Problem(path, f"Step {name!r} does not run before this one.")


def _agents(flow: FlowSpec, tools: frozenset[str] | None) -> Iterator[Problem]:
    """What the frameworks say of their agents; an agent of several steps is told of once."""
    told: set[Problem] = set()
    for step in flow.steps.values():
        agent = flow.agents.get(step.part.agent)
        if agent is None or agent.framework not in INNER_FRAMEWORKS:
            continue
        inner = inner_definition(agent, step)
        problems = half_of(agent).validate(inner, tools=tools)
        found = [Problem(outer_path(agent, step, p.path), p.message) for p in problems] or list(_inputs(agent, step))
        yield from (problem for problem in found if problem not in told)
        told.update(found)


def _inputs(agent: Agent, step: FlowStep) -> Iterator[Problem]:
    """Inputs that the agent needs and the step, which says what it gives, does not give."""
    if step.sources is None:
        return
    given = {source.target for source in step.sources} | ({"task"} if agent.is_lone or step.task else set())
    stand_ins = dict.fromkeys(given, "")
    for problem in half_of(agent).validate_inputs(inner_definition(agent, step), stand_ins):
        if problem.path not in given:
            yield Problem(f"{step.path}.inputs", f"{problem.path}: {problem.message}")


def missing_inputs(flow: FlowSpec, graph: Graph, inputs: frozenset[str]) -> dict[str, str]:
    """Names that steps use and that neither a step before them makes nor the run's inputs have, each with where it is used."""
    missing: dict[str, str] = {}
    for step in flow.steps.values():
        optional = {source.path for source in step.sources or () if source.default}
        for name, path in used_names(step):
            made = any(maker in graph.ancestors[step.id] for maker in makers_of(flow, name))
            if not made and name not in inputs and path not in optional and not path.endswith(".task"):
                missing.setdefault(name, path)
        for source in step.sources or ():
            if source.parts[:1] == ("inputs",) and not source.default and not inputs.issuperset(source.parts[1:2]):
                missing.setdefault(source.parts[1], source.path)
    return missing
