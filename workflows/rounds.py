"""The handoffs that a run votes on: opens rounds, asks validators, ends terms, records what people and services read.

`workflows.handoff` holds the rules. A round lives in its branch; nothing of it is lost when the run continues as new.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.wire import Branch, HandoffWish, RoundInput, RunInput, StepInput, StepOutcome, ValidatorsInput
    from models.wire_handoff import Round, Vote
    from workflows import handoff
    from workflows.calls import Calls
    from workflows.lacking import MONEY, Lacking

#: Since when a round that is decided without its validators, who could not be paid, ends the wait for money.
DECIDED_UNPAID = "decided-unpaid"
#: What tells two states of a round apart: its term, its votes, its status.
Version = tuple[int, int, str]


class Rounds(Lacking):
    """The consensus part of a run. The run gives `_branches`, `_calls` and what a step needs."""

    _run: RunInput
    _calls: Calls
    _branches: dict[str, Branch]
    _lineage: int
    _log_index: int

    def __init__(self) -> None:
        #: What of each log entry is in the tables.
        self._told: dict[str, Version] = {}
        #: The validators being asked, by branch, and the term in which they were.
        self._asking: dict[str, asyncio.Task[list[Vote]]] = {}
        self._asked: dict[str, int] = {}

    def _step_input(self, branch: Branch) -> StepInput:
        raise NotImplementedError

    async def _failed(self, branch: Branch, error: ActivityError | ApplicationError) -> None:
        raise NotImplementedError

    def _propose(self, branch: Branch, wish: HandoffWish) -> None:
        """Opens the round that a step asked for, with the votes that needed nobody."""
        self._log_index += 1
        now = workflow.now().isoformat()
        opened = handoff.open_round(self._log_index, wish.proposal, now)
        for vote in wish.votes:
            opened = handoff.cast(opened, handoff.address(opened, vote)).round
        branch.status, branch.handoff, branch.log_id = "waiting", opened, str(workflow.uuid4())
        branch.term_ends = workflow.time() + wish.proposal.term_seconds

    async def _keep_rounds(self, *, held: bool) -> None:
        """Brings every round one step further: votes that came, what has to be told, and rounds that are decided."""
        for name, branch in list(self._branches.items()):
            if branch.handoff is None:
                continue
            self._hear(name, branch)
            await self._tell_round(branch)
            if self._told.get(branch.log_id) != _version(branch.handoff):
                # a vote came while the round was written down: it is written down as well before anything comes of it
                continue
            if branch.handoff.open:
                if not held and self._hold not in MONEY:
                    self._ask(name, branch)
            elif not held:
                await self._close(name, branch, branch.handoff)
            elif not branch.term_ends and self._hold in MONEY and workflow.patched(DECIDED_UNPAID):
                # others have decided what there was no money to ask the validators for: it goes on as if there were some
                self._hold, self._held_by = "", ""

    def _ask(self, name: str, branch: Branch) -> None:
        """Asks the validators of the present term, on behalf of its leader."""
        round_ = branch.handoff
        assert round_ is not None
        missing = [v.name for v in handoff.tally(round_).missing if v.kind == "validator"]
        if name in self._asking or not missing or self._asked.get(branch.log_id) == round_.term:
            return
        self._asked[branch.log_id] = round_.term
        if not branch.term_ends:
            self._set_term_end(branch, workflow.time() + round_.proposal.term_seconds)
        asked = ValidatorsInput(
            self._step_input(branch),
            branch.log_id,
            missing,
            round_.proposal.receivers,
            round_.term,
            round_.leader,
        )
        self._asking[name] = asyncio.create_task(self._calls.ask_validators(asked))

    def _hear(self, name: str, branch: Branch) -> None:
        """Takes in what the validators said. Who asked for them and did not come back is a lost leader.

        Validators that cannot be paid for now are asked again when the run goes on; until then the term stands still.
        """
        task = self._asking.get(name)
        if task is None or not task.done():
            return
        del self._asking[name]
        round_ = branch.handoff
        assert round_ is not None
        try:
            votes = task.result()
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type in MONEY:
                lack = cause.details[0]
                self._lack(StepOutcome(branch.checkpoint, parked=cause.type, **lack))
                self._asked.pop(branch.log_id, None)
                self._set_term_end(branch, 0.0)
                return
            self._next_term(branch, round_.term, handoff.LEADER_LOST)
            return
        for vote in votes:
            round_ = handoff.cast(round_, handoff.address(round_, vote)).round
        branch.handoff = round_

    async def _tell_round(self, branch: Branch) -> None:
        round_ = branch.handoff
        assert round_ is not None
        assert branch.step is not None
        version = _version(round_)
        if self._told.get(branch.log_id) == version:
            return
        run = self._run
        await self._calls.record_round(
            RoundInput(
                run.tenant_id,
                run.execution_id,
                self._lineage,
                branch.step,
                branch.log_id,
                round_,
                branch.term_ends,
            )
        )
        self._told[branch.log_id] = version

    async def _close(self, name: str, branch: Branch, round_: Round) -> None:
        branch.handoff = None
        self._told.pop(branch.log_id, None)
        self._asked.pop(branch.log_id, None)
        asking = self._asking.pop(name, None)
        if asking is not None:
            asking.cancel()
        branch.status = "ready"
        if round_.status == "committed":
            branch.committed = round_.index
            return
        message = f"{handoff.NOT_REACHED}: handoff {round_.index} from {round_.proposal.sender} is {round_.status}."
        details = {"retryable": True, "units": [name] if name else list(round_.proposal.receivers)}
        error = ApplicationError(f"{message} {round_.reason}", details, type="consensus_violation", non_retryable=True)
        await self._failed(branch, error)

    def _rounds_have_news(self, *, held: bool) -> bool:
        """Whether `_keep_rounds` has something to do."""
        for name, branch in self._branches.items():
            round_ = branch.handoff
            if round_ is None:
                continue
            if self._told.get(branch.log_id) != _version(round_) or (not round_.open and not held):
                return True
            if name in self._asking and self._asking[name].done():
                return True
        return False

    def _recorded(self, log_id: str) -> bool:
        for branch in self._branches.values():
            if branch.log_id == log_id and branch.handoff is not None:
                return self._told.get(log_id) == _version(branch.handoff)
        return True

    def _terms_end(self) -> list[float]:
        rounds = [b for b in self._branches.values() if b.handoff is not None and b.handoff.open]
        return [branch.term_ends for branch in rounds if branch.term_ends]

    def _end_terms(self, now: float) -> None:
        """Terms whose time is up are followed by the next one, under the next leader."""
        for branch in self._branches.values():
            round_ = branch.handoff
            if round_ is not None and round_.open and 0 < branch.term_ends <= now:
                self._next_term(branch, round_.term, handoff.TIMED_OUT)

    def _next_term(self, branch: Branch, term: int, why: str) -> None:
        assert branch.handoff is not None
        branch.handoff = handoff.next_term(branch.handoff, term, why, workflow.now().isoformat())
        branch.term_ends = workflow.time() + branch.handoff.proposal.term_seconds

    def _set_term_end(self, branch: Branch, ends: float) -> None:
        """0 is a term that stands still. People read of it: the round is told again."""
        branch.term_ends = ends
        self._told.pop(branch.log_id, None)

    def _leave_rounds(self) -> None:
        """Stops asking. A round that stays open is taken up again where it stood."""
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()
        self._asked.clear()


def _version(round_: Round) -> Version:
    return round_.term, len(round_.votes), round_.status
