"""What a flow promises of its steps: conditions, approvals, handoffs, and the promises of its agents. Pure.

Three places say it: the flow's own sections (`checkpoints`, `approvals`, `handoffs`), whose entries name a step, an agent or
something inside of an agent; a step of the flow; the sections inside an agent's `config`. What is said of a step of the flow as
a whole, or of its agent, counts once: before the agent begins, and when it is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from activities.adapters.base import JsonObject
from activities.adapters.flow.agents import half_of, inner_definition
from activities.adapters.flow.reading import Agent, FlowSpec, FlowStep
from activities.contracts import problems as judging
from activities.contracts.reading import Contracts, Placed, read_all, read_approval, read_checkpoint, read_handoff
from activities.contracts.spec import Approval, Checkpoint
from activities.policies.reading import agent_policy_problems, definition_policy_problems
from omium_core.errors import Problem

E = TypeVar("E", Checkpoint, Approval)


@dataclass(frozen=True)
class NodeContracts:
    """What is promised of one node.

    `start` counts before its first step, `steps` for each of its steps by its units, `end` when the node is done: then the
    named outputs are the output. `senders` are the names of the nodes that hand over to it, and of their agents.
    """

    start: Contracts
    steps: Contracts
    end: Contracts
    senders: tuple[str, ...]


def node_contracts(
    flow: FlowSpec, definition: JsonObject, step: FlowStep, waits_for: Collection[str], ran: Collection[str] | None
) -> NodeContracts:
    """The contracts of a step that waits for these steps; `ran` are those that were not skipped, None for all."""
    agent = flow.agents[step.part.agent]
    senders = [flow.steps[name] for name in waits_for if ran is None or name in ran]
    shared, _ = read_all(definition)
    inner, _ = read_all(agent.config, f"{agent.path}.config")
    whole, _ = _said_of(flow, step, senders, shared)
    named = {path for other in flow.steps.values() for path in _named_paths(flow, other, shared)}
    names = own_names(flow, step)
    meant = Contracts(
        tuple(_for(e, step) for e in shared.checkpoints if e.path not in named and _means(e, names)),
        tuple(_for(e, step) for e in shared.approvals if _means(e, names)),
        tuple(e for e in shared.handoffs if e.part.to in names),
    )
    taken = named | _paths(meant)
    start, end = _split(whole + meant)
    handing_over = dict.fromkeys(name for sender in senders for name in own_names(flow, sender))
    return NodeContracts(start, _without(inner + shared, taken), end, tuple(handing_over))


def contract_problems(flow: FlowSpec, definition: JsonObject) -> list[Problem]:
    """All problems of what a flow, its steps and its agents promise; the agents' own definitions are right."""
    shared, problems = read_all(definition)
    if "policies" in definition:
        problems += definition_policy_problems(definition["policies"])
    names = {name for step in flow.steps.values() for name in (*own_names(flow, step), *_inner_names(flow, step))}
    problems += judging.all_problems(shared, names)
    for agent in flow.agents.values():
        problems += _agent_problems(flow, agent)
    for step in flow.steps.values():
        senders = [flow.steps[name] for name in step.depends_on or () if name in flow.steps]
        whole, wrong = _said_of(flow, step, senders, Contracts())
        problems += wrong
        # names that are checked once for each entry stay as they are: steps may leave checkpoints of one name
        problems += judging.all_problems(_without_names(whole), names)
    return problems


def own_names(flow: FlowSpec, step: FlowStep) -> tuple[str, ...]:
    """The names of a node itself: its id and name, its agent's id and name."""
    agent = flow.agents[step.part.agent]
    return tuple(dict.fromkeys((step.id, step.name, agent.id, agent.name)))


def agent_policies(flow: FlowSpec) -> dict[str, JsonObject]:
    """The `recovery_policies` of agents, by their ids."""
    found = {agent.id: agent.config.get("recovery_policies") for agent in flow.agents.values()}
    return {name: policies for name, policies in found.items() if isinstance(policies, dict)}


def _said_of(
    flow: FlowSpec, step: FlowStep, senders: list[FlowStep], shared: Contracts
) -> tuple[Contracts, list[Problem]]:
    """What the step says of itself, with the entries that it names from the flow's sections and from its agent's."""
    part, path = step.part, step.path
    checkpoints: list[Placed[Checkpoint]] = []
    approvals: list[Placed[Approval]] = []
    problems: list[Problem] = []
    conditions = {key: getattr(part, key) for key in ("preconditions", "postconditions", "output_schema")}
    given = {key: value for key, value in conditions.items() if value is not None}
    if given:
        _keep(checkpoints, problems, read_checkpoint({"step": step.id, **given}, path))
    for index, entry in enumerate(part.checkpoints or ()):
        where = f"{path}.checkpoints[{index}]"
        named = _named(flow, step, shared, entry) if isinstance(entry, str) else None
        if named is not None:
            checkpoints.append(_for(named, step))
            continue
        described = {"name": entry} if isinstance(entry, str) else entry
        _keep(checkpoints, problems, read_checkpoint(_with_step(described, step), where))
    if part.approval not in (None, False):
        body: Any = {} if part.approval is True else part.approval
        _keep(approvals, problems, read_approval(_with_step(body, step), f"{path}.approval"))
    handoffs, wrong = _handoff(flow, step, senders)
    return Contracts(tuple(checkpoints), tuple(approvals), handoffs.handoffs), problems + wrong


