"""The activities of an export: its tables become parts in the object store, sealed with the tenant's key.

A part is written anew as a whole when its worker died, so an export loses nothing and holds nothing twice. Parts become one
zip when they are fetched (`read_parts`): nothing has to hold all of it at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from pydantic_core import to_jsonable_python
from sqlalchemy import ColumnElement, Table, func, select, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeat import heartbeat
from activities.maintenance import contents
from activities.stores.base import ObjectStore
from activities.stores.values import ValueStore, dump
from models.database import Database
from models.tables import Account, DataRequest, User
from models.tables.base import now
from models.wire_maintenance import ExportEnd, ExportInput, PartDone, PartInput
from omium_core.errors import CheckpointCorrupted, TenantErased

log = structlog.get_logger(__name__)

#: A part ends when it has this many bytes, or this many rows.
PART_BYTES, PART_ROWS = 4 * 1024 * 1024, 20_000
BATCH = 200


@dataclass(frozen=True)
class Piece:
    """A part of an export: a file of the zip, or some of one."""

    file: str
    key: str


def folder(tenant_id: UUID | str, request_id: UUID | str) -> str:
    """Where the parts of an export lie."""
    return f"{tenant_id}/exports/{request_id}"


class ExportActivities:
    """Belongs to one event loop. `objects` seals what it is given with the tenant's key."""

    def __init__(self, database: Database, objects: ObjectStore, values: ValueStore) -> None:
        self._database = database
        self._objects = objects
        self._values = values

    @activity.defn(name="begin_export")
    async def begin(self, export: ExportInput) -> list[str]:
        """The names of the tables, after their rows were counted, so that progress can be told."""
        async with heartbeat(), _alive():
            names, total = [], 0
            for table in contents.tables():
                count = await self._count(export, table)
                if count:
                    names.append(table.name)
                    total += count
            await self._tell(export, status="running", phase=names[0] if names else "", rows_total=total, rows_done=0)
            if export.user_id:
                await self._account(export)
            return names

    @activity.defn(name="export_part")
    async def part(self, part: PartInput) -> PartDone:
        """Writes the next rows of a table, and what they keep in the object store."""
        async with heartbeat(), _alive():
            table = contents.table_named(part.table)
            done = PartDone(after=part.after, offset=part.offset, done=False)
            lines: list[bytes] = []
            size = 0
            while not done.done and size < PART_BYTES and done.rows < PART_ROWS:
                rows = await self._rows(part.export, table, done)
                for row in rows:
                    shown = contents.line(table, row)
                    for digest in contents.blobs(table, shown):
                        await self._blob(part.export, digest)
                    lines.append(json.dumps(shown, separators=(",", ":")).encode() + b"\n")
                    size += len(lines[-1])
                    if (cursor := contents.cursor(table)) is not None:
                        done.after = str(shown[cursor.name])
                done.rows += len(rows)
                done.offset += len(rows)
                done.done = len(rows) < BATCH
            if lines:
                key = f"{self._folder(part.export)}/tables/{table.name}/{part.number:06d}"
                await self._objects.put(key, b"".join(lines))
            await self._advance(part, done)
            return done

    @activity.defn(name="end_export")
    async def end(self, end: ExportEnd) -> None:
        """It can be fetched from now on, or it has failed."""
        async with heartbeat(), _alive():
            if end.error:
                await self._tell(end.export, status="failed", error=end.error, phase="", completed_at=now())
                return
            expires = now() + timedelta(seconds=end.export.keep_seconds)
            await self._tell(end.export, status="ready", phase="", completed_at=now(), expires_at=expires)

    @activity.defn(name="remove_export")
    async def remove(self, export: ExportInput) -> None:
        """Removes its parts; also those of one that failed, or whose tenant was erased meanwhile."""
        async with heartbeat():
            keys = [key async for key in self._objects.list(f"{self._folder(export)}/")]
            for key in keys:
                await self._objects.delete(key)
            try:
                await self._tell(export, status="expired", only="ready")
            except TenantErased:
                log.info("an export went with its tenant", request_id=export.request_id)

    async def _count(self, export: ExportInput, table: Table) -> int:
        query = select(func.count()).select_from(table).where(_wanted(export, table))
        async with self._database.transaction(UUID(export.tenant_id)) as db:
            return int((await db.execute(query)).scalar_one())

    async def _rows(self, export: ExportInput, table: Table, at: PartDone) -> list[Any]:
        """The next rows: after an id or a number where rows have one, else after so many."""
        query = select(*contents.columns(table)).where(_wanted(export, table)).limit(BATCH)
        cursor = contents.cursor(table)
        if cursor is not None:
            query = query.order_by(cursor)
            if at.after:
                query = query.where(cursor > cursor.type.python_type(at.after))
        else:
            query = query.order_by(*table.primary_key.columns).offset(at.offset)
        async with self._database.transaction(UUID(export.tenant_id)) as db:
            return list((await db.execute(query)).all())

    async def _blob(self, export: ExportInput, digest: str) -> None:
        key = f"{self._folder(export)}/blobs/{digest}"
        if await self._objects.exists(key):
            return
        try:
            value = await self._values.get(export.tenant_id, digest)
        except CheckpointCorrupted as error:
            # the row says that there was something; an export of the rest is worth more than none
            log.warning("an export lacks a blob", request_id=export.request_id, digest=digest, reason=str(error))
            return
        await self._objects.put(key, dump(value))

    async def _account(self, export: ExportInput) -> None:
        """How a person signs in, which belongs to the platform and not to one tenant."""
        query = (
            select(*[Account.__table__.c[name] for name in _ACCOUNT])  # type: ignore[attr-defined]
            .join(User, col(User.account_id) == col(Account.id))
            .where(col(User.id) == UUID(export.user_id), col(User.tenant_id) == UUID(export.tenant_id))
        )
        async with self._database.system() as db:
            row = (await db.execute(query)).one_or_none()
        if row is not None:
            shown = to_jsonable_python(dict(zip(_ACCOUNT, row, strict=True)))
            key = f"{self._folder(export)}/tables/account/000000"
            await self._objects.put(key, json.dumps(shown, separators=(",", ":")).encode() + b"\n")

    async def _advance(self, part: PartInput, done: PartDone) -> None:
        # told from the beginning, so that a part that is written again counts once
        statement = (
            update(DataRequest)
            .where(col(DataRequest.id) == UUID(part.export.request_id), col(DataRequest.status) == "running")
            .values(phase=part.table, rows_done=func.least(col(DataRequest.rows_total), part.before + done.offset))
        )

        async def work(db: AsyncSession) -> None:
            await db.execute(statement)

        await self._database.run(UUID(part.export.tenant_id), work)

    async def _tell(self, export: ExportInput, *, only: str = "", **values: Any) -> None:
        statement = update(DataRequest).where(col(DataRequest.id) == UUID(export.request_id)).values(**values)
        if only:
            statement = statement.where(col(DataRequest.status) == only)

        async def work(db: AsyncSession) -> None:
            await db.execute(statement)

        await self._database.run(UUID(export.tenant_id), work)

    @staticmethod
    def _folder(export: ExportInput) -> str:
        return folder(export.tenant_id, export.request_id)


_ACCOUNT = ("id", "email", "email_verified_at", "auth_provider", "last_login_at", "created_at", "updated_at")


class _alive:
    """An export whose tenant is erased meanwhile ends at once."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TenantErased):
            raise ApplicationError(error.message, type=error.code, non_retryable=True) from error


def _wanted(export: ExportInput, table: Table) -> ColumnElement[bool]:
    wanted = contents.of_tenant(table, UUID(export.tenant_id))
    return wanted & contents.of_person(table, UUID(export.user_id)) if export.user_id else wanted


async def pieces(objects: ObjectStore, tenant_id: UUID, request_id: UUID) -> AsyncIterator[Piece]:
    """The parts of an export in the order of the zip: a file for each table, then one for each blob."""
    prefix = f"{folder(tenant_id, request_id)}/"
    for key in sorted([key async for key in objects.list(prefix)], key=_order):
        kind, name, *_ = key.removeprefix(prefix).split("/")
        yield Piece(f"{name}.jsonl" if kind == "tables" else f"blobs/{name}.json", key)


def _order(key: str) -> tuple[bool, str]:
    return "/blobs/" in key, key
