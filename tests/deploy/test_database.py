"""The database of the compose file, made by a real PostgreSQL 18 with the same arguments and the same script."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import pool, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from models.database import Database
from models.revision import newest_revision
from omium_core.keyring import MasterKeys, new_master_key
from tests.deploy.compose_check import load
from tests.support.loopback import free_port, tool, wait_until
from workers.local.datadir import DataDir
from workers.local.postgres import Cluster, place

ROOT = Path(__file__).parents[2]
ADMIN, PASSWORD, SERVICE = "password-of-the-superuser", "password-of-omium", "password-of-the-service"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # not below pytest's own folder, which the user that PostgreSQL runs as may not enter
    folder = Path(tempfile.mkdtemp(prefix="omium-test-"))
    folder.chmod(0o755)
    directory = DataDir(folder)
    directory.create()
    folder.chmod(0o755)
    found = place(directory, directory.load_secrets())
    yield found
    shutil.rmtree(folder)


def as_server(cluster: Cluster, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    account = cluster.account
    return subprocess.Popen(
        [str(cluster.binaries / program), *arguments],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def begin_and_end(database: Database) -> None:
    async with database.system() as session:
        await session.execute(text("SELECT 1"))
    await database.close()


async def answer(url: str, query: str, *, role: str = "NONE") -> list[tuple[object, ...]]:
    engine = create_async_engine(url, poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SET ROLE {role}"))
            return [tuple(row) for row in await connection.execute(text(query))]
    finally:
        await engine.dispose()


def test_the_scripts_make_a_database_for_logins_without_special_rights_and_the_job_fills_it(cluster: Cluster) -> None:
    service = load(ROOT / "docker-compose.yml")["services"]["postgresql"]
    secret = cluster.home / "password"
    secret.write_text(ADMIN)
    secret.chmod(0o644)
    (data := cluster.home / "data").mkdir(mode=0o700)
    if cluster.account:
        os.chown(data, cluster.account.uid, cluster.account.gid)
    arguments = service["environment"]["POSTGRES_INITDB_ARGS"].split()
    admin = service["environment"]["POSTGRES_USER"]
    password = f"--pwfile={secret}"
    assert (
        as_server(cluster, "initdb", "-D", str(data), "-U", admin, "-A", "scram-sha-256", password, *arguments).wait()
        == 0
    )

    port = free_port()
    postgres = as_server(cluster, "postgres", "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "")
    try:
        login = {**os.environ, "PGPASSWORD": ADMIN, "OMIUM_USER_PASSWORD": PASSWORD, "OMIUM_SERVICE_PASSWORD": SERVICE}
        psql = [
            str(cluster.binaries / "psql"),
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            admin,
        ]
        ready = [str(cluster.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, seconds=60, what="PostgreSQL")
        # in the order of their names, as the image does; the second one a second time, as for an older volume
        for script in ("database.sql", "roles.sql", "roles.sql"):
            subprocess.run([*psql, "-q", "-f", str(ROOT / "deploy/docker" / script)], env=login, check=True)

        url = f"postgresql+asyncpg://omium:{PASSWORD}@127.0.0.1:{port}/omium"
        service_url = f"postgresql+asyncpg://omium_service:{SERVICE}@127.0.0.1:{port}/omium"
        job = {
            "OMIUM_ENVIRONMENT": "production",
            "OMIUM_DATABASE_URL": service_url,
            "OMIUM_OWNER_DATABASE_URL": url,
            "OMIUM_MASTER_KEY": new_master_key(),
            "OMIUM_API_KEY_PEPPER": "pepper-of-the-test",
            "OMIUM_BOOTSTRAP_API_KEY": "omium_production_" + "0" * 32,
            "PATH": os.pathsep.join([str(Path(tool("omium")).parent), os.environ["PATH"]]),
        }
        subprocess.run(load(ROOT / "docker-compose.yml")["services"]["migrate"]["command"], env=job, check=True)
        keys = "SELECT name, is_active FROM api_keys"
        # row security is forced: the owner sees no rows but as a role that may
        assert asyncio.run(answer(url, keys)) == []
        for address in (url, service_url):
            assert asyncio.run(answer(address, keys, role="omium_system")) == [("bootstrap", True)]
            assert asyncio.run(answer(address, keys, role="omium_app")) == []
        assert asyncio.run(answer(url, "SELECT version_num FROM alembic_version")) == [(newest_revision(),)]
        rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname ~ '^omium'"
        assert asyncio.run(answer(url, rights)) == [(False, False, False, False)] * 4
        with pytest.raises(ProgrammingError, match="permission denied"):
            asyncio.run(answer(service_url, keys))
        database = Database(service_url, MasterKeys(job["OMIUM_MASTER_KEY"]), strict=True)
        asyncio.run(begin_and_end(database))
    finally:
        postgres.terminate()
        postgres.wait(60)
