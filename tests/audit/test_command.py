"""`omium audit verify`, as an operator types it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from omium.cli import build_app
from omium.cli.plugins import load_plugins
from typer.testing import CliRunner, Result

from activities.maintenance.sealing import Sealer
from activities.stores.file import FileStore
from models.repositories.audit import AuditEntry, write_entry
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.audit.conftest import Place
from tests.support.database import database_at
from tests.support.tenants import add_tenant

Command = Callable[..., Result]


@pytest.fixture
def run(apart: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("OMIUM_DATABASE_URL", apart.url)
    monkeypatch.setenv("OMIUM_STORE_PATH", str(tmp_path))
    app = build_app()
    load_plugins(app)

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", *arguments])

    return command


async def seal_some(url: str, folder: Path) -> UUID:
    database = database_at(url)
    try:
        tenant = await add_tenant(database)
        entry = AuditEntry(tenant, "policy.update", "policy", new_id())
        async with database.transaction(tenant) as session:
            await write_entry(session, entry)
        sealer = Sealer(database, Settings(database_url=url, store_path=folder), FileStore(folder))
        await sealer.seal()
        await sealer.anchor()
        return entry.id
    finally:
        await database.close()


async def change(url: str, audit_id: UUID) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("UPDATE audit_logs SET status = 'denied' WHERE id = $1", audit_id)
    await connection.close()


def test_verify(run: Command, apart: Place, tmp_path: Path) -> None:
    audit_id = asyncio.run(seal_some(apart.url, tmp_path))
    whole = run("--json")
    assert whole.exit_code == 0, whole.output
    verdict = json.loads(whole.stdout)
    assert (verdict["valid"], verdict["checked"], verdict["broken"]) == (True, 1, None)
    assert run("--expect", verdict["head"]).exit_code == 0
    assert f"head {verdict['head']}\n" in run().stdout
    assert run("--expect", f"1:{'0' * 64}").exit_code == 1
    assert run("--expect", "nonsense").exit_code == 2
    asyncio.run(change(apart.url, audit_id))
    broken = run()
    assert broken.exit_code == 1
    assert str(audit_id) in broken.stdout
    assert "changed" in broken.stdout


def test_without_a_database(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMIUM_DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:1/none")
    answer = run("--json")
    assert answer.exit_code == 2
    assert "does not answer" in answer.stderr
