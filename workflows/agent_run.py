"""One execution: a loop over steps, one activity each. State lives in checkpoints; history holds references to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from models.wire import FinishInput, RunInput, RunResult, Step, StepInput, StepOutcome
    from omium_core import temporal
    from workflows import plan

#: A worker that dies is no failure of the step, but a step that kills each worker it meets must end some time.
MOST_ATTEMPTS = 100


@workflow.defn(name=temporal.RUN_WORKFLOW)
class AgentRun:
    """Runs the steps of one execution until one says that it was the last."""

    @workflow.init
    def __init__(self, run: RunInput) -> None:
        self._run = run
        self._checkpoint = run.checkpoint
        self._done = run.steps_done
        self._step: Step | None = None
        self._totals = {"model_calls": 0, "tool_calls": 0, "tokens": 0, **run.totals}

    @workflow.run
    async def run(self, run: RunInput) -> RunResult:
        step: Step | None = plan.first_step(run)
        prepared = False
        try:
            while step is not None:
                if plan.beyond_bound(run, step):
                    raise ApplicationError(
                        f"The run did not end within {run.limits.max_steps} steps.",
                        type="validation_error",
                        non_retryable=True,
                    )
                if workflow.info().is_continue_as_new_suggested():
                    self._continue_as_new(step)
                outcome = await self._execute(step, prepared)
                if workflow.cancellation_reason() is not None and not outcome.done:
                    # the step ended before it heard of it
                    raise asyncio.CancelledError("cancelled between two steps")
                step, prepared = plan.step_after(outcome), outcome.prepared
        except (ActivityError, ApplicationError, asyncio.CancelledError) as error:
            await self._end_badly(error)
            raise
        self._tell("completed")
        return RunResult(status="completed", steps=self._done, checkpoint=self._checkpoint)

    @workflow.query(description="steps done, the step that runs, the last checkpoint, the lineage")
    def status(self) -> dict[str, object]:
        return {
            "steps_done": self._done,
            "step": self._step.name if self._step else None,
            "checkpoint": self._checkpoint.id,
            "lineage": self._run.lineage,
        }

    async def _execute(self, step: Step, prepared: bool) -> StepOutcome:
        run = self._run
        self._step = step
        self._tell("running")
        outcome: StepOutcome = await workflow.execute_activity(
            "run_step",
            StepInput(
                tenant_id=run.tenant_id,
                execution_id=run.execution_id,
                version_id=run.version_id,
                framework=run.framework,
                lineage=run.lineage,
                step=step,
                checkpoint=self._checkpoint,
                limits=run.limits,
                prepared=prepared,
            ),
            result_type=StepOutcome,
            task_queue=temporal.queue_for(run.framework),
            # the step minds its own time; this is the bound for a worker that does not
            start_to_close_timeout=timedelta(seconds=run.limits.step_timeout + 60),
            heartbeat_timeout=timedelta(seconds=run.limits.heartbeat_timeout),
            # the activity counts its failures and says when to come back; what is left here are died workers
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=100),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(seconds=5),
                maximum_attempts=MOST_ATTEMPTS,
                non_retryable_error_types=["PayloadsTooLarge"],
            ),
            # what the step still writes must come before what the end of the run writes
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=temporal.summary(step.name),
        )
        self._checkpoint = outcome.checkpoint
        self._done = step.index + 1
        self._step = None
        for name in self._totals:
            self._totals[name] += getattr(outcome, name)
        return outcome

    async def _end_badly(self, error: BaseException) -> None:
        """Records the failure or the cancellation. The workflow then ends as Temporal's own, so that its lists are true."""
        run = self._run
        cancelled = is_cancelled_exception(error)
        state = "cancelled" if cancelled else "failed"
        failure_type, message = ("", "") if cancelled else _reason(error)
        self._tell(state, message)
        await workflow.execute_activity(
            "finish_run",
            FinishInput(
                tenant_id=run.tenant_id,
                execution_id=run.execution_id,
                lineage=run.lineage,
                status=state,
                step=self._step,
                failure_type=failure_type,
                message=message,
                retry=run.retry,
            ),
            task_queue=temporal.queue_for(run.framework),
            start_to_close_timeout=timedelta(minutes=15),
            heartbeat_timeout=timedelta(seconds=run.limits.heartbeat_timeout),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
            summary=f"record: {state}",
        )

    def _tell(self, state: str, note: str = "") -> None:
        text = plan.details(self._run, state, self._step, self._done, self._totals)
        workflow.set_current_details(f"{text}\n\n{note}" if note else text)
        if state != "running":
            workflow.upsert_search_attributes([temporal.RUN_STATE.value_set(state)])

    def _continue_as_new(self, step: Step) -> None:
        workflow.continue_as_new(
            replace(self._run, checkpoint=self._checkpoint, next_step=step, steps_done=self._done, totals=self._totals)
        )


def _reason(error: BaseException) -> tuple[str, str]:
    """The failure's type and our own words for it, from under Temporal's wrapping."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause is not None else error
    if isinstance(cause, ApplicationError):
        return cause.type or "agent_error", cause.message
    if isinstance(cause, TimeoutError):
        return "worker_lost", f"No worker could finish the step in {MOST_ATTEMPTS} attempts."
    return "agent_error", type(cause).__name__
