"""Seals with the present key what older keys sealed, and what was never sealed: every column of every table of tenants.

In small transactions, and without waiting for rows that others hold, so that everybody goes on working. Only what the
present key has not sealed yet is looked for: stopped at any moment, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Table,
    and_,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.types import LargeBinary
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.sealing import SealedBytes, SealedJson, SealedText, is_token
from models.tables import Table as AnyTable
from omium_core.errors import KeyUnavailable
from omium_core.keyring import Cipher

#: Rows that are locked at a time.
BATCH = 100

_MAY_CHANGE = text("SELECT has_column_privilege(current_user, CAST(:table AS text), CAST(:column AS text), 'UPDATE')")


@dataclass(frozen=True)
class Sealed:
    """A table with the names of its sealed columns, and of those that hold tokens of connections."""

    table: Table
    columns: tuple[str, ...]
    tokens: tuple[str, ...]


def sealed_tables() -> list[Sealed]:
    """All tables that hold something sealed."""
    found = []
    for table in AnyTable.metadata.sorted_tables:
        columns = tuple(c.name for c in table.c if isinstance(c.type, (SealedJson, SealedText, SealedBytes)))
        tokens = tuple(c.name for c in table.c if is_token(c))
        if columns or tokens:
            found.append(Sealed(table, columns, tokens))
    return found


class Resealing:
    """The rows of one tenant. `unreadable` are the places of values that could not be opened."""

    def __init__(self, database: Database, tenant_id: UUID) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self.unreadable: set[str] = set()

    async def left(self, sealed: Sealed) -> int | None:
        """How many rows of a table have a value that the present key has not sealed; tokens do not count.

        None where rows are only ever added, such as an audit trail: they stay with the keys that sealed them.
        """
        cipher = await self._database.cipher(self._tenant_id)
        async with self._database.transaction(self._tenant_id) as session:
            for column in (*sealed.columns, *sealed.tokens):
                named = {"table": sealed.table.name, "column": column}
                if not (await session.execute(_MAY_CHANGE, named)).scalar_one():
                    return None
            if not sealed.columns:
                return 0
            query = select(func.count()).select_from(sealed.table).where(self._stale(sealed, cipher))
            return int((await session.execute(query)).scalar_one())

    async def reseal(self, sealed: Sealed) -> AsyncIterator[int]:
        """The number of rows that were done, after each batch. Rows that somebody held are left for the next time."""
        last: Row[Any] | None = None
        while sealed.columns:
            done, last = await self._batch(sealed, last)
            if last is None:
                break
            yield done
        if sealed.tokens and (done := await self._tokens(sealed)):
            yield done

    async def _batch(self, sealed: Sealed, last: Row[Any] | None) -> tuple[int, Row[Any] | None]:
        """Seals the next rows in the order of their keys: how many, and the last that was looked at."""
        # a key that was rotated meanwhile is the present one then
        cipher = await self._database.cipher(self._tenant_id)
        keys = _keys(sealed.table)
        raw = [type_coerce(sealed.table.c[name], LargeBinary).label(f"sealed_{name}") for name in sealed.columns]
        query = select(*keys, *raw).where(self._stale(sealed, cipher)).order_by(*keys).limit(BATCH)
        if last is not None:
            seen = (literal(last._mapping[key], key.type) for key in keys)
            query = query.where(tuple_(*keys) > tuple_(*seen))
        done = 0
        async with self._database.transaction(self._tenant_id) as session:
            rows = (await session.execute(query.with_for_update(skip_locked=True))).all()
            for row in rows:
                values: dict[str, Any] = {}
                for name in sealed.columns:
                    old = row._mapping[f"sealed_{name}"]
                    if old is not None and not cipher.is_current(old):
                        with self._noting(sealed, row, name):
                            values[name] = type_coerce(cipher.seal(cipher.open(old)), LargeBinary)
                done += await _update(session, sealed.table, row, values)
        return done, rows[-1] if rows else None

    async def _tokens(self, sealed: Sealed) -> int:
        """What key made a token cannot be told by the database; a tenant has few."""
        cipher = await self._database.cipher(self._tenant_id)
        query = select(*_keys(sealed.table), *(sealed.table.c[name] for name in sealed.tokens)).with_for_update()
        done = 0
        async with self._database.transaction(self._tenant_id) as session:
            for row in (await session.execute(query.where(self._mine(sealed)))).all():
                values: dict[str, Any] = {}
                for name in sealed.tokens:
                    old = row._mapping[name]
                    if old and not cipher.is_current_token(old):
                        with self._noting(sealed, row, name):
                            values[name] = cipher.reseal_token(old)
                done += await _update(session, sealed.table, row, values)
        return done

    @contextmanager
    def _noting(self, sealed: Sealed, row: Row[Any], name: str) -> Iterator[None]:
        """What cannot be opened stays as it is, and the rest is sealed all the same."""
        try:
            yield
        except KeyUnavailable:
            where = ", ".join(str(row._mapping[key]) for key in _keys(sealed.table))
            self.unreadable.add(f"{sealed.table.name}.{name} of {where}")

    def _mine(self, sealed: Sealed) -> ColumnElement[bool]:
        mine: ColumnElement[bool] = sealed.table.c.tenant_id == self._tenant_id
        return mine

    def _stale(self, sealed: Sealed, cipher: Cipher) -> ColumnElement[bool]:
        raw = [type_coerce(sealed.table.c[name], LargeBinary) for name in sealed.columns]
        return and_(self._mine(sealed), or_(*(func.substr(value, 1, len(cipher.head)) != cipher.head for value in raw)))


async def _update(session: AsyncSession, table: Table, row: Row[Any], values: dict[str, Any]) -> bool:
    """Whether there was something to write."""
    if values:
        is_row = and_(*(key == row._mapping[key] for key in _keys(table)))
        changed = {table.c[name]: value for name, value in values.items()}
        await session.execute(update(table).where(is_row).values(changed))
    return bool(values)


def _keys(table: Table) -> list[Column[Any]]:
    return list(table.primary_key.columns)
