"""The ledger as a naive model: one tenant's account, lots, holds and budgets in plain Python, one movement after the other.

It says what the functions of the database must come to, and shares nothing with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Run(NamedTuple):
    """An execution, with what it counts against."""

    id: UUID
    workflow: UUID
    api_key: UUID | None
    root: UUID


class Key(NamedTuple):
    """A call."""

    run: Run
    lineage: int
    step: int
    request: str
    occurrence: int

    def in_step_of(self, other: Key) -> bool:
        return self[:3] == other[:3]


@dataclass
class Lot:
    source: str
    reference: str | None
    priority: int
    expires_at: datetime | None
    remaining: int

    def is_over(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at


@dataclass
class Limit:
    """A budget. A month is counted from year 0."""

    id: UUID
    scope: str
    scope_id: UUID | None
    monthly: bool
    amount: int
    month: int
    spent: int = 0
    held: int = 0

    def covers(self, run: Run) -> bool:
        owners = {"tenant": (None,), "workflow": (run.workflow,), "api_key": (run.api_key,)}
        return self.scope_id in owners.get(self.scope, (run.root, run.id))

    def turn(self, at: datetime) -> None:
        if self.monthly and self.month < month(at):
            self.month, self.spent = month(at), 0

    def spent_at(self, at: datetime) -> int:
        return 0 if self.monthly and self.month < month(at) else self.spent


@dataclass
class Hold:
    attempt: int
    amount: int
    budgeted: int
    limits: list[Limit]


#: Kind, legs (available, held, spent, outside), what was not paid.
Entry = tuple[str, int, int, int, int, int]


@dataclass
class Account:
    available: int = 0
    held: int = 0
    spent: int = 0
    outside: int = 0
    lots: list[Lot] = field(default_factory=list)
    holds: dict[Key, Hold] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    #: What was charged, to which run and when.
    charges: list[tuple[Run, int, datetime]] = field(default_factory=list)
    #: What moves once.
    done: set[object] = field(default_factory=set)

    def reserve(self, key: Key, attempt: int, amount: int, *, enforced: bool, at: datetime) -> tuple[str, int]:
        """`held`, or what is in the way, and how much is missing."""
        taken_over = False
        for other, hold in [(other, hold) for other, hold in self.holds.items() if other.in_step_of(key)]:
            if other != key:
                if hold.attempt < attempt:
                    self._free(other)
            elif hold.attempt > attempt or (hold.budgeted >= amount and (hold.amount >= amount or not enforced)):
                hold.attempt = max(hold.attempt, attempt)
                taken_over = True
            else:
                self._free(other)
        if taken_over:
            return "held", 0
        self.expire(at)
        limits = sorted((limit for limit in self.limits if limit.covers(key.run)), key=lambda limit: limit.id)
        for limit in limits:
            missing = limit.spent_at(at) + limit.held + amount - limit.amount
            if missing > 0:
                return "budget", missing
        if enforced and self.available < amount:
            return "credits", amount - self.available
        hold = Hold(attempt, min(amount, self.available), amount, limits)
        self.holds[key] = hold
        for limit in limits:
            limit.turn(at)
            limit.held += amount
        if hold.amount:
            self._book("reserve", -hold.amount, hold.amount)
        return "held", 0

    def settle(self, key: object, run: Run, cost: int, at: datetime) -> bool:
        """`key` is a call's, or any other of something that costs."""
        if key in self.done:
            if isinstance(key, Key) and key in self.holds:
                self._free(key)
            return False
        self.done.add(key)
        self.charges.append((run, cost, at))
        hold = self.holds.pop(key, None) if isinstance(key, Key) else None
        held = hold.amount if hold else 0
        for limit in self.limits:
            if hold and limit in hold.limits:
                limit.turn(at)
                limit.held -= hold.budgeted
            if limit.covers(run):
                limit.turn(at)
                limit.spent += cost
        paid = min(cost, self.available + held)
        self._burn(paid, None, at)
        self._book("settle", held - paid, -held, cost, paid - cost, cost - paid)
        return True

    def release(self, key: Key, attempt: int | None, at: datetime) -> bool:
        hold = self.holds.get(key)
        if hold is None or (attempt is not None and hold.attempt > attempt):
            return False
        self._free(key)
        self.expire(at)
        return True

    def limit(self, limit: Limit, at: datetime) -> None:
        """A budget that is made now counts what was spent before in its period."""
        limit.spent = sum(
            cost
            for run, cost, then in self.charges
            if limit.covers(run) and (not limit.monthly or month(then) == month(at))
        )
        self.limits.append(limit)

    def grant(self, key: str, lot: Lot) -> bool:
        if key in self.done:
            return False
        self.done.add(key)
        self.lots.append(lot)
        self._book("grant", lot.remaining, 0, 0, -lot.remaining)
        return True

    def take(self, key: str, kind: str, amount: int, reference: str | None, at: datetime) -> int | None:
        if key in self.done:
            return None
        self.done.add(key)
        self.expire(at)
        taken = min(amount, self.available)
        self._burn(taken, reference, at)
        self._book(kind, -taken, 0, 0, taken, amount - taken)
        return taken

    def expire(self, at: datetime) -> int:
        """What lots that are over have left goes, but for as much as is held; what would burn last goes first."""
        over = [lot for lot in self._in_order(None, at) if lot.is_over(at)]
        gone = rest = max(0, sum(lot.remaining for lot in over) - self.held)
        for lot in reversed(over):
            part = min(lot.remaining, rest)
            if part:
                lot.remaining -= part
                rest -= part
                self._book("expire", -part, 0, 0, part)
        return gone

    def _free(self, key: Key) -> None:
        hold = self.holds.pop(key)
        for limit in hold.limits:
            limit.held -= hold.budgeted
        if hold.amount:
            self._book("release", hold.amount, -hold.amount)

    def _burn(self, amount: int, reference: str | None, at: datetime) -> None:
        for lot in self._in_order(reference, at):
            part = min(lot.remaining, amount)
            lot.remaining -= part
            amount -= part
        assert amount == 0

    def _in_order(self, reference: str | None, at: datetime) -> Iterator[Lot]:
        """As lots burn: that of the reference, those that are over, by priority, what ends first, the older one."""

        def place(numbered: tuple[int, Lot]) -> tuple[object, ...]:
            number, lot = numbered
            ends = lot.expires_at.timestamp() if lot.expires_at else float("inf")
            named = reference is not None and lot.reference == reference
            return not named, not lot.is_over(at), lot.priority, ends, number

        return (lot for _, lot in sorted(enumerate(self.lots), key=place) if lot.remaining)

    def _book(self, kind: str, available: int, held: int, spent: int = 0, outside: int = 0, unpaid: int = 0) -> None:
        self.available += available
        self.held += held
        self.spent += spent
        self.outside += outside
        self.entries.append((kind, available, held, spent, outside, unpaid))


def month(at: datetime) -> int:
    return at.year * 12 + at.month
