"""Who owns the tables, and who works with them: on a server where nobody but its administrator is a superuser."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from pydantic import SecretStr
from sqlalchemy import func, select, text

from models.bootstrap import bootstrap
from models.database import Database
from models.keys import hash_key, new_key
from models.migrate import upgrade
from models.repositories.keys import find_owner
from models.startup import check_settings
from models.tables import Execution
from models.tables.base import new_id
from omium_core.errors import ConfigurationError
from omium_core.keyring import MasterKeys, new_master_key
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings
from tests.data.test_migrations import alembic
from tests.support.database import PostgresServer, running_postgres

PEPPER = "pepper"
#: A value of each type.
_ANY = {
    "varchar": "x",
    "text": "x",
    "int4": "1",
    "int8": "1",
    "bool": "true",
    "jsonb": "{}",
    "json": "{}",
    "_varchar": "{}",
    "timestamptz": "2026-01-01T00:00:00Z",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


class Place:
    """A server without anything of ours, and its administrator."""

    def __init__(self, server: PostgresServer) -> None:
        self._admin = server.url.replace("+asyncpg", "").rpartition("/")[0]
        self._address = self._admin.rpartition("@")[2]

    def execute(self, *statements: str, database: str = "postgres") -> None:
        async def work() -> None:
            connection = await asyncpg.connect(f"{self._admin}/{database}")
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(work())

    def owned_by(self, owner: str, rights: str = "CREATEROLE") -> str:
        """A new database, as its owner enters it."""
        name = f"of_{owner}"
        self.execute(
            f"CREATE ROLE {owner} LOGIN {rights} PASSWORD '{owner}'",
            f"CREATE DATABASE {name} OWNER {owner}",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        )
        return self.url(owner, name)

    def add(self, table: str, database: str, **values: str) -> str:
        """Id of a row in a schema of whatever release: what must have a value and is not given gets one of its type."""
        values["id"] = str(new_id())

        async def work() -> None:
            connection = await asyncpg.connect(f"{self._admin}/{database}")
            columns = await connection.fetch(
                "SELECT column_name, udt_name FROM information_schema.columns WHERE table_schema = 'public' "
                "AND table_name = $1 AND (column_name = ANY($2) OR is_nullable = 'NO' AND column_default IS NULL)",
                *(table, list(values)),
            )
            given = [values.get(name, _ANY[kind]) for name, kind in columns]
            names = ", ".join(name for name, _ in columns)
            quoted = ", ".join(f"'{value}'" for value in given)
            await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({quoted})")
            await connection.close()

        asyncio.run(work())
        return values["id"]

    def url(self, login: str, database: str) -> str:
        return f"postgresql+asyncpg://{login}:{login}@{self._address}/{database}"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with running_postgres(tmp_path / "data", prepared=False) as server:
        yield Place(server)


def test_an_owner_who_is_no_superuser_brings_everything_about(place: Place) -> None:
    """Also what migrations do to rows that are there, of tenants that the owner alone must not see."""
    owner_url, service_url, key = place.owned_by("owner"), place.url("service", "of_owner"), new_key("test")
    alembic(owner_url, lambda config: command.upgrade(config, "0003"))
    tenant = place.add("tenants", "of_owner", slug="old", subscription_tier="starter", subscription_status="active")
    of_tenant = {"tenant_id": tenant, "framework": "langgraph"}
    workflow = place.add("workflows", "of_owner", **of_tenant)
    version = place.add("workflow_versions", "of_owner", workflow_id=workflow, **of_tenant)
    run = place.add(
        "executions",
        "of_owner",
        workflow_id=workflow,
        version_id=version,
        status="completed",
        trigger_type="manual",
        inputs='{"a": 1}',
        **of_tenant,
    )
    for _ in range(2):
        asyncio.run(upgrade(owner_url, service_url))
        asyncio.run(bootstrap(owner_url, PEPPER, key))

    async def look() -> None:
        database = Database(service_url, MasterKeys(DEVELOPMENT_MASTER_KEY), pool_size=2, strict=True)
        async with database.system() as session:
            assert await find_owner(session, hash_key(PEPPER, key)) is not None
        async with database.transaction(UUID(tenant)) as session:
            row = await session.get_one(Execution, UUID(run))
            assert (row.inputs, row.queued_at, row.admitted_at) == ({"a": 1}, row.created_at, row.created_at)
            assert (await session.execute(select(func.count()).select_from(Execution))).scalar_one() == 1
        await database.close()

    asyncio.run(look())
    alembic(owner_url, command.check)


def test_roles_that_an_administrator_made_are_used_as_they_are(place: Place) -> None:
    owner_url, service_url, key = (
        place.owned_by("owner", "NOCREATEROLE"),
        place.url("service", "of_owner"),
        new_key("test"),
    )
    with pytest.raises(ConfigurationError, match="permission denied to create role"):
        asyncio.run(upgrade(owner_url, service_url))
    place.execute(
        "CREATE ROLE omium_app NOLOGIN",
        "CREATE ROLE omium_system NOLOGIN",
        "CREATE ROLE service LOGIN NOINHERIT PASSWORD 'service'",
        "GRANT omium_app, omium_system TO owner, service",
    )
    asyncio.run(upgrade(owner_url, service_url))
    asyncio.run(bootstrap(owner_url, PEPPER, key))

    async def look() -> None:
        database = Database(service_url, MasterKeys(DEVELOPMENT_MASTER_KEY), pool_size=2, strict=True)
        async with database.system() as session:
            assert await find_owner(session, hash_key(PEPPER, key)) is not None
        await database.close()

    asyncio.run(look())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server with the newest schema, whose owner is `owner` and whose service is `service`."""
    with running_postgres(tmp_path_factory.mktemp("installed") / "data", prepared=False) as server:
        place = Place(server)
        asyncio.run(upgrade(place.owned_by("owner"), place.url("service", "of_owner")))
        yield place


