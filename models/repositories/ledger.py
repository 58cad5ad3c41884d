"""The ledger of credits: what moves them, as the functions of migration 0012 do it, and what is read of it.

A call of a model or a tool is known by the key that the journal has for it, so it is settled once, however often it is told.
Amounts are in millionths of a credit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.repositories.base import Repository
from models.repositories.journal import StepKey
from models.tables import CreditAccount
from models.tables.base import now

#: Which lots burn first.
PRIORITIES = {"plan": 10, "gift": 20, "manual": 20, "purchase": 30, "refund": 30, "dispute": 30}

_RESERVE = "SELECT outcome, budget, missing FROM credit_reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_RELEASE = "SELECT credit_release($1, $2, $3, $4, $5, $6, $7, $8) AS released"
_SETTLE = "SELECT credit_settle(jsonb_populate_record(NULL::ledger_entries, $1))"
_GRANT = text("""
SELECT credit_grant(jsonb_populate_record(NULL::ledger_entries, CAST(:entry AS jsonb)), CAST(:priority AS int),
                    CAST(:expires AS timestamptz))
""")
_TAKE = text("SELECT credit_take(jsonb_populate_record(NULL::ledger_entries, CAST(:entry AS jsonb)))")
_EXPIRE = text("SELECT credit_expire(CAST(:tenant AS uuid), CAST(:now AS timestamptz))")


@dataclass(frozen=True)
class CallKey:
    """A call, as the journal knows it."""

    step: StepKey
    request_hash: str
    occurrence: int

    def __str__(self) -> str:
        step = self.step
        return f"call:{step.execution_id}/{step.lineage}/{step.step_index}/{self.request_hash}/{self.occurrence}"


@dataclass(frozen=True)
class Reservation:
    """Whether what a call can cost is held: `outcome` is `held`, `credits` or `budget`. What is `missing`, and in which budget."""

    outcome: str
    missing: int = 0
    budget_id: UUID | None = None


@dataclass(frozen=True)
class Charge:
    """What a call, a step or a day of storage did cost. `resource` is the model or the tool, `agent` the step's name."""

    cost: int
    usage_type: str
    resource: str = ""
    agent: str = ""
    attempt: int = 1
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    price_id: UUID | None = None
    description: str | None = None


@dataclass(frozen=True)
class Movement:
    """Credits that come in or go out. The same `key` moves them once."""

    key: str
    amount: int
    source: str
    reference: str | None = None
    user_id: UUID | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


async def reserve(
    database: Database,
    tenant_id: UUID,
    call: CallKey,
    attempt: int,
    amount: int,
    *,
    enforced: bool,
    patience: float = 60.0,
) -> Reservation:
    """Holds what a call can cost at most, in one round trip. Where credits are not `enforced`, budgets alone can refuse it.

    What a dead attempt of the same step had held is released, or taken over by the same call.
    """
    values = (*_key(tenant_id, call), attempt, amount, enforced, now())
    row = await database.patient_row(tenant_id, _RESERVE, *values, patience=patience)
    return Reservation(row["outcome"], row["missing"], row["budget"])


async def release(
    database: Database, tenant_id: UUID, call: CallKey, *, attempt: int | None = None, patience: float = 60.0
) -> bool:
    """A call that was not made, or not answered, costs nothing: its hold is gone. Whether there was one.

    With the `attempt` that had asked for it, a hold that a later attempt has taken over stays.
    """
    values = (*_key(tenant_id, call), attempt, now())
    row = await database.patient_row(tenant_id, _RELEASE, *values, patience=patience)
    return bool(row["released"])


