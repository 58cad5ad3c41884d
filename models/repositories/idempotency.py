"""Idempotency keys: who comes second learns what the first one started."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.repositories.base import Repository
from models.tables import IdempotencyKey


class IdempotencyRepository(Repository):
    async def find(self, key: str) -> IdempotencyKey | None:
        query = select(IdempotencyKey).where(
            col(IdempotencyKey.tenant_id) == self.tenant_id, col(IdempotencyKey.key) == key
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def claim(self, key: str, request_hash: str, execution_id: UUID) -> bool:
        """Whether the key is ours now. Waits for a transaction that is claiming the same key."""
        claim = IdempotencyKey(
            tenant_id=self.tenant_id, key=key, request_hash=request_hash, execution_id=execution_id
        ).model_dump()
        statement = insert(IdempotencyKey).values(claim).on_conflict_do_nothing().returning(col(IdempotencyKey.key))
        return (await self.session.execute(statement)).scalar_one_or_none() is not None
