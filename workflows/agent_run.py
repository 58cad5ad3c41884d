"""One execution: its branches, one activity a step, and what steers it. State lives in checkpoints; history holds references.

The loop does one thing at a time, in this order: cancel, roll back, write answers and votes down, pause, continue as new,
start what is ready, wait. What it waits for are steps, commands, answers, votes and deadlines. `Steering` takes the
commands, `Rounds` keeps the handoffs, `Recovering` says what becomes of failures, `Ending` how a run ends, `Calls` makes
the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from models.wire import Branch, CheckpointRef, RunInput, RunResult, Step, StepInput, StepOutcome
    from models.wire_commands import ApproveCommand
    from omium_core import temporal
    from workflows import plan
    from workflows.calls import DEFAULT, Calls
    from workflows.ending import Ending
    from workflows.lacking import MONEY
    from workflows.recovering import Recovering
    from workflows.rounds import Rounds
    from workflows.steering import HOLDS, Steering

NOT_STARTED = "not_started"


@workflow.defn(name=temporal.RUN_WORKFLOW)
class AgentRun(Ending, Recovering, Rounds, Steering):
    """Runs the steps of one execution until the last branch has ended."""

    @workflow.init
    def __init__(self, run: RunInput) -> None:
        Steering.__init__(self)
        Rounds.__init__(self)
        self._run = run
        self._calls = Calls(run)
        self._lineage, self._definition = run.lineage, run.definition
        self._branches = plan.first_branches(run)
        self._next_index = run.next_index or run.steps_done
        self._log_index = run.log_index
        self._done = run.steps_done
        self._totals = {"model_calls": 0, "tool_calls": 0, "tokens": 0, "cost": 0, **run.totals}
        self._spent, self._recoveries = run.spent, run.recoveries
        self._seen = list(run.seen)
        self._rolled_back = run.rolled_back
        if run.paused:
            self._state, self._reason = "paused", run.paused
            self._hold = run.paused if run.paused in (*HOLDS, *MONEY) else ""
            self._required, self._budget_id = run.required, run.budget_id
        elif run.rolled_back:
            self._state = "rolled_back"
        #: The steps in flight, by branch.
        self._steps: dict[str, asyncio.Task[StepOutcome]] = {}
        #: The last step of a run without branches tells its end along with its checkpoint.
        self._end_recorded = False
        #: The branch whose failure ends the run.
        self._failing: Branch | None = None

    @workflow.run
    async def run(self, run: RunInput) -> RunResult:
        if run.hold_for and not await self._accepted(run.hold_for):
            return await self._end(NOT_STARTED)
        while True:
            try:
                ended = await self._to_its_end(run.hold_for)
            except (ActivityError, ApplicationError, asyncio.CancelledError) as error:
                cancelled = is_cancelled_exception(error)
                if cancelled:
                    await self._stand_still()
                if not cancelled or not self._made_it():
                    await self._end_badly(error)
                    if cancelled or not await self._taken_back():
                        raise
                    continue
                ended = None
            if ended is not None:
                return ended
            if not await self._taken_back():
                return await self._end("completed")

    @workflow.query(description="state, reason, steps done, the steps that run, the last checkpoint, the lineage")
    def status(self) -> dict[str, object]:
        return {
            "state": self._state,
            "reason": self._reason,
            "steps_done": self._done,
            "step": ", ".join(self._names()) or None,
            "checkpoint": self._last().id,
            "lineage": self._lineage,
            "branches": {name: branch.status for name, branch in self._branches.items() if name},
            "approvals": [question.approval_id for b in self._branches.values() for question in b.questions],
        }

    # The loop's parts

    async def _to_its_end(self, hold_for: str) -> RunResult | None:
        """Runs until nothing is left to do, which is recorded. The result of a run that ended otherwise but well."""
        while self._rolled_back or self._rollbacks or not plan.is_over(self._branches):
            if self._cancel is not None:
                await self._stand_still()
                if not self._made_it():
                    return await self._cancelled(self._cancel.reason, self._cancel.actor)
            elif self._rollbacks:
                command = self._rollbacks.pop(0)
                outcome = await self._roll_back(command)
                if outcome.error and command.id == hold_for:
                    # the execution had ended, and stays as it was
                    return await self._end(NOT_STARTED)
            else:
                await self._go_on()
        if not self._end_recorded:
            self._closing = True
            await self._calls.complete(self._lineage, self._definition, plan.ends(self._branches))
        return None

    async def _go_on(self) -> None:
        """One round of the loop in which nothing is to be ended or rolled back."""
        before = self._holds()
        held = any(before)
        if self._answers:
            await self._record(self._answers.pop(0))
            return
        await self._keep_rounds(held=held)
        if held and self._steps and not self._hard:
            await self._wait()
        elif held:
            await self._stand_still()
            await self._park("rolled_back" if self._rolled_back else "paused", self._hold, before)
        elif not self._steps and (waits_for := plan.waits_for(self._branches)):
            await self._park("paused", waits_for, before)
        else:
            await self._unpark()
            if self._holds() != before:
                return
            if not self._must_continue():
                self._start_ready()
            elif not self._steps:
                await self._continue_as_new()
            await self._wait()

    def _start_ready(self) -> None:
        for name, branch in self._branches.items():
            if branch.status == "ready" and name not in self._steps and branch.not_before <= workflow.time():
                self._steps[name] = asyncio.create_task(self._step(branch))
                if not branch.begun:
                    assert branch.step is not None, "a branch that is ready has a step"
                    branch.step, branch.begun = Step(self._next_index, branch.step.name), True
                    self._next_index += 1
        self._tell()

    async def _step(self, branch: Branch) -> StepOutcome:
        assert branch.step is not None, "a branch that is ready has a step"
        if plan.beyond_bound(self._run, branch.step):
            raise ApplicationError(
                f"The run did not end within {self._run.limits.max_steps} steps.",
                type="validation_error",
                non_retryable=True,
            )
        return await self._calls.step(self._step_input(branch))

    def _step_input(self, branch: Branch) -> StepInput:
        run = self._run
        assert branch.step is not None, "a branch that is ready has a step"
        return StepInput(
            tenant_id=run.tenant_id,
            execution_id=run.execution_id,
            version_id=run.version_id,
            framework=run.framework,
            lineage=self._lineage,
            step=branch.step,
            checkpoint=branch.checkpoint,
            limits=run.limits,
            prepared=branch.prepared,
            definition=self._definition,
            node=branch.node,
            sources=plan.sources(run.flow, self._branches, branch.node) if branch.node else {},
            senders=branch.units,
            answered=branch.answered,
            committed=branch.committed,
            policy=run.policy,
        )

    async def _wait(self) -> None:
        """Until a step has ended, a command came, or something is due; takes the ends of steps in."""
        await self._until(lambda: any(task.done() for task in self._steps.values()) or self._is_called())
        for name in [name for name, task in self._steps.items() if task.done()]:
            task = self._steps.pop(name)
            try:
                outcome = task.result()
            except (ActivityError, ApplicationError) as error:
                if is_cancelled_exception(error):
                    raise
                await self._failed(self._branches[name], error)
            else:
                self._take_outcome(name, outcome)

    def _take_outcome(self, name: str, outcome: StepOutcome) -> None:
        """What a step left behind becomes where its branch stands."""
        branch = self._branches[name]
        for total in self._totals:
            self._totals[total] += getattr(outcome, total)
        branch.prepared = False
        if outcome.questions:
            branch.status, branch.questions, branch.answered = "waiting", outcome.questions, False
            return
        if outcome.handoff is not None:
            self._propose(branch, outcome.handoff)
            return
        if outcome.parked:
            # it stays ready under its index, where the journal has what was answered
            self._lack(outcome)
            return
        branch.begun, branch.answered, branch.committed, branch.not_before = False, False, 0, 0.0
        if outcome.skipped:
            branch.status = "skipped"
        else:
            self._done += 1
            branch.checkpoint, branch.step, branch.prepared = outcome.checkpoint, outcome.next_step, outcome.prepared
            branch.units = outcome.units
            self._end_recorded = outcome.done and not self._run.flow
            branch.status = "done" if outcome.done else "ready"
        plan.unblock(self._run.flow, self._branches)

    async def _until(self, happened: Callable[[], bool]) -> None:
        """Waits for a condition, at most until the next deadline, and does what a deadline asks for."""
        due = self._next_due()
        try:
            await workflow.wait_condition(
                happened,
                timeout=None if due is None else max(due - workflow.time(), 0.001),
                timeout_summary=None if due is None else "deadline",
            )
        except TimeoutError:
            self._take_defaults()

    def _is_called(self) -> bool:
        """Whether the loop has something to do besides waiting for steps."""
        held = bool(self._hold) or self._rolled_back
        return self._is_awaited() or (held and (self._hard or not self._steps))

    def _holds(self) -> tuple[str, bool]:
        """What keeps the run from going on."""
        return self._hold, self._rolled_back

    def _is_awaited(self) -> bool:
        held = bool(self._hold) or self._rolled_back
        return bool(self._cancel or self._rollbacks or self._answers or self._rounds_have_news(held=held))

    def _next_due(self) -> float | None:
        """Seconds since the epoch of the next deadline: an approval's, a term's, the end of a back-off."""
        questions = [question for branch in self._branches.values() for question in branch.questions]
        dues = [question.deadline for question in questions if question.deadline and question.on_timeout]
        dues += self._terms_end()
        if not self._hold and not self._rolled_back:
            waiting = [b.not_before for b in self._branches.values() if b.status == "ready"]
            dues += [until for until in waiting if until > workflow.time()]
        return min(dues, default=None)

    async def _stand_still(self) -> None:
        """Cancels the steps in flight and waits until they are gone; they begin again when the run goes on."""
        self._leave_rounds()
        steps, self._steps = self._steps, {}
        for task in steps.values():
            task.cancel()
        for name, task in steps.items():
            try:
                self._take_outcome(name, await task)
            except (ActivityError, ApplicationError, asyncio.CancelledError):
                # cancelled, or it failed in the same moment: it will run again and tell again
                self._branches[name].prepared = False

    async def _park(self, state: str, reason: str, before: tuple[str, bool]) -> None:
        """The run waits, and the API can tell why. Costs nothing until somebody calls.

        `before` are the holds for which it was decided: a command may have come since, and more come while it is recorded.
        """
        if self._holds() != before:
            return
        if (self._state, self._reason) != (state, reason):
            wanted = self._wanted(reason)
            await self._calls.record_state(self._lineage, state, reason, self._held_by, self._hold_note, *wanted)
            self._set(state, reason, plan.lack(reason, *wanted))

        def is_called() -> bool:
            return self._is_awaited() or self._holds() != before

        await self._until(lambda: is_called() or self._must_continue())
        if self._must_continue() and not is_called():
            await self._continue_as_new()

    async def _unpark(self) -> None:
        if self._state != "running":
            await self._calls.record_state(self._lineage, "running", "", self._held_by, "")
            self._set("running")

    async def _record(self, command: ApproveCommand) -> None:
        """Writes an answer down; when a step has all that it asked for, it runs again."""
        found = self._question(command.approval_id)
        try:
            if found is None:
                return
            branch, question = found
            await self._calls.answer(command)
            branch.questions = [kept for kept in branch.questions if kept.approval_id != question.approval_id]
            branch.answered = True
            if not branch.questions:
                branch.status = "ready"
        finally:
            self._answering.discard(command.approval_id)

    def _take_defaults(self) -> None:
        """Answers the approvals whose deadline has come with their default, and ends the terms whose time is up."""
        now = workflow.time()
        for branch in self._branches.values():
            for question in branch.questions:
                is_due = question.deadline and question.on_timeout and question.deadline <= now
                if is_due and question.approval_id not in self._answering:
                    self._answer(
                        ApproveCommand(approval_id=question.approval_id, decision=DEFAULT + question.on_timeout)
                    )
        self._end_terms(now)

    # Long runs

    def _must_continue(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() > self._run.limits.max_history

    async def _continue_as_new(self) -> None:
        """Hands the run on to a fresh history, once nobody waits for an answer from this one."""
        self._leave_rounds()
        before = self._holds()

        def is_called() -> bool:
            return self._is_awaited() or self._holds() != before

        await workflow.wait_condition(lambda: workflow.all_handlers_finished() or is_called())
        if is_called():
            return
        workflow.continue_as_new(
            replace(
                self._run,
                lineage=self._lineage,
                definition=self._definition,
                branches=list(self._branches.values()),
                checkpoint=self._last(),
                next_step=None,
                steps_done=self._done,
                next_index=self._next_index,
                log_index=self._log_index,
                totals=self._totals,
                spent=self._spent,
                recoveries=self._recoveries,
                paused=self._reason if self._state == "paused" else "",
                required=self._required,
                budget_id=self._budget_id,
                rolled_back=self._rolled_back,
                seen=self._seen,
                hold_for="",
            )
        )

    # What people see

    def _in_flight(self) -> bool:
        return bool(self._steps)

    def _names(self) -> list[str]:
        return [branch.step.name for name in self._steps if (branch := self._branches[name]).step is not None]

    def _last(self) -> CheckpointRef:
        """The newest checkpoint of all branches."""
        return max((branch.checkpoint for branch in self._branches.values()), key=lambda ref: ref.number)

    def _set(self, state: str, reason: str = "", note: str = "") -> None:
        changed = state != self._state
        self._state, self._reason = state, reason
        self._tell(note)
        if changed:
            workflow.upsert_search_attributes([temporal.RUN_STATE.value_set(state)])

    def _tell(self, note: str = "") -> None:
        names, used = self._names(), self._totals
        text = plan.details(self._run, self._state, self._reason, names, self._done, used, self._lineage)
        workflow.set_current_details(f"{text}\n\n{note}" if note else text)
