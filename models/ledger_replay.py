"""Pure: the entries of a ledger, in their order, become what the tables beside it should say.

Lots burn here as `credit_burn` of migration 0012 burns them. Everything is in millionths of a credit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from models.repositories.ledger import PRIORITIES

_NEVER = datetime.max.replace(tzinfo=UTC)


class Entry(Protocol):
    """A row of `ledger_entries`."""

    number: int
    kind: str
    available: int
    held: int
    spent: int
    outside: int
    unpaid: int
    balance_after: int
    grant_id: UUID | None
    hold_id: UUID | None
    source: str | None
    reference: str | None
    created_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What was agreed on for a lot when it came: when it burns, and until when."""

    priority: int
    expires_at: datetime | None


@dataclass
class Lot:
    id: UUID
    #: The entry that made it.
    entry: Entry
    terms: Terms
    amount: int
    remaining: int


@dataclass(frozen=True)
class Fault:
    """Something in the ledger itself that cannot be: an entry, what is wrong with it, and both numbers."""

    number: int
    what: str
    expected: int
    found: int


@dataclass
class Books:
    """What the entries come to. `lots` are by id, and so are `holds`: of each that is open, the entry that made it."""

    available: int = 0
    held: int = 0
    spent: int = 0
    outside: int = 0
    number: int = 0
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Entry] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    #: Lots of which something is left, and how much all of them hold.
    _full: dict[UUID, Lot] = field(default_factory=dict)
    _left: int = 0

    def add(self, entry: Entry) -> None:
        """The next entry."""
        self._check(entry.number, "numbers have a gap before", self.number + 1, entry.number)
        legs = entry.available + entry.held + entry.spent + entry.outside
        self._check(entry.number, "legs do not sum to zero in", 0, legs)
        self.number = entry.number
        self.available += entry.available
        self.held += entry.held
        self.spent += entry.spent
        self.outside += entry.outside
        self._check(entry.number, "balance is wrong after", self.available + self.held, entry.balance_after)
        for name in ("available", "held"):
            value = getattr(self, name)
            self._check(entry.number, f"{name} is below zero after", max(0, value), value)
        self._move(entry)
        self._check(entry.number, "lots hold another sum after", self.available + self.held, self._left)

    def _move(self, entry: Entry) -> None:
        match entry.kind:
            case "grant":
                self._lot(entry)
            case "reserve":
                if entry.hold_id is not None:
                    self.holds[entry.hold_id] = entry
            case "release":
                self._close(entry, entry.available)
            case "settle":
                self._close(entry, -entry.held)
                self._burn(entry.spent - entry.unpaid, None, entry.created_at)
            case "refund" | "adjust":
                self._burn(-entry.available, entry.reference, entry.created_at)
            case "expire":
                self._expire(entry)
            case _:
                self._check(entry.number, f"kind {entry.kind!r} is not known of", 0, 1)

    def _lot(self, entry: Entry) -> None:
        if entry.grant_id is None:
            self._check(entry.number, "no lot is named by the grant", 1, 0)
            return
        lot = Lot(entry.grant_id, entry, _agreed(entry), entry.available, entry.available)
        self.lots[lot.id] = self._full[lot.id] = lot
        self._left += lot.remaining

    def _close(self, entry: Entry, amount: int) -> None:
        """What was held is held no more. A hold of nothing has no entry, and neither has its end."""
        made = self.holds.pop(entry.hold_id, None) if entry.hold_id is not None else None
        self._check(entry.number, "another amount was held than is closed by", made.held if made else 0, amount)

    def _burn(self, amount: int, reference: str | None, at: datetime) -> None:
        def place(lot: Lot) -> tuple[Any, ...]:
            terms = lot.terms
            is_named = reference is not None and lot.entry.reference == reference
            is_over = terms.expires_at is not None and terms.expires_at <= at
            return not is_named, not is_over, terms.priority, terms.expires_at or _NEVER, lot.id

        for lot in sorted(self._full.values(), key=place):
            if amount <= 0:
                return
            amount -= self._take(lot, amount)

    def _expire(self, entry: Entry) -> None:
        lot = self.lots.get(entry.grant_id) if entry.grant_id is not None else None
        left = lot.remaining if lot is not None else 0
        self._check(entry.number, "more expires than the lot had left in", min(left, entry.outside), entry.outside)
        if lot is not None:
            self._take(lot, entry.outside)

    def _take(self, lot: Lot, most: int) -> int:
        part = min(lot.remaining, most)
        lot.remaining -= part
        self._left -= part
        if not lot.remaining:
            self._full.pop(lot.id, None)
        return part

    def _check(self, number: int, what: str, expected: int, found: int) -> None:
        if expected != found:
            self.faults.append(Fault(number, what, expected, found))


def _agreed(entry: Entry) -> Terms:
    """What the entry says of its lot: only a priority that is not its source's is written there."""
    expires = entry.metadata.get("expires_at")
    priority = entry.metadata.get("priority", PRIORITIES.get(entry.source or "", 0))
    return Terms(int(priority), datetime.fromisoformat(expires) if expires else None)
