"""What all repositories share: a session and a tenant, given once, so that no query can forget its tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tables.base import Table

Row = TypeVar("Row", bound=Table)


@dataclass(frozen=True)
class Page:
    """What part of a list is wanted: by `cursor` (the id of the last row seen) or by `offset`; newest first."""

    limit: int = 20
    cursor: UUID | None = None
    offset: int = 0


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A part of a list. `total` counts all rows that match; `next_cursor` is None at the end."""

    rows: Sequence[Row]
    total: int
    next_cursor: UUID | None


class Repository:
    """Base of the tenant-bound repositories. Transactions belong to the caller."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self.session = session
        self.tenant_id = tenant_id

    async def _page(self, query: Select[Any], table: type[Row], page: Page) -> Listing[Row]:
        total: int = (await self.session.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
        row_id = table.__table__.c.id  # type: ignore[attr-defined]
        query = query.order_by(row_id.desc())
        if page.cursor is not None:
            query = query.where(row_id < page.cursor)
        rows: Sequence[Any] = (
            (await self.session.execute(query.offset(page.offset).limit(page.limit + 1))).scalars().all()
        )
        more = len(rows) > page.limit
        rows = rows[: page.limit]
        return Listing(rows=rows, total=total, next_cursor=rows[-1].id if more else None)
