"""Seals with present keys what older ones sealed: all that a tenant stores, rows and objects; and all that a master key wrapped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from activities.stores.encrypted import EncryptedStore
from models.database import Database
from models.repositories.identity import rewrap_totp_secrets
from models.resealing import Resealing, sealed_tables
from models.signing import rewrap_signing_keys
from models.tables import Tenant
from omium_core.errors import KeyUnavailable, NotFound, TenantErased

#: Objects that are sealed anew at a time.
_AT_ONCE = 16


@dataclass
class Resealed:
    """What was done for a tenant. `kept` are the tables that are only added to, `erased` says that it has no keys.

    `left` counts rows that somebody held all the time, or of which nothing can be opened; `unreadable` says
    where something lies that cannot be opened.
    """

    tenant_id: str
    rows: int = 0
    objects: int = 0
    left: int = 0
    unreadable: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    erased: bool = False


#: Hears that something with so many parts (None: nobody knows) begins, and how many more of them are done.
Begin = Callable[[str, int | None], None]
Advance = Callable[[int], None]


async def reseal_tenant(
    database: Database, objects: EncryptedStore, tenant_id: UUID, begin: Begin, advance: Advance
) -> Resealed:
    """Rows and objects of one tenant; waits for a key that was just made to be the one that seals."""
    done = Resealed(str(tenant_id))
    try:
        await database.keys.sealing_since_rotation(tenant_id)
    except TenantErased:
        done.erased = True
        return done
    resealing = Resealing(database, tenant_id)
    held = []
    for sealed in sealed_tables():
        total = await resealing.left(sealed)
        if total is None:
            done.kept.append(sealed.table.name)
            continue
        begin(sealed.table.name, total)
        rows = 0
        if total or sealed.tokens:
            async for batch in resealing.reseal(sealed):
                rows += batch
                advance(batch)
        done.rows += rows
        if rows < total:
            held.append(sealed)
    begin("objects", None)
    keys: list[str] = []
    async for key in objects.list(f"{tenant_id}/"):
        keys.append(key)
        if len(keys) == _AT_ONCE:
            done.objects += await _objects(objects, keys, done, advance)
            keys = []
    done.objects += await _objects(objects, keys, done, advance)
    for sealed in held:
        async for batch in resealing.reseal(sealed):
            done.rows += batch
        done.left += await resealing.left(sealed) or 0
    done.unreadable += sorted(resealing.unreadable)
    return done


async def _objects(objects: EncryptedStore, keys: list[str], done: Resealed, advance: Advance) -> int:
    results = await asyncio.gather(*map(objects.reseal, keys), return_exceptions=True)
    advance(len(keys))
    for key, result in zip(keys, results, strict=True):
        if isinstance(result, KeyUnavailable):
            done.unreadable.append(f"object {key}")
        elif isinstance(result, BaseException):
            raise result
    return sum(result is True for result in results)


async def rewrap_all(database: Database) -> int:
    """Wraps with the present master key what others wrapped: keys of tenants and of tokens, secrets of codes. How many."""
    # a master key that is missing is told before anything is written
    await database.keys.check()
    async with database.system() as session:
        ours = await rewrap_signing_keys(session, database.keys.wrapper)
    async with database.system() as session:
        ours += await rewrap_totp_secrets(session, database.keys.wrapper)
    return ours + await database.keys.rewrap()


async def tenant_named(database: Database, named: str) -> UUID:
    try:
        wanted = col(Tenant.id) == UUID(named)
    except ValueError:
        wanted = col(Tenant.slug) == named
    async with database.system() as session:
        found = (await session.execute(select(col(Tenant.id)).where(wanted))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no tenant {named!r}.")
    return UUID(str(found))


async def all_tenants(database: Database) -> list[UUID]:
    async with database.system() as session:
        return list((await session.execute(select(col(Tenant.id)).order_by(col(Tenant.id)))).scalars())
