"""Connections of a tenant to services outside, and the runs that requests started there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import ExternalConnection, ExternalKickoff
from models.tables.connections import AGENT_CONNECTIONS, MODEL_PROVIDER
from omium_core.errors import ConnectionNotFound


class ConnectionRepository(Repository):
    async def add(self, connection: ExternalConnection) -> None:
        self.session.add(connection)
        await self.session.flush()

    async def get(self, connection_id: UUID, *, lock: bool = False) -> ExternalConnection:
        """The connection, or `ConnectionNotFound`."""
        query = select(ExternalConnection).where(*self._own(), col(ExternalConnection.id) == connection_id)
        found = (await self.session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
        if found is None:
            raise ConnectionNotFound(f"Connection {connection_id} does not exist.", connection_id=str(connection_id))
        return found

    async def list(
        self, page: Page, *, connection_type: str | None = None, is_active: bool | None = None
    ) -> Listing[ExternalConnection]:
        query = select(ExternalConnection).where(*self._own())
        if connection_type is not None:
            query = query.where(col(ExternalConnection.connection_type) == connection_type)
        if is_active is not None:
            query = query.where(col(ExternalConnection.is_active) == is_active)
        return await self._page(query, ExternalConnection, page)

    async def named(self, name: str) -> Sequence[ExternalConnection]:
        """The connections to agents with this name; those that are in use, if there are any."""
        query = select(ExternalConnection).where(
            *self._own(),
            col(ExternalConnection.connection_name) == name,
            col(ExternalConnection.connection_type).in_(AGENT_CONNECTIONS),
        )
        found: Sequence[ExternalConnection] = (await self.session.execute(query)).scalars().all()
        return [row for row in found if row.is_active] or found

    async def providers(self) -> Sequence[ExternalConnection]:
        """The tenant's own model providers that are in use, the oldest first."""
        query = select(ExternalConnection).where(
            *self._own(),
            col(ExternalConnection.connection_type) == MODEL_PROVIDER,
            col(ExternalConnection.is_active),
        )
        return (await self.session.execute(query.order_by(col(ExternalConnection.id)))).scalars().all()

    async def delete(self, connection: ExternalConnection) -> None:
        await self.session.delete(connection)
        await self.session.flush()

    async def synced(self, connection_id: UUID, at: datetime) -> None:
        """The service answered as it should."""
        await self.session.execute(
            update(ExternalConnection)
            .where(*self._own(), col(ExternalConnection.id) == connection_id)
            .values(last_synced_at=at)
        )

    async def claim_kickoff(self, kickoff: ExternalKickoff) -> ExternalKickoff | None:
        """Writes that a run is about to be started; what was written for this key before, if it was."""
        values = kickoff.model_dump()
        made = insert(ExternalKickoff).values(values).on_conflict_do_nothing().returning(col(ExternalKickoff.id))
        if (await self.session.execute(made)).scalar_one_or_none() is not None:
            return None
        query = select(ExternalKickoff).where(
            col(ExternalKickoff.tenant_id) == self.tenant_id,
            col(ExternalKickoff.connection_id) == kickoff.connection_id,
            col(ExternalKickoff.idempotency_key) == kickoff.idempotency_key,
        )
        return (await self.session.execute(query)).scalar_one()

    async def settle_kickoff(self, row_id: UUID, kickoff_id: str | None) -> None:
        """What came of it; None: nothing was started, and the key may be used again."""
        own = (col(ExternalKickoff.tenant_id) == self.tenant_id, col(ExternalKickoff.id) == row_id)
        if kickoff_id is None:
            await self.session.execute(delete(ExternalKickoff).where(*own))
        else:
            await self.session.execute(update(ExternalKickoff).where(*own).values(kickoff_id=kickoff_id))

    def _own(self) -> tuple[Any, ...]:
        return (col(ExternalConnection.tenant_id) == self.tenant_id,)
