"""Looks up API keys. The one repository without a tenant: the key is what tells which tenant is asking."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables import ApiKey, Tenant
from models.tables.base import now


@dataclass(frozen=True)
class KeyOwner:
    """Who a valid key belongs to."""

    key_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    scopes: frozenset[str]


async def find_owner(session: AsyncSession, key_hash: str) -> KeyOwner | None:
    """The owner of a key that is active, not expired, and whose tenant is not closed; else None."""
    query = (
        select(ApiKey)
        .join(Tenant, Tenant.id == ApiKey.tenant_id)  # type: ignore[arg-type]
        .where(
            ApiKey.key_hash == key_hash,  # type: ignore[arg-type]
            ApiKey.is_active.is_(True),  # type: ignore[attr-defined]
            ApiKey.revoked_at.is_(None),  # type: ignore[union-attr]
            Tenant.deleted_at.is_(None),  # type: ignore[union-attr]
        )
    )
    key = (await session.execute(query)).scalar_one_or_none()
    if key is None or (key.expires_at is not None and key.expires_at <= now()):
        return None
    return KeyOwner(key_id=key.id, tenant_id=key.tenant_id, user_id=key.user_id, scopes=frozenset(key.scopes))
