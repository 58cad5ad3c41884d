"""What a new tenant begins with."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.logins import APPLICATION_ROLE, SYSTEM_ROLE
from models.repositories.ledger import LedgerRepository, Movement
from omium_core.credits import to_micro

KEY = "signup"


async def grant_signup_credits(session: AsyncSession, tenant_id: UUID, credits: Decimal | int) -> None:
    """Credits of a tenant that this transaction, which is one of the system role, has just made. The key moves them once.

    The ledger is the tenant's own, which the system role does not write: the transaction becomes the tenant's for it.
    """
    if not credits:
        return
    await session.flush()
    await session.execute(text(f"SET LOCAL ROLE {APPLICATION_ROLE}"))
    await session.execute(text("SELECT set_config('omium.tenant_id', :tenant, true)"), {"tenant": str(tenant_id)})
    gift = Movement(KEY, to_micro(credits), "gift", description="Credits to begin with")
    await LedgerRepository(session, tenant_id).grant(gift)  # type: ignore[arg-type]
    await session.execute(text("SELECT set_config('omium.tenant_id', '', true)"))
    await session.execute(text(f"SET LOCAL ROLE {SYSTEM_ROLE}"))
