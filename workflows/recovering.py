"""What becomes of failures: a policy's actions, and the rollbacks that people and policies ask for."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.wire import Branch, CheckpointRef, RollbackOutcome, RunInput
    from models.wire_commands import ApproveCommand, CancelCommand, CommandResult, RollbackCommand
    from models.wire_recovery import Decision, FailureInfo, RecoveryAction, RunPolicy, Spent, Usage
    from workflows import plan, recovery
    from workflows.calls import Calls, reason_of

#: The longest reason of a rollback.
REASON_LENGTH = 255


class Recovering:
    """The part of a run that takes it up again after a failure, or further back."""

    _run: RunInput
    _calls: Calls
    _branches: dict[str, Branch]
    _lineage: int
    _definition: str
    _next_index: int
    _done: int
    _totals: dict[str, int]
    _spent: Spent
    _recoveries: int
    _failing: Branch | None
    _state: str
    _reason: str
    _hold: str
    _hold_note: str
    _hard: bool
    _rolled_back: bool
    _end_recorded: bool
    _cancel: CancelCommand | None
    _rollbacks: list[RollbackCommand]
    _late: list[RollbackCommand]
    _closing: bool
    _ended: bool
    _results: dict[str, CommandResult]
    _answers: list[ApproveCommand]
    _answering: set[str]

    async def _stand_still(self) -> None:
        raise NotImplementedError

    def _last(self) -> CheckpointRef:
        raise NotImplementedError

    def _set(self, state: str, reason: str = "", note: str = "") -> None:
        raise NotImplementedError

    async def _roll_back(self, command: RollbackCommand, policy_source: str = "") -> RollbackOutcome:
        """Cancels what runs, lets the activity undo and move the run, and stands where it says."""
        await self._stand_still()
        before = (self._state, self._reason)
        self._set("rolling_back")
        outcome = await self._calls.roll_back(command, self._lineage, self._last().id, self._definition, policy_source)
        if outcome.error:
            # what was cancelled begins again, in rows that the activity may have closed
            for branch in self._branches.values():
                branch.prepared = False
            self._set(*before)
        else:
            self._stand_at(outcome)
            self._rolled_back, self._hold, self._hard = not command.resume, "", False
            self._set("rolled_back" if self._rolled_back else "running")
        self._results[command.id] = CommandResult(
            state=self._state,
            lineage=self._lineage,
            rollback_id=outcome.rollback_id,
            error=outcome.error,
            code=outcome.code,
        )
        return outcome

    async def _taken_back(self) -> bool:
        """Whether a rollback came while the end was recorded, and was done: the run goes on from there.

        Until then the run is closing as before, so that one that comes meanwhile waits for its turn too.
        """
        while self._late:
            self._ended = False
            outcome = await self._roll_back(self._late.pop(0))
            if not outcome.error:
                self._closing = False
                return True
        self._ended = True
        return False

    def _stand_at(self, outcome: RollbackOutcome) -> None:
        self._lineage, self._definition = outcome.lineage, outcome.definition
        self._next_index, self._done = outcome.next_index, outcome.steps_done
        at = replace(
            self._run,
            branches=outcome.branches,
            steps_done=outcome.steps_done,
            next_step=None,
            checkpoint=CheckpointRef(),
        )
        self._branches = plan.first_branches(at)
        self._end_recorded, self._failing = False, None
        self._answers.clear()
        self._answering.clear()

    async def _failed(self, branch: Branch, error: ActivityError | ApplicationError) -> None:
        """Does about a failure what the policy says. Without one, or when nothing is left to do, the run fails."""
        reason = reason_of(error)
        step = branch.step.name if branch.step else ""
        info = FailureInfo(reason.type, reason.retryable, step, reason.units, branch.node)
        totals = {name: total + reason.usage.get(name, 0) for name, total in self._totals.items()}
        used = Usage(totals["tokens"], totals["model_calls"], totals["cost"])
        decision = recovery.decide(info, self._run.policy or RunPolicy(), self._spent, used)
        self._spent = decision.spent
        branch.prepared, branch.answered, branch.committed = False, False, 0
        if decision.outcome == "fail" or decision.action is None:
            self._failing = branch
            raise error
        self._recoveries += 1
        command_id = f"recovery-{self._run.retry}-{self._recoveries}"
        await self._calls.record_failure(self._lineage, branch, reason, decision, command_id)
        branch.status, branch.questions, branch.handoff = "ready", [], None
        if decision.outcome == "wait":
            self._hold, self._hold_note = "recovery", decision.why
        elif decision.action.type in ("retry", "retry_failed_part") and not decision.action.redo:
            branch.not_before = workflow.time() + decision.delay if decision.delay else 0.0
        else:
            # what is done anew was spent all the same
            self._totals = totals
            await self._go_back(decision.action, decision, command_id)

    async def _go_back(self, action: RecoveryAction, decision: Decision, command_id: str) -> None:
        """A rollback by the policy, with its edits. What it may not do, a person has to decide."""
        if decision.delay and await self._called_within(decision.delay):
            return
        edits: dict[str, object] = {"models": action.models} if action.models else {}
        if action.prompts:
            edits["append_prompts" if action.append else "prompts"] = action.prompts
        outcome = await self._roll_back(
            RollbackCommand(
                id=command_id,
                checkpoint=f"{action.to}-{action.steps_back}" if action.steps_back else action.to,
                reason=decision.why[:REASON_LENGTH],
                trigger_type="policy",
                edits=edits,
                resume=action.resume,
                confirm=(self._run.policy or RunPolicy()).allow_irreversible,
            ),
            decision.source,
        )
        if outcome.error:
            self._hold, self._hold_note = "recovery", outcome.error

    async def _called_within(self, seconds: float) -> bool:
        """A pause before a recovery, which a person can cut short by taking the run elsewhere."""
        try:
            await workflow.wait_condition(
                lambda: bool(self._cancel or self._rollbacks), timeout=seconds, timeout_summary="back-off"
            )
        except TimeoutError:
            return False
        return True
