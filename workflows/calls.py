"""The activities that a run calls, each with how long it may take and how it is tried again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

with workflow.unsafe.imports_passed_through():
    from models.wire import (
        AnswerInput,
        Branch,
        FailureInput,
        FinishInput,
        RollbackInput,
        RollbackOutcome,
        RoundInput,
        RunInput,
        StateInput,
        Step,
        StepInput,
        StepOutcome,
        ValidatorsInput,
    )
    from models.wire_commands import ApproveCommand, RollbackCommand
    from models.wire_handoff import Vote
    from models.wire_recovery import Decision
    from omium_core import temporal
    from workflows import recovery

#: What an approval's decision begins with when its deadline took it.
DEFAULT = "default:"


@dataclass(frozen=True)
class Reason:
    """Why a step failed: its type, our own words, whether the same step could end otherwise, and what ran in it."""

    type: str
    message: str
    retryable: bool = False
    units: list[str] = field(default_factory=list)
    severity: str = ""
    #: What the failed attempt used: calls, tokens, cost.
    usage: dict[str, int] = field(default_factory=dict)


class Calls:
    """What a run asks of the workers."""

    def __init__(self, run: RunInput) -> None:
        self._run = run

    async def step(self, step: StepInput) -> StepOutcome:
        limits = self._run.limits
        timeout = limits.step_timeout
        if step.policy is not None:
            own = [agent.step_timeout for agent in step.policy.agents.values()]
            timeout = max([timeout, step.policy.step_timeout or 0.0, *(seconds or 0.0 for seconds in own)])
        outcome: StepOutcome = await workflow.execute_activity(
            "run_step",
            step,
            result_type=StepOutcome,
            task_queue=self._queue(step.node),
            # the step minds its own time; this is the bound for a worker that does not
            start_to_close_timeout=timedelta(seconds=timeout + 60),
            heartbeat_timeout=timedelta(seconds=limits.heartbeat_timeout),
            # the activity counts its failures and says when to come back; what is left here are workers that died, which
            # it counts too, and steps that another worker should take
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=100),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(seconds=5),
                non_retryable_error_types=["PayloadsTooLarge"],
            ),
            # what the step still writes must come before what the end of the run writes
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=temporal.summary(step.step.name),
        )
        return outcome

    async def record_state(
        self,
        lineage: int,
        status: str,
        reason: str,
        actor: str,
        note: str,
        required: int = 0,
        budget_id: str = "",
    ) -> None:
        run = self._run
        state = StateInput(
            run.tenant_id,
            run.execution_id,
            lineage,
            run.retry,
            status,
            reason,
            actor,
            note,
            required,
            budget_id,
        )
        await self._record("record_state", state, f"record: {status}{f' ({reason})' if reason else ''}")

    async def answer(self, command: ApproveCommand) -> None:
        expired = command.decision.startswith(DEFAULT)
        answer = AnswerInput(
            tenant_id=self._run.tenant_id,
            execution_id=self._run.execution_id,
            approval_id=command.approval_id,
            decision=command.decision.removeprefix(DEFAULT),
            value=command.value,
            value_blob=command.value_blob,
            actor=command.actor,
            comment=command.comment,
            expired=expired,
        )
        await self._record("record_answer", answer, f"record: {answer.decision}")

    async def record_failure(
        self, lineage: int, branch: Branch, reason: Reason, decision: Decision, command_id: str
    ) -> None:
        action = decision.action
        assert branch.step is not None
        assert action is not None, "what is recorded is done"
        redo = action.redo or action.type in ("rollback", "prompt_edit", "model_fallback")
        failure = FailureInput(
            tenant_id=self._run.tenant_id,
            execution_id=self._run.execution_id,
            lineage=lineage,
            step=branch.step,
            failure_type=reason.type,
            message=reason.message,
            command_id=command_id,
            checkpoint=branch.checkpoint.id,
            action=recovery.recorded_type(action),
            action_config={**asdict(action), "source": decision.source},
            reset=not redo,
            recoverable=reason.retryable,
            severity=reason.severity,
            escalated=decision.outcome == "wait",
            note=decision.why,
        )
        await self._record("record_failure", failure, f"recover: {action.type}")

    async def roll_back(
        self, command: RollbackCommand, lineage: int, checkpoint_id: str, definition: str, policy_source: str = ""
    ) -> RollbackOutcome:
        run = self._run
        outcome: RollbackOutcome = await workflow.execute_activity(
            "roll_back",
            RollbackInput(
                tenant_id=run.tenant_id,
                execution_id=run.execution_id,
                version_id=run.version_id,
                framework=run.framework,
                command_id=command.id,
                checkpoint=command.checkpoint_id or command.checkpoint,
                from_lineage=lineage,
                retry=run.retry,
                from_checkpoint=checkpoint_id,
                definition=definition,
                reason=command.reason,
                trigger_type=command.trigger_type,
                edits=command.edits,
                edits_blob=command.edits_blob,
                policy_source=policy_source,
                resume=command.resume,
                confirm=command.confirm,
                actor=command.actor,
                user_id=command.user_id,
            ),
            result_type=RollbackOutcome,
            task_queue=self._queue(),
            start_to_close_timeout=timedelta(hours=24),
            heartbeat_timeout=timedelta(seconds=run.limits.heartbeat_timeout),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
            summary=temporal.summary(f"roll back to {command.checkpoint_id or command.checkpoint}"),
        )
        return outcome

    async def record_round(self, round_: RoundInput) -> None:
        await self._record("record_round", round_, f"handoff {round_.round.index}: {round_.round.status}")

    async def ask_validators(self, asked: ValidatorsInput) -> list[Vote]:
        votes: list[Vote] = await workflow.execute_activity(
            "ask_validators",
            asked,
            result_type=list[Vote],
            task_queue=self._queue(asked.step.node),
            start_to_close_timeout=timedelta(seconds=self._run.limits.step_timeout),
            heartbeat_timeout=timedelta(seconds=self._run.limits.heartbeat_timeout),
            # one attempt a leader, but a worker that died takes no leader along
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3),
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            summary=temporal.summary(f"term {asked.term}: ask {', '.join(asked.voters)}"),
        )
        return votes

    async def complete(self, lineage: int, definition: str, ends: dict[str, str]) -> None:
        run = self._run
        end = FinishInput(
            tenant_id=run.tenant_id,
            execution_id=run.execution_id,
            lineage=lineage,
            status="completed",
            retry=run.retry,
            is_flow=bool(run.flow),
            ends=ends if run.flow else {},
            definition=definition,
        )
        await self._finish(end)

    async def finish(
        self,
        status: str,
        lineage: int,
        step: Step | None = None,
        reason: Reason | None = None,
        note: str = "",
        actor: str = "",
    ) -> None:
        run = self._run
        end = FinishInput(
            tenant_id=run.tenant_id,
            execution_id=run.execution_id,
            lineage=lineage,
            status=status,
            step=step,
            failure_type=reason.type if reason else "",
            message=reason.message if reason else note,
            retry=run.retry,
            recoverable=reason.retryable if reason else True,
            severity=reason.severity if reason else "",
            actor=actor,
        )
        await self._finish(end)

    async def _finish(self, end: FinishInput) -> None:
        await self._record("finish_run", end, f"record: {end.status}")

    async def _record(self, activity: str, record: Any, summary: str) -> None:
        """A short write, tried again until it is done."""
        await workflow.execute_activity(
            activity,
            record,
            task_queue=self._queue(),
            start_to_close_timeout=timedelta(minutes=15),
            heartbeat_timeout=timedelta(seconds=self._run.limits.heartbeat_timeout),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
            summary=temporal.summary(summary),
        )

    def _queue(self, node: str = "") -> str:
        """The queue of a node's framework; the run's own without a node."""
        found = next((known.framework for known in self._run.flow if known.id == node), self._run.framework)
        return temporal.queue_for(found)


def reason_of(error: BaseException) -> Reason:
    """The failure's type and our own words for it, from under Temporal's wrapping."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause is not None else error
    if isinstance(cause, ApplicationError):
        details = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
        return Reason(
            cause.type or "agent_error",
            cause.message,
            retryable=bool(details.get("retryable")),
            units=[str(unit) for unit in details.get("units", ())],
            severity=str(details.get("severity") or ""),
            usage={name: int(used) for name, used in dict(details.get("usage") or {}).items()},
        )
    if isinstance(cause, TimeoutError):
        return Reason("worker_lost", "No worker could finish the step.", retryable=True)
    return Reason("agent_error", type(cause).__name__)
