"""Histories of every kind of run replay against the code of today: no change of the workflow breaks a running one.

The replayer runs the workflow in the sandbox, which the workers do without, so this is also what guards determinism.
Whether there is a recorded history of each kind, and whether those of today replay, stands in test_history.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from activities.payload_codec import sealing_converter
from models.wire import RunInput, RunResult
from omium_core import temporal
from tests.support.sealed import KnownKeys, a_cipher, sealed
from tests.workflows.scenarios import recorded
from workflows.agent_run import AgentRun

RECORDED = dict(recorded())


@workflow.defn(name=temporal.RUN_WORKFLOW)
class AsksSomethingFirst(AgentRun):
    """The workflow with another activity before its first step."""

    @workflow.init
    def __init__(self, run: RunInput) -> None:
        super().__init__(run)

    @workflow.run
    async def run(self, run: RunInput) -> RunResult:
        await workflow.execute_activity("finish_run", start_to_close_timeout=timedelta(seconds=1))
        return await super().run(run)


@workflow.defn(name=temporal.RUN_WORKFLOW)
class SleepsAtTheEnd(AgentRun):
    """The workflow with a timer before it returns."""

    @workflow.init
    def __init__(self, run: RunInput) -> None:
        super().__init__(run)

    @workflow.run
    async def run(self, run: RunInput) -> RunResult:
        result = await super().run(run)
        await asyncio.sleep(1)
        return result


@pytest.mark.parametrize("name", RECORDED)
async def test_recorded_history_replays(name: str) -> None:
    await Replayer(workflows=[AgentRun]).replay_workflow(RECORDED[name])


@pytest.mark.parametrize("name", RECORDED)
async def test_sealed_history_replays(name: str) -> None:
    whole = RECORDED[name]
    cipher = a_cipher(UUID(whole.workflow_id.partition("/")[0]))
    history = WorkflowHistory.from_json(whole.workflow_id, sealed(whole.to_json_dict(), cipher))
    await Replayer(workflows=[AgentRun], data_converter=sealing_converter(KnownKeys([cipher]))).replay_workflow(history)
    with pytest.raises(Exception, match="binary/encrypted"):
        await Replayer(workflows=[AgentRun]).replay_workflow(history)


@pytest.mark.parametrize(
    ("changed", "names"),
    [(AsksSomethingFirst, tuple(RECORDED)), (SleepsAtTheEnd, ("graph_with_loop", "crew"))],
    ids=["another activity first", "a timer at the end"],
)
async def test_changed_workflow_would_be_noticed(changed: type[AgentRun], names: Sequence[str]) -> None:
    replayer = Replayer(workflows=[changed], workflow_runner=UnsandboxedWorkflowRunner())
    for name in names:
        with pytest.raises(NondeterminismError):
            await replayer.replay_workflow(RECORDED[name])


async def test_activity_of_another_name_is_noticed() -> None:
    whole = RECORDED["crew"]
    renamed = WorkflowHistory.from_json(whole.workflow_id, whole.to_json().replace("run_step", "run_other"))
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[AgentRun]).replay_workflow(renamed)
