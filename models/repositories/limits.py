"""What tenants may use and have used: limits from their row, requests of a month, checkpoints of a month."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables import Checkpoint, Tenant
from models.tables.base import now
from omium_core.errors import QuotaExceeded

#: Requests of a tenant, and of one key to the routes of executions, by the name of their window: what `tenants.limits` may
#: say otherwise than the settings. A number, or null for no limit.
REQUEST_LIMITS = (
    "requests_per_minute",
    "requests_per_hour",
    "execution_requests_per_minute",
    "execution_requests_per_hour",
)
UNLIMITED_REQUESTS: dict[str, None] = dict.fromkeys(REQUEST_LIMITS)

_READ = text("""
SELECT subscription_tier, limits, max_concurrent_executions, max_checkpoints_per_month, max_api_calls_per_month,
       coalesce((SELECT calls FROM api_usage WHERE tenant_id = tenants.id AND month = :month), 0) AS calls
FROM tenants WHERE id = :tenant
""").bindparams(bindparam("month", type_=Date))

_ADD_CALLS = text("""
WITH counted AS (
    SELECT given.tenant_id, given.calls FROM unnest(:tenants, :calls) AS given (tenant_id, calls)
    -- a tenant that is gone needs no bill
    JOIN tenants ON tenants.id = given.tenant_id
), of_the_hour AS (
    INSERT INTO api_usage_hours (tenant_id, hour, calls)
    SELECT tenant_id, date_trunc('hour', now(), 'UTC'), calls FROM counted ORDER BY tenant_id
    ON CONFLICT (tenant_id, hour) DO UPDATE SET calls = api_usage_hours.calls + excluded.calls
)
INSERT INTO api_usage (tenant_id, month, calls)
SELECT tenant_id, :month, calls FROM counted
-- always in the same order, so that two processes do not wait for each other
ORDER BY tenant_id
ON CONFLICT (tenant_id, month) DO UPDATE SET calls = api_usage.calls + excluded.calls
RETURNING tenant_id, calls
""").bindparams(
    bindparam("tenants", type_=ARRAY(PG_UUID(as_uuid=True))),
    bindparam("calls", type_=ARRAY(BIGINT)),
    bindparam("month", type_=Date),
)


@dataclass(frozen=True)
class TenantAllowance:
    """What a tenant's row allows, and the requests that it is known to have sent this month."""

    tier: str
    overrides: Mapping[str, int | None]
    max_concurrent_executions: int
    max_checkpoints_per_month: int
    max_api_calls_per_month: int
    calls: int


def month_of(moment: datetime | None = None) -> date:
    """The month that quotas are counted in, as its first day in UTC."""
    return (moment or now()).astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    """When the quotas of a month begin anew."""
    year, number = divmod(month.year * 12 + month.month, 12)
    return datetime(year, number + 1, 1, tzinfo=UTC)


def quota_exceeded(quota: str, limit: int, used: int, month: date) -> QuotaExceeded:
    """What is told when a month's `api_calls` or `checkpoints` are used up."""
    resets_at = next_month(month)
    words = {"api_calls": "requests", "checkpoints": "checkpoints"}[quota]
    return QuotaExceeded(
        f"The tenant's {limit} {words} of this month are used up.",
        quota=quota,
        limit=limit,
        used=used,
        resets_at=resets_at.isoformat(),
        retry_after=max(1, math.ceil((resets_at - now()).total_seconds())),
    )


async def read_allowance(session: AsyncSession, tenant_id: UUID, month: date) -> TenantAllowance | None:
    """In a transaction of the platform itself; None for a tenant that is gone."""
    row = (await session.execute(_READ, {"tenant": tenant_id, "month": month})).one_or_none()
    if row is None:
        return None
    overrides: Any = json.loads(row.limits) if isinstance(row.limits, str) else row.limits
    return TenantAllowance(
        row.subscription_tier,
        # operators write them by hand: what is no number says nothing
        {
            name: value
            for name, value in overrides.items()
            if name in REQUEST_LIMITS and (value is None or type(value) is int)
        },
        row.max_concurrent_executions,
        row.max_checkpoints_per_month,
        row.max_api_calls_per_month,
        row.calls,
    )


async def add_calls(session: AsyncSession, month: date, calls: Mapping[UUID, int]) -> dict[UUID, int]:
    """Adds what a process counted to the requests of a month; the new sums. One statement for all tenants."""
    values = {"month": month, "tenants": list(calls), "calls": list(calls.values())}
    return {row.tenant_id: row.calls for row in await session.execute(_ADD_CALLS, values)}


async def check_checkpoints(session: AsyncSession, tenant_id: UUID) -> None:
    """Before an execution begins. Those that run end, whatever they still need. Raises `QuotaExceeded`."""
    limit: int = (
        await session.execute(select(col(Tenant.max_checkpoints_per_month)).where(col(Tenant.id) == tenant_id))
    ).scalar_one()
    month = month_of()
    used = await count_checkpoints(session, tenant_id, month)
    if used >= limit:
        raise quota_exceeded("checkpoints", limit, used, month)


async def count_checkpoints(session: AsyncSession, tenant_id: UUID, month: date) -> int:
    """How many checkpoints the tenant's runs made since a month began, as far as they are kept."""
    began = datetime(month.year, month.month, 1, tzinfo=UTC)
    query = select(func.count()).where(
        col(Checkpoint.tenant_id) == tenant_id,
        col(Checkpoint.created_at) >= began,
        col(Checkpoint.created_at) < next_month(month),
    )
    return (await session.execute(query)).scalar_one()