def _handoff(flow: FlowSpec, step: FlowStep, senders: list[FlowStep]) -> tuple[Contracts, list[Problem]]:
    part = step.part
    if part.consensus_required is False or not (part.consensus_required or part.consensus is not None):
        return Contracts(), []
    sender = {"from": senders[0].part.agent} if senders else {}
    given: Any = {} if part.consensus is None else part.consensus
    body = {"to": part.agent, **sender, **given} if isinstance(given, Mapping) else given
    where = f"{step.path}.{'consensus_required' if part.consensus is None else 'consensus'}"
    placed, problems = read_handoff(body, where)
    return Contracts(handoffs=(placed,) if placed else ()), problems


def _keep(kept: list[Placed[E]], problems: list[Problem], read: tuple[Placed[E] | None, list[Problem]]) -> None:
    entry, wrong = read
    problems += wrong
    if entry is not None:
        kept.append(entry)


def _with_step(body: Any, step: FlowStep) -> Any:
    return {**body, "step": step.id} if isinstance(body, Mapping) else body


def _named(flow: FlowSpec, step: FlowStep, shared: Contracts, name: str) -> Placed[Checkpoint] | None:
    """The entry of that name: of the step's agent, else of the flow."""
    agent = flow.agents[step.part.agent]
    inner, _ = read_all(agent.config, f"{agent.path}.config")
    return inner.named(name) or shared.named(name)


def _named_paths(flow: FlowSpec, step: FlowStep, shared: Contracts) -> Iterator[str]:
    for name in step.part.checkpoints or ():
        entry = _named(flow, step, shared, name) if isinstance(name, str) else None
        if entry is not None:
            yield entry.path


def _means(entry: Placed[Checkpoint] | Placed[Approval], names: Collection[str]) -> bool:
    """Whether an entry is for the node as a whole."""
    return entry.part.names is not None and not set(entry.part.names).isdisjoint(names)


def _for(entry: Placed[E], step: FlowStep) -> Placed[E]:
    return replace(entry, part=entry.part.model_copy(update={"step": step.id, "steps": None}))


def _split(whole: Contracts) -> tuple[Contracts, Contracts]:
    """What counts before a node, and what counts when it is done."""
    first: JsonObject = {"postconditions": [], "output_schema": None, "name": None}
    before = [replace(e, part=e.part.model_copy(update=first)) for e in whole.checkpoints if e.part.preconditions]
    after = [replace(e, part=e.part.model_copy(update={"preconditions": []})) for e in whole.checkpoints]
    start = Contracts(
        tuple(before), tuple(e for e in whole.approvals if e.part.when == "before"), handoffs=whole.handoffs
    )
    return start, Contracts(tuple(after), tuple(e for e in whole.approvals if e.part.when == "after"))


def _paths(contracts: Contracts) -> set[str]:
    entries = [[entry.path for entry in section] for section in (contracts.checkpoints, contracts.approvals)]
    return {*(path for paths in entries for path in paths), *(entry.path for entry in contracts.handoffs)}


def _without(contracts: Contracts, paths: Collection[str]) -> Contracts:
    return Contracts(
        tuple(entry for entry in contracts.checkpoints if entry.path not in paths),
        tuple(entry for entry in contracts.approvals if entry.path not in paths),
        tuple(entry for entry in contracts.handoffs if entry.path not in paths),
    )


def _without_names(contracts: Contracts) -> Contracts:
    bare = (replace(e, part=e.part.model_copy(update={"name": None})) for e in contracts.checkpoints if _says(e))
    return replace(contracts, checkpoints=tuple(bare))


def _says(entry: Placed[Checkpoint]) -> bool:
    part = entry.part
    return bool(part.preconditions or part.postconditions or part.output_schema is not None or not part.name)


def _agent_problems(flow: FlowSpec, agent: Agent) -> list[Problem]:
    path = f"{agent.path}.config"
    contracts, problems = read_all(agent.config, path)
    problems += judging.undecided_handoffs(agent.config, agent.framework, path)
    names = {n for s in flow.steps.values() if s.part.agent == agent.id for n in _inner_names(flow, s)}
    problems += judging.all_problems(contracts, names | {agent.id, agent.name} if names else names)
    if "recovery_policies" in agent.config:
        problems += agent_policy_problems(agent.config["recovery_policies"], f"{path}.recovery_policies")
    return problems


def _inner_names(flow: FlowSpec, step: FlowStep) -> frozenset[str]:
    agent = flow.agents[step.part.agent]
    return half_of(agent).unit_names(inner_definition(agent, step))
