"""The commands that a run takes, as signals and as updates of the same names, through the same code.

An update that makes no sense is refused before it costs history; a signal that makes no sense is dropped and logged:
raising in a signal handler would fail the run or wedge it. A command is carried out once per id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.wire import Branch, Question
    from models.wire_commands import (
        AcknowledgeCommand,
        ApproveCommand,
        CancelCommand,
        CommandResult,
        PauseCommand,
        ResumeCommand,
        RollbackCommand,
    )
    from models.wire_handoff import Vote
    from workflows import handoff
    from workflows.commands import NoCommand, read_command
    from workflows.lacking import MONEY, Lacking

#: Ids of commands that are remembered, so that a repeated one does nothing.
REMEMBERED = 200
#: Reasons of a pause that a resume ends; the others end when what the run waits for is there.
HOLDS = ("operator", "recovery")
#: Since when a rollback by signal is kept that comes while the run is closing: histories from before dropped it.
LATE_ROLLBACKS = "late-rollbacks"
DECISIONS = ("approve", "reject", "edit")


class Steering(Lacking):
    """What commands change. The loop of the run reads it, and tells by `_state` and `_results` what came of it."""

    def __init__(self) -> None:
        Lacking.__init__(self)
        #: The state that people see: running, paused, rolled_back, and how the run ended.
        self._state = "running"
        self._reason = ""
        self._lineage = 0
        self._branches: dict[str, Branch] = {}
        self._seen: list[str] = []
        #: Whether the steps in flight are cancelled when somebody wants the run to stand still.
        self._hard = False
        self._cancel: CancelCommand | None = None
        self._rollbacks: list[RollbackCommand] = []
        self._results: dict[str, CommandResult] = {}
        self._answers: list[ApproveCommand] = []
        self._answering: set[str] = set()
        #: Nothing can change the end of the run any more; and then that everybody can read it.
        self._closing = False
        self._ended = False
        #: Rollbacks that came while the end was being recorded.
        self._late: list[RollbackCommand] = []

    # The loop tells

    def _in_flight(self) -> bool:
        raise NotImplementedError

    def _recorded(self, log_id: str) -> bool:
        """Whether the votes of a round are where people can read them."""
        raise NotImplementedError

    # Pause, resume, cancel

    @workflow.update(name="pause")
    async def update_pause(self, command: PauseCommand) -> CommandResult:
        """Soft: the result says `pending` while a step ends. Hard: the result comes when the steps are gone."""
        if self._is_new(command.id):
            self._pause(command)
        soft_and_busy = command.mode != "hard" and self._in_flight()
        if not soft_and_busy:
            await workflow.wait_condition(lambda: self._is_parked() or not self._is_stopped() or self._closing)
        return self._result(pending=self._is_stopped() and not self._is_parked())

    def _is_parked(self) -> bool:
        """Whether the run stands still because somebody wanted it to."""
        return self._state == "paused" and self._reason in HOLDS

    @update_pause.validator
    def check_pause(self, command: PauseCommand) -> None:
        code = "EXECUTION_CANNOT_PAUSE"
        self._check_open(code)
        if command.id in self._seen:
            return
        if command.mode not in ("soft", "hard"):
            _refuse("INVALID_INPUT", f"mode is soft or hard, not {command.mode[:20]!r}.")
        hardens = command.mode == "hard" and not self._hard and self._in_flight()
        if self._rolled_back or (self._is_stopped() and not hardens):
            _refuse(code, f"The execution is {'rolled back' if self._rolled_back else 'paused'} already.")

    @workflow.signal(name="pause", description='Let the steps in flight end, then wait. {"id", "mode": "soft"|"hard"}')
    def signal_pause(self, *arguments: Any) -> None:
        self._take(PauseCommand, arguments, self.check_pause, self._pause)

    def _pause(self, command: PauseCommand) -> None:
        self._hold, self._held_by, self._hold_note = "operator", command.actor, command.reason
        self._hard = command.mode == "hard"

    @workflow.update(name="resume")
    async def update_resume(self, command: ResumeCommand) -> CommandResult:
        if self._is_new(command.id):
            self._resume(command)
        await workflow.wait_condition(
            lambda: (
                self._closing
                or bool(self._hold)
                or not (self._state == "rolled_back" or self._reason in (*HOLDS, *MONEY))
            )
        )
        return self._result()

    @update_resume.validator
    def check_resume(self, command: ResumeCommand) -> None:
        code = "EXECUTION_CANNOT_RESUME"
        self._check_open(code)
        if command.id in self._seen:
            return
        if not self._hold and not self._rolled_back:
            waits = f"waits for {self._reason}" if self._state == "paused" else f"is {self._state}"
            _refuse(code, f"The execution {waits}.")

    @workflow.signal(name="resume", description='Go on after a pause or a rollback. {"id"}')
    def signal_resume(self, *arguments: Any) -> None:
        self._take(ResumeCommand, arguments, self.check_resume, self._resume)

    def _resume(self, command: ResumeCommand) -> None:
        self._hold, self._rolled_back, self._hard = "", False, False
        self._held_by = command.actor

    @workflow.update(name="cancel")
    async def update_cancel(self, command: CancelCommand) -> CommandResult:
        if self._is_new(command.id):
            self._stop(command)
        await workflow.wait_condition(lambda: self._ended)
        return self._result()

    @update_cancel.validator
    def check_cancel(self, command: CancelCommand) -> None:
        if command.id not in self._seen:
            self._check_open("EXECUTION_CANNOT_CANCEL")

    @workflow.signal(name="cancel", description='End the run now. {"id", "reason"}')
    def signal_cancel(self, *arguments: Any) -> None:
        self._take(CancelCommand, arguments, self.check_cancel, self._stop)

    def _stop(self, command: CancelCommand) -> None:
        self._cancel = command

    # Rollback

    @workflow.update(name="rollback")
    async def update_rollback(self, command: RollbackCommand) -> CommandResult:
        """The result comes when the rollback is done, or tells in `error` and `code` why it was not."""
        if self._is_new(command.id):
            self._rollbacks.append(command)
        await workflow.wait_condition(lambda: command.id in self._results or self._closing)
        return self._results.get(command.id) or self._result(pending=True)

    @update_rollback.validator
    def check_rollback(self, command: RollbackCommand) -> None:
        if command.id in self._seen:
            return
        self._check_open("ROLLBACK_FAILED")
        _check_target(command)

    @workflow.signal(
        name="rollback", description='Back to a checkpoint. {"id", "checkpoint": id|name|number, "resume"}'
    )
    def signal_rollback(self, *arguments: Any) -> None:
        self._take(RollbackCommand, arguments, self._check_rollback_signal, self._ask_back)

    def _check_rollback_signal(self, command: RollbackCommand) -> None:
        """A signal has no answer: one that comes while the end is being recorded, which readers may see already, waits."""
        ending = self._closing and not self._ended and self._cancel is None
        if ending and workflow.patched(LATE_ROLLBACKS):
            _check_target(command)
        else:
            self.check_rollback(command)

    def _ask_back(self, command: RollbackCommand) -> None:
        (self._late if self._closing else self._rollbacks).append(command)

    # Approvals

    @workflow.update(name="approve")
    async def update_approve(self, command: ApproveCommand) -> CommandResult:
        if self._is_new(command.id):
            self._answer(command)
        await workflow.wait_condition(lambda: command.approval_id not in self._answering or self._closing)
        return self._result()

    @update_approve.validator
    def check_approve(self, command: ApproveCommand) -> None:
        if command.id in self._seen:
            return
        self._check_open("APPROVAL_NOT_FOUND")
        if command.decision not in DECISIONS:
            _refuse("INVALID_INPUT", f"decision is one of {', '.join(DECISIONS)}.")
        if command.decision == "edit" and command.value is None and not command.value_blob:
            _refuse("INVALID_INPUT", "value: an edit needs one.")
        if command.approval_id in self._answering:
            _refuse("APPROVAL_ALREADY_ANSWERED", "The approval has just been answered.")
        if self._question(command.approval_id) is None:
            _refuse("APPROVAL_NOT_FOUND", "The execution does not wait for this approval.")

    @workflow.signal(
        name="approve",
        description='Answer an approval. {"id", "approval_id", "decision": "approve"|"reject"|"edit", "value"}',
    )
    def signal_approve(self, *arguments: Any) -> None:
        self._take(ApproveCommand, arguments, self.check_approve, self._answer)

    def _answer(self, command: ApproveCommand) -> None:
        self._answering.add(command.approval_id)
        self._answers.append(command)

    def _question(self, approval_id: str) -> tuple[Branch, Question] | None:
        for branch in self._branches.values():
            for question in branch.questions:
                if question.approval_id == approval_id:
                    return branch, question
        return None

    # Votes

    @workflow.update(name="acknowledge_handoff")
    async def update_acknowledge(self, command: AcknowledgeCommand) -> CommandResult:
        """The tally after the vote. A vote that changes nothing is answered with the reason in `error`."""
        branch = self._round_of(command)
        if branch is None or branch.handoff is None:
            return self._result()
        log_id, why = branch.log_id, ""
        if self._is_new(command.id):
            why = self._vote(command)
        voted = branch.handoff
        count = handoff.tally(voted)
        await workflow.wait_condition(lambda: self._recorded(log_id) or self._closing)
        result = self._result()
        result.acks, result.required = count.accepts, count.required
        result.committed, result.error = voted.status == "committed", why
        return result

    @update_acknowledge.validator
    def check_acknowledge(self, command: AcknowledgeCommand) -> None:
        if command.id in self._seen:
            return
        self._check_open("CONSENSUS_NOT_FOUND")
        branch = self._round_of(command)
        if branch is None or branch.handoff is None:
            _refuse("CONSENSUS_NOT_FOUND", "The execution does not vote on this handoff.")
        if not branch.handoff.open:
            _refuse("CONSENSUS_CLOSED", f"The handoff is {branch.handoff.status} already.")
        if command.voter not in {voter.name for voter in branch.handoff.proposal.voters}:
            _refuse("INVALID_INPUT", f"voter: {command.voter[:100]!r} has no vote in this handoff.")

    @workflow.signal(
        name="acknowledge_handoff",
        description='Vote on a handoff. {"id", "log_id" or "index", "voter", "valid", "reason"}',
    )
    def signal_acknowledge(self, *arguments: Any) -> None:
        self._take(AcknowledgeCommand, arguments, self.check_acknowledge, self._vote)

    def _vote(self, command: AcknowledgeCommand) -> str:
        branch = self._round_of(command)
        if branch is None or branch.handoff is None:
            return "The execution does not vote on this handoff."
        vote = Vote(
            voter=command.voter,
            accept=command.valid,
            term=command.term,
            payload_hash=command.payload_hash,
            reason=command.reason,
            at=workflow.now().isoformat(),
            actor=command.actor or command.voter,
        )
        cast = handoff.cast(branch.handoff, handoff.address(branch.handoff, vote))
        branch.handoff = cast.round
        return cast.why

    def _round_of(self, command: AcknowledgeCommand) -> Branch | None:
        for branch in self._branches.values():
            if branch.handoff is not None and (
                branch.log_id == command.log_id or (not command.log_id and branch.handoff.index == command.index)
            ):
                return branch
        return None

    # What is common to all

    @workflow.signal(dynamic=True)
    def unknown_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """A name that means nothing: people type, and other versions send."""
        workflow.logger.warning("signal dropped: %s is not known", name[:100])

    def _take(
        self,
        kind: type[Any],
        arguments: Sequence[Any],
        check: Callable[[Any], None],
        apply: Callable[[Any], object],
    ) -> None:
        """One path for all signals: read, check like an update, apply once."""
        try:
            command = read_command(kind, arguments)
            command.id = command.id or str(workflow.uuid4())
            check(command)
        except (NoCommand, ApplicationError) as error:
            workflow.logger.warning("signal dropped: %s: %s", kind.__name__, error)
            return
        if self._is_new(command.id):
            apply(command)

    def _is_new(self, command_id: str) -> bool:
        if command_id in self._seen:
            return False
        self._seen = [*self._seen, command_id][-REMEMBERED:]
        return True

    def _check_open(self, code: str) -> None:
        if self._closing or self._cancel is not None:
            _refuse(code, "The execution is ending.", closing=True)

    def _result(self, *, pending: bool = False) -> CommandResult:
        return CommandResult(state=self._state, reason=self._reason, lineage=self._lineage, pending=pending)


def _check_target(command: RollbackCommand) -> None:
    if not (command.checkpoint_id or command.checkpoint):
        _refuse("INVALID_INPUT", "checkpoint: an id, a name or a number is needed.")
    if command.trigger_type not in ("manual", "automatic", "policy"):
        _refuse("INVALID_INPUT", "trigger_type is manual, automatic or policy.")


def _refuse(code: str, message: str, *, closing: bool = False) -> NoReturn:
    """`closing` tells the API that the run is about to be over, and that a moment later it can be treated as such."""
    raise ApplicationError(message, closing, type=code, non_retryable=True)
