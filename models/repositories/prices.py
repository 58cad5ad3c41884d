"""Prices: the versions that concern a tenant, and new ones. Read with the rights of the tenant, written with the platform's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, or_, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.pricing import PriceVersion, Rate
from models.repositories.base import Repository
from models.tables import Price


class PriceRepository(Repository):
    async def newest(self) -> int:
        """The number of the newest version that concerns the tenant; 0 if there is none."""
        query = select(func.coalesce(func.max(col(Price.number)), 0)).where(self._concerns)
        number: int = (await self.session.execute(query)).scalar_one()
        return number

    async def versions(self) -> Sequence[PriceVersion]:
        """All versions that concern the tenant, its own and those for all, the oldest first."""
        query = select(Price).where(self._concerns).order_by(col(Price.number))
        rows: Sequence[Price] = (await self.session.execute(query)).scalars().all()
        return [_version(row) for row in rows]

    @property
    def _concerns(self) -> ColumnElement[bool]:
        return or_(col(Price.tenant_id).is_(None), col(Price.tenant_id) == self.tenant_id)


async def add_price(session: AsyncSession, price: Price) -> Price:
    """Adds a version, in a transaction of the platform itself. Its number is given by the database."""
    session.add(price)
    await session.flush()
    await session.refresh(price)
    return price


def _version(row: Price) -> PriceVersion:
    rate = Rate(
        input_per_1m=row.input_per_1m,
        output_per_1m=row.output_per_1m,
        cached_per_1m=row.cached_per_1m,
        per_call=row.per_call,
        id=row.id,
        max_output_tokens=row.max_output_tokens,
    )
    return PriceVersion(
        kind=row.kind,
        name=row.name,
        own=row.tenant_id is not None,
        effective_from=row.effective_from,
        number=row.number,
        withdrawn=row.withdrawn,
        rate=rate,
    )
