"""What the audit log is told by use cases: who did what to which thing, in the transaction that does it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.principal import Principal


async def audited(
    session: AsyncSession,
    caller: Principal,
    action: str,
    resource_type: str,
    resource_id: UUID | None,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
) -> None:
    """Writes the entry of one change. `action` is `<resource>.<what>`; values hold no secret and no payload."""
