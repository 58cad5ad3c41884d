"""`omium keys` on a real database: keys are rotated and everything is sealed anew, and a wrong master key is a sentence."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner, Result

from models.database import Database
from models.repositories.executions import ExecutionRepository
from omium_core.keyring import new_master_key
from omium_core.settings import DEVELOPMENT_MASTER_KEY
from tests.encryption.support import age_keys, as_owner
from tests.support.database import PostgresServer
from tests.support.loopback import free_port
from tests.support.stack import plain_environment
from tests.support.tenants import add_execution
from workers.cli import add_commands

#: The rows that tests write have a connection whose token is none.
TOKEN_OF_NO_KEY = "external_workflow_connections.bearer_token_encrypted"


@pytest.fixture
def omium(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("OMIUM_DATABASE_URL", postgres.url)
    monkeypatch.setenv("OMIUM_STORE_PATH", str(tmp_path))
    app = typer.Typer()
    add_commands(app)
    return app


def call(omium: typer.Typer, *words: str, **env: str) -> Result:
    return CliRunner().invoke(omium, ["keys", *words], env=env)


async def in_thread(omium: typer.Typer, *words: str, **env: str) -> Result:
    return await asyncio.to_thread(call, omium, *words, **env)


async def test_a_tenants_key_is_rotated_and_its_rows_are_sealed_anew(
    omium: typer.Typer, postgres: PostgresServer, database: Database, tenant: UUID
) -> None:
    row = await add_execution(database, tenant)
    before = await database.keys.cipher(tenant)
    answer = await in_thread(omium, "rotate-tenant", str(tenant), "--json")
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    rotated = json.loads(answer.stdout)
    assert rotated["tenant_id"] == str(tenant)
    await age_keys(postgres, tenant)

    answer = await in_thread(omium, "reseal", str(tenant), "--json")
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    [done] = json.loads(answer.stdout)["tenants"]
    assert (done["tenant_id"], done["left"], done["erased"]) == (str(tenant), 0, False)
    assert {place.partition(" ")[0] for place in done["unreadable"]} <= {TOKEN_OF_NO_KEY}
    assert done["rows"] > 10
    [found] = await as_owner(postgres, "SELECT metadata FROM executions WHERE id = $1", row.execution)
    assert found["metadata"][1:17] == UUID(rotated["key_id"]).bytes != before.key_id.bytes
    database.keys.forget(tenant)
    async with database.transaction(tenant) as session:
        assert (await ExecutionRepository(session, tenant).get(row.execution)).meta == {}
    assert "0 rows and 0 objects of 1 tenants" in (await in_thread(omium, "reseal", str(tenant))).stdout


async def test_the_master_key_is_rotated(omium: typer.Typer, database: Database, tenant: UUID) -> None:
    await database.keys.cipher(tenant)
    new = new_master_key()
    answer = await in_thread(omium, "rotate-master", OMIUM_MASTER_KEY=new)
    assert answer.exit_code == 1
    assert "OMIUM_MASTER_KEY" in answer.output
    both = await in_thread(omium, "rotate-master", "--json", OMIUM_MASTER_KEY=f"{new},{DEVELOPMENT_MASTER_KEY}")
    assert json.loads(both.stdout)["rewrapped"] >= 1
    back = await in_thread(omium, "rotate-master", OMIUM_MASTER_KEY=f"{DEVELOPMENT_MASTER_KEY},{new}")
    assert "wrapped by the present master key" in back.stdout


async def test_a_tenant_that_is_not_there_is_named(omium: typer.Typer) -> None:
    answer = await in_thread(omium, "rotate-tenant", "nobody")
    assert answer.exit_code == 1
    assert "no tenant 'nobody'" in answer.output


@pytest.mark.parametrize("module", ["api", pytest.param("workers.main", marks=pytest.mark.thorough)])
async def test_a_process_with_a_wrong_master_key_does_not_start_and_says_why(
    module: str, postgres: PostgresServer, database: Database, tenant: UUID, tmp_path: Path
) -> None:
    await database.keys.cipher(tenant)
    env = {
        "OMIUM_DATABASE_URL": postgres.url,
        "OMIUM_STORE_PATH": str(tmp_path),
        "OMIUM_MASTER_KEY": new_master_key(),
        "OMIUM_API_PORT": str(free_port()),
        "OMIUM_FRAMEWORKS": "langgraph",
    }
    command = [sys.executable, "-P", "-m", module]
    ended = await asyncio.to_thread(
        subprocess.run, command, env=plain_environment(env), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "OMIUM_MASTER_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
