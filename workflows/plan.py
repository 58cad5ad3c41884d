"""Pure: what a run does next, and how it is told to people. No Temporal, no I/O, no time."""

from __future__ import annotations

from models.wire import RunInput, Step, StepOutcome


def first_step(run: RunInput) -> Step:
    """Where a run begins, or goes on after a checkpoint."""
    return run.next_step or Step(run.steps_done, run.first_step)


def step_after(outcome: StepOutcome) -> Step | None:
    """The step that follows, or None when the run is done."""
    return None if outcome.done else outcome.next_step


def beyond_bound(run: RunInput, step: Step) -> bool:
    """Whether a step is one too many: a graph with a cycle must end some time."""
    return step.index >= run.limits.max_steps


def details(run: RunInput, state: str, step: Step | None, done: int, totals: dict[str, int]) -> str:
    """The run's story as Markdown, for the Web UI. Costs no event."""
    of = f" of {run.planned_steps}" if run.planned_steps else ""
    now = f"now **{step.name}**" if step is not None else "no step is running"
    used = f"{totals['model_calls']} model calls, {totals['tool_calls']} tool calls, {totals['tokens']} tokens"
    return f"## {state}\n\n{done}{of} steps done, {now}\n\n{used}"
