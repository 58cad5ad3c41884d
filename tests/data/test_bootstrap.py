"""The first tenant and its key."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlmodel import col

from models.bootstrap import bootstrap
from models.database import Database
from models.keys import hash_key, new_key
from models.migrate import upgrade
from models.repositories.keys import find_owner
from models.tables import ApiKey, Tenant, User
from models.tables.base import now
from tests.support.database import database_at

PEPPER = "pepper"


async def works(database: Database, key: str) -> bool:
    async with database.system() as session:
        return await find_owner(session, hash_key(PEPPER, key)) is not None


async def test_twice_is_as_good_as_once(empty_url: str) -> None:
    key = new_key("test")
    await upgrade(empty_url)
    for _ in range(2):
        await bootstrap(empty_url, PEPPER, key)
    database = database_at(empty_url)
    async with database.system() as session:
        for table in (Tenant, User, ApiKey):
            assert (await session.execute(select(func.count()).select_from(table))).scalar_one() == 1
    assert await works(database, key)
    await database.close()


async def test_newest_key_is_the_valid_one_also_if_it_is_an_old_one_again(empty_url: str) -> None:
    first, second = new_key("test"), new_key("test")
    await upgrade(empty_url)
    database = database_at(empty_url)
    await bootstrap(empty_url, PEPPER, first)
    await bootstrap(empty_url, PEPPER, second)
    assert (await works(database, first), await works(database, second)) == (False, True)
    await bootstrap(empty_url, PEPPER, first)
    assert (await works(database, first), await works(database, second)) == (True, False)
    await database.close()


async def test_revoked_key_stays_revoked(empty_url: str) -> None:
    key = new_key("test")
    await upgrade(empty_url)
    await bootstrap(empty_url, PEPPER, key)
    database = database_at(empty_url)
    async with database.system() as session:
        row = (await session.execute(select(ApiKey).where(col(ApiKey.name) == "bootstrap"))).scalar_one()
        row.revoked_at = now()
        session.add(row)
    await bootstrap(empty_url, PEPPER, key)
    assert not await works(database, key)
    await database.close()
