"""The part of a run that waits for money: a call could not be paid for, so its branch stays where it is until it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.wire import StepOutcome
    from models.wire_commands import FUNDS, FundsCommand

#: Reasons of a pause that ends when there is money again; a resume tries at once.
MONEY = ("credits", "budget")


class Lacking:
    """What the run says of itself while it cannot pay, and the signal that ends that."""

    def __init__(self) -> None:
        #: Somebody wants the run to stand still, or it cannot pay: why, who, and in whose words.
        self._hold = ""
        self._held_by = ""
        self._hold_note = ""
        self._rolled_back = False
        #: What the next call may cost, in millionths of a credit, and the budget in its way.
        self._required = 0
        self._budget_id = ""

    def _take(
        self,
        kind: type[Any],
        arguments: Sequence[Any],
        check: Callable[[Any], None],
        apply: Callable[[Any], object],
    ) -> None:
        raise NotImplementedError

    def _check_open(self, code: str) -> None:
        raise NotImplementedError

    @workflow.signal(name="funds", description='Credits came, or a budget has room. {"id"}')
    def signal_funds(self, *arguments: Any) -> None:
        """Clears what the want of money holds, and nothing else."""
        self._take(FundsCommand, arguments, lambda _: self._check_open("EXECUTION_CANNOT_RESUME"), self._fund)

    def _fund(self, _: FundsCommand) -> None:
        if self._hold in MONEY:
            self._hold, self._held_by = "", FUNDS

    def _is_stopped(self) -> bool:
        """Whether somebody wants the run to stand still: one that waits for money can be told so too."""
        return bool(self._hold) and self._hold not in MONEY

    def _lack(self, outcome: StepOutcome) -> None:
        """The run is held for want of money. What somebody else holds it for comes first; of several wants, the least."""
        if self._hold == outcome.parked and self._budget_id == outcome.budget_id:
            self._required = min(self._required, outcome.required)
        elif not self._hold and not self._rolled_back:
            self._hold, self._held_by, self._hold_note = outcome.parked, "", ""
            self._required, self._budget_id = outcome.required, outcome.budget_id

    def _wanted(self, reason: str) -> tuple[int, str]:
        """What is recorded of a pause: what it takes to end it, where that is money."""
        return (self._required, self._budget_id) if reason in MONEY else (0, "")