def settings_of(place: Place, login: str, folder: Path) -> Settings:
    return Settings(
        environment="production",
        database_url=SecretStr(place.url(login, "of_owner")),
        api_key_pepper=SecretStr(PEPPER),
        master_key=SecretStr(new_master_key()),
        store_path=folder / "objects",
    )


@pytest.mark.parametrize(
    ("login", "reason"),
    [("superuser", "is a superuser"), ("bypassrls", "may bypass row security"), ("owner", "owns tables")],
)
async def test_login_that_sees_everything_is_refused_in_production(
    installed: Place, tmp_path: Path, login: str, reason: str
) -> None:
    url = installed.url(login, "of_owner")
    if login != "owner":
        await asyncio.to_thread(
            installed.execute,
            f"CREATE ROLE {login} LOGIN {login} PASSWORD '{login}'",
            f"GRANT omium_app, omium_system TO {login}",
            f"GRANT CONNECT ON DATABASE of_owner TO {login}",
        )
        with pytest.raises(ConfigurationError, match=reason):
            await upgrade(installed.url("owner", "of_owner"), url)
    with pytest.raises(ConfigurationError, match=reason):
        await check_settings(settings_of(installed, login, tmp_path))
    await check_settings(settings_of(installed, "service", tmp_path))


@pytest.mark.parametrize("module", ["api", pytest.param("workers.main", marks=pytest.mark.thorough)])
def test_process_says_so_and_ends(installed: Place, tmp_path: Path, module: str) -> None:
    settings = settings_of(installed, "owner", tmp_path)
    env = {
        "OMIUM_ENVIRONMENT": "production",
        "OMIUM_DATABASE_URL": settings.database_url.get_secret_value(),
        "OMIUM_API_KEY_PEPPER": PEPPER,
        "OMIUM_MASTER_KEY": settings.master_key.get_secret_value(),
        "OMIUM_STORE_PATH": str(tmp_path / "objects"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "OMIUM_DATABASE_URL names a login that owns tables" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


async def test_login_that_becomes_mighty_is_refused_by_the_next_connection(installed: Place) -> None:
    """As when the database is away while a process starts."""
    url = installed.url("promoted", "of_owner")
    await upgrade(installed.url("owner", "of_owner"), url)
    database = Database(url, MasterKeys(DEVELOPMENT_MASTER_KEY), pool_size=2, strict=True)
    try:
        async with database.system() as session:
            await session.execute(text("SELECT 1"))
            await asyncio.to_thread(installed.execute, "ALTER ROLE promoted BYPASSRLS")
            with pytest.raises(ConfigurationError, match="may bypass row security"):
                async with database.system():
                    pass
    finally:
        await database.close()


async def test_password_follows_the_address(installed: Place) -> None:
    owner_url, url = installed.url("owner", "of_owner"), installed.url("changed", "of_owner")
    for address in (url, url.replace(":changed@", ":another@")):
        await upgrade(owner_url, address)
        connection = await asyncpg.connect(address.replace("+asyncpg", ""))
        await connection.close()
