"""Whether a tenant may begin another run: it needs credits, where these are enforced, and room in the budgets of the run.

A function of the database decides (migration 0012), so that the question can ride on a query that is sent anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.base import now
from omium_core.credits import to_credits
from omium_core.errors import BudgetExceeded, CreditsExhausted


@dataclass(frozen=True)
class Paying:
    """How a new run is paid for: whether credits are enforced, the key that starts it, its own budget (in micro)."""

    enforced: bool
    api_key_id: UUID | None = None
    budget: int | None = None


def refusal_of(
    tenant_id: UUID, paying: Paying, *, workflow_id: UUID | None = None, root_id: UUID | None = None
) -> ColumnElement[Any]:
    """A column that says why a run of this workflow, in the tree of this root, may not begin; null if it may."""

    def uuid(value: UUID | None) -> ColumnElement[Any]:
        return literal(value, PG_UUID(as_uuid=True))

    return func.credit_start(
        uuid(tenant_id),
        uuid(workflow_id),
        uuid(paying.api_key_id),
        uuid(root_id),
        literal(paying.enforced),
        literal(now(), DateTime(timezone=True)),
        type_=JSONB,
    )


def refuse(found: dict[str, Any] | None) -> None:
    """Raises `CreditsExhausted` or `BudgetExceeded` for what `refusal_of` found. Amounts in the details are credits."""
    if found is None:
        return
    required = found["required"]
    details = {
        "available": to_credits(max(found["available"], 0)),
        "required": None if required is None else to_credits(required),
    }
    if found["reason"] == "budget":
        raise BudgetExceeded(
            f"The budget of the {found['scope'].replace('_', ' ').replace('api', 'API')} is used up.",
            budget_id=found["budget_id"],
            scope=found["scope"],
            **details,
        )
    words = "The tenant has no credits left." if required is None else "Runs of the tenant wait for credits already."
    raise CreditsExhausted(words, **details)


async def check_start(
    session: AsyncSession,
    tenant_id: UUID,
    paying: Paying,
    *,
    workflow_id: UUID | None = None,
    root_id: UUID | None = None,
) -> None:
    """For who has no query to send along with it: one round trip. Raises `CreditsExhausted`, `BudgetExceeded`."""
    query = select(refusal_of(tenant_id, paying, workflow_id=workflow_id, root_id=root_id))
    refuse((await session.execute(query)).scalar_one())
