"""What a run does next, and what is told of it."""

from __future__ import annotations

import pytest

from models.wire import CheckpointRef, RunInput, RunLimits, Step, StepOutcome
from workflows import plan


def run(**changes: object) -> RunInput:
    given = {
        "tenant_id": "t",
        "execution_id": "e",
        "version_id": "v",
        "framework": "langgraph",
        "title": "title",
        "first_step": "plan",
        **changes,
    }
    return RunInput(**given)  # type: ignore[arg-type]


def test_new_run_begins_with_its_first_step() -> None:
    assert plan.first_step(run()) == Step(0, "plan")


def test_run_after_a_checkpoint_goes_on_with_what_comes_next() -> None:
    assert plan.first_step(run(steps_done=3, next_step=Step(3, "write"))) == Step(3, "write")


@pytest.mark.parametrize(
    ("outcome", "following"),
    [
        (StepOutcome(CheckpointRef(), done=True), None),
        (StepOutcome(CheckpointRef(), done=True, next_step=Step(1, "left over")), None),
        (StepOutcome(CheckpointRef(), next_step=Step(1, "write")), Step(1, "write")),
    ],
)
def test_step_after(outcome: StepOutcome, following: Step | None) -> None:
    assert plan.step_after(outcome) == following


@pytest.mark.parametrize(("index", "beyond"), [(0, False), (4, False), (5, True), (6, True)])
def test_bound_counts_steps(index: int, beyond: bool) -> None:
    assert plan.beyond_bound(run(limits=RunLimits(max_steps=5)), Step(index, "again")) is beyond


def test_details_of_a_crew_tell_how_many_steps_there_are() -> None:
    totals = {"model_calls": 3, "tool_calls": 1, "tokens": 250}
    told = plan.details(run(planned_steps=4), "running", Step(1, "write"), 1, totals)
    assert told.startswith("## running")
    assert "1 of 4 steps done, now **write**" in told
    assert "3 model calls, 1 tool calls, 250 tokens" in told


def test_details_of_a_graph_do_not_guess() -> None:
    totals = {"model_calls": 0, "tool_calls": 0, "tokens": 0}
    told = plan.details(run(), "completed", None, 7, totals)
    assert "7 steps done, no step is running" in told
