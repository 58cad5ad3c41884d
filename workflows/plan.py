"""Pure: what a run does next, and how it is told to people. No Temporal, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.wire import Branch, FlowNode, RunInput, Step
from omium_core.credits import MICRO

#: Statuses of a branch in which nothing more happens to it.
ENDED = ("done", "skipped")

Branches = dict[str, Branch]


def first_branches(run: RunInput) -> Branches:
    """Where a run begins, or goes on after checkpoints. A run without a flow is one branch without a name."""
    if run.branches:
        branches = {branch.node: branch for branch in run.branches}
    elif run.flow:
        branches = {}
    else:
        step = run.next_step or Step(run.steps_done, run.first_step)
        return {"": Branch(run.framework, step=step, checkpoint=run.checkpoint)}
    for node in run.flow:
        if node.id not in branches:
            branches[node.id] = Branch(node.framework, node.id, status="blocked", step=Step(0, node.first_step))
    unblock(run.flow, branches)
    return branches


def unblock(flow: Iterable[FlowNode], branches: Branches) -> None:
    """Makes the nodes ready whose dependencies have all ended."""
    for node in flow:
        branch = branches[node.id]
        if branch.status == "blocked" and all(branches[name].status in ENDED for name in node.depends_on):
            branch.status = "ready"


def sources(flow: Iterable[FlowNode], branches: Branches, node: str) -> dict[str, str]:
    """Where the nodes that a node depends on, directly or not, left their states."""
    needs = {known.id: known.depends_on for known in flow}
    found: dict[str, str] = {}
    to_see = list(needs.get(node, ()))
    while to_see:
        name = to_see.pop()
        if name not in found:
            found[name] = branches[name].checkpoint.blob
            to_see.extend(needs[name])
    return {name: found[name] for name in sorted(found) if branches[name].status == "done"}


def ends(branches: Branches) -> dict[str, str]:
    """The states that the nodes of a flow ended with."""
    return {name: branch.checkpoint.blob for name, branch in branches.items() if branch.status == "done"}


def is_over(branches: Branches) -> bool:
    return all(branch.status in ENDED for branch in branches.values())


def waits_for(branches: Branches) -> str:
    """Why nothing can be done for a run: `approval` or `consensus`; empty while something can."""
    if any(branch.status == "ready" for branch in branches.values()):
        return ""
    waiting = [branch for branch in branches.values() if branch.status == "waiting"]
    if not waiting:
        return ""
    return "approval" if any(branch.questions for branch in waiting) else "consensus"


def beyond_bound(run: RunInput, step: Step) -> bool:
    """Whether a step is one too many: a graph with a cycle must end some time."""
    return step.index >= run.limits.max_steps


def lack(reason: str, required: int, budget_id: str) -> str:
    """What a run waits for that cannot pay, for the Web UI; nothing otherwise. `required` is in millionths of a credit."""
    if not required:
        return ""
    cost = f"{required / MICRO:.6f}".rstrip("0").rstrip(".")
    what = f"Budget `{budget_id}` has no room for it" if reason == "budget" else "The tenant has not as many"
    return f"The next call may cost {cost} credits. {what}; the run goes on by itself when that has changed."


def details(
    run: RunInput, state: str, reason: str, running: Iterable[str], done: int, totals: Mapping[str, int], lineage: int
) -> str:
    """The run's story as Markdown, for the Web UI. Costs no event."""
    of = f" of {run.planned_steps}" if run.planned_steps else ""
    names = ", ".join(f"**{name}**" for name in running)
    now = f"now {names}" if names else "no step is running"
    used = f"{totals['model_calls']} model calls, {totals['tool_calls']} tool calls, {totals['tokens']} tokens"
    title = f"{state} ({reason})" if reason else state
    again = f"\n\nlineage {lineage}" if lineage else ""
    return f"## {title}\n\n{done}{of} steps done, {now}\n\n{used}{again}"
