"""The log, requests and people of another tenant are not found, whichever of the two locks is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.repositories.audit import AuditEntry, AuditFilter, AuditRepository, write_entry
from models.repositories.base import Listing, Page
from models.repositories.data_rights import DataRequestRepository, PersonRepository, TenantSettings
from models.tables import DataRequest, User
from models.tables.base import new_id
from omium_core.errors import NotFound
from tests.support.tenants import add, add_tenant


@dataclass(frozen=True)
class Theirs:
    tenant: UUID
    entry: UUID
    request: UUID
    person: UUID


Read = Callable[[AsyncSession, UUID, Theirs], Awaitable[object]]
READS: dict[str, Read] = {
    "entry": lambda db, tenant, row: AuditRepository(db, tenant).get(row.entry),
    "entries": lambda db, tenant, row: AuditRepository(db, tenant).list(Page()),
    "export of entries": lambda db, tenant, row: AuditRepository(db, tenant).after(AuditFilter(), None),
    "request": lambda db, tenant, row: DataRequestRepository(db, tenant).get(row.request, "export"),
    "newest request": lambda db, tenant, row: DataRequestRepository(db, tenant).newest("export"),
    "open request": lambda db, tenant, row: DataRequestRepository(db, tenant).open("export", None),
    "requests": lambda db, tenant, row: DataRequestRepository(db, tenant).list(Page(), "export"),
    "person": lambda db, tenant, row: PersonRepository(db, tenant).get(row.person),
    "forgetting a person": lambda db, tenant, row: PersonRepository(db, tenant).forget(row.person),
}


@pytest.fixture
async def theirs(database: Database, tenant: UUID) -> Theirs:
    entry = AuditEntry(tenant, "policy.update", "policy", new_id())
    async with database.transaction(tenant) as session:
        await write_entry(session, entry)
    person = User(tenant_id=tenant, email=f"{new_id().hex}@example.com")
    request = DataRequest(tenant_id=tenant, kind="export")
    await add(database, person, None)
    return Theirs(tenant, entry.id, await add(database, request, request.id), person.id)


async def found(database: Database, owner: UUID, caller: UUID, read: Read, row: Theirs) -> bool:
    """Whether a repository of `caller` finds something in a transaction of `owner`."""
    try:
        async with database.transaction(owner) as session:
            answer = await read(session, caller, row)
    except NotFound:
        return False
    return bool(answer.total) if isinstance(answer, Listing) else bool(answer)


@pytest.mark.parametrize("name", READS)
async def test_both_locks(database: Database, theirs: Theirs, name: str) -> None:
    other = await add_tenant(database)
    if name != "forgetting a person":
        assert await found(database, theirs.tenant, theirs.tenant, READS[name], theirs)
    assert not await found(database, theirs.tenant, other, READS[name], theirs), "the repository alone"
    assert not await found(database, other, theirs.tenant, READS[name], theirs), "row security alone"


async def test_settings_of_another_tenant(database: Database, theirs: Theirs) -> None:
    other = await add_tenant(database)
    for owner, caller in ((other, theirs.tenant), (theirs.tenant, other)):
        with pytest.raises(NoResultFound):
            async with database.transaction(owner) as session:
                await TenantSettings(session, caller).change({"retention": {}})


async def test_a_request_cannot_be_added_for_another_tenant(database: Database, theirs: Theirs) -> None:
    other = await add_tenant(database)
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction(other) as session:
            await DataRequestRepository(session, other).add(DataRequest(tenant_id=theirs.tenant, kind="export"))