class LedgerRepository(Repository):
    """Movements in the caller's transaction. The tenant's account is locked from the first of them to the commit."""

    async def account(self) -> CreditAccount:
        """What the tenant has; zeros before its first entry."""
        query = select(CreditAccount).where(col(CreditAccount.tenant_id) == self.tenant_id)
        found = (await self.session.execute(query)).scalar_one_or_none()
        return found or CreditAccount(tenant_id=self.tenant_id)

    async def settle(self, call: CallKey, charge: Charge) -> bool:
        """What a call did cost is spent, what was held beyond it is free again. False if it was settled before."""
        step = call.step
        entry = {
            "idempotency_key": str(call),
            "execution_id": str(step.execution_id),
            "lineage": step.lineage,
            "step_index": step.step_index,
            "request_hash": call.request_hash,
            "occurrence": call.occurrence,
            "attempt": charge.attempt,
        }
        return await self._charge(entry, charge)

    async def charge(self, key: str, charge: Charge, execution_id: UUID | None = None) -> bool:
        """What costs something without a call that could be held: a step, a day of storage. False if it was charged before."""
        entry = {"idempotency_key": key, "execution_id": None if execution_id is None else str(execution_id)}
        return await self._charge(entry, charge)

    async def grant(
        self, movement: Movement, *, expires_at: datetime | None = None, priority: int | None = None
    ) -> bool:
        """A lot of credits comes in. False if it came before."""
        priority = PRIORITIES[movement.source] if priority is None else priority
        told = _told(movement)
        # the terms of the lot, so that the entries alone say what there is
        if priority != PRIORITIES[movement.source]:
            told["metadata"] = {**told["metadata"], "priority": priority}
        if expires_at is not None:
            told["metadata"] = {**told["metadata"], "expires_at": expires_at.isoformat()}
        values = {
            "entry": self._entry({**told, "available": movement.amount}),
            "priority": priority,
            "expires": expires_at,
        }
        return bool((await self.session.execute(_GRANT, values)).scalar_one())

    async def take(self, movement: Movement, *, kind: str = "refund") -> int | None:
        """Credits go out again, first those of the lot with this reference, never what is held. What was left of them to take.

        None if it was done before. `kind` is `refund` or `adjust`.
        """
        entry = self._entry({**_told(movement), "kind": kind, "outside": movement.amount})
        taken: int = (await self.session.execute(_TAKE, {"entry": entry})).scalar_one()
        return None if taken < 0 else taken

    async def expire(self) -> int:
        """Takes what is left of lots whose time is over, but for what is held. How much that was."""
        values = {"tenant": self.tenant_id, "now": now()}
        gone: int = (await self.session.execute(_EXPIRE, values)).scalar_one()
        return gone

    async def _charge(self, entry: dict[str, Any], charge: Charge) -> bool:
        entry |= {
            "spent": charge.cost,
            "usage_type": charge.usage_type,
            "resource": charge.resource or None,
            "agent": charge.agent or None,
            "input_tokens": charge.input_tokens,
            "cached_tokens": charge.cached_tokens,
            "output_tokens": charge.output_tokens,
            "price_id": None if charge.price_id is None else str(charge.price_id),
            "description": charge.description,
        }
        # straight from the driver, as every call pays for it
        driver = await self.session.run_sync(_driver)
        return bool(await driver.fetchval(_SETTLE, self._entry(entry)))

    def _entry(self, values: dict[str, Any]) -> str:
        return json.dumps({"tenant_id": str(self.tenant_id), "created_at": now().isoformat(), **values})


def _driver(session: Session) -> Any:
    """The driver's connection under a session; what was written so far comes first, as always."""
    session.flush()
    return session.connection().connection.driver_connection


def _key(tenant_id: UUID, call: CallKey) -> tuple[Any, ...]:
    step = call.step
    return tenant_id, step.execution_id, step.lineage, step.step_index, call.request_hash, call.occurrence


def _told(movement: Movement) -> dict[str, Any]:
    return {
        "idempotency_key": movement.key,
        "source": movement.source,
        "reference": movement.reference,
        "user_id": None if movement.user_id is None else str(movement.user_id),
        "description": movement.description,
        "metadata": movement.metadata,
    }


async def available(session: AsyncSession, tenant_id: UUID) -> int:
    """What a tenant can spend now."""
    return (await LedgerRepository(session, tenant_id).account()).available
