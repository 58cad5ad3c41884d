"""The ledger in an export, in an erasure, and under retention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.maintenance import exports
from activities.maintenance.erasing import ErasureActivities
from activities.maintenance.exports import ExportActivities, folder
from activities.stores.encrypted import EncryptedStore
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.prices import add_price
from models.tables import DataRequest, Price
from models.wire_maintenance import ErasureInput, ExportInput, PartInput
from omium_core.settings import Settings
from tests.billing.conftest import Payer

COUNT = "SELECT count(*) FROM ledger_entries WHERE tenant_id = :tenant"


async def request(payer: Payer, kind: str) -> str:
    row = DataRequest(tenant_id=payer.tenant, kind=kind, status="running", rows_total=100)
    await payer.add(row)
    return str(row.id)


async def test_export_holds_every_entry_once(payer: Payer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 3)
    for amount in range(1, 11):
        await payer.grant(amount)
    objects = EncryptedStore(FileStore(tmp_path), payer.database.keys)
    activities = ExportActivities(payer.database, objects, ValueStore(objects, inline_bytes=1000))
    export = ExportInput(str(payer.tenant), await request(payer, "export"))
    part = PartInput(export, "ledger_entries", 0)
    done = await ActivityEnvironment().run(activities.part, part)
    assert (done.done, done.rows, done.after) == (True, 10, "10")
    stored = await objects.get(f"{folder(export.tenant_id, export.request_id)}/tables/ledger_entries/000000")
    lines: list[dict[str, Any]] = [json.loads(line) for line in stored.splitlines()]
    assert [(line["number"], line["available"]) for line in lines] == [(n, n * 1_000_000) for n in range(1, 11)]


async def test_entries_go_with_their_tenant_and_not_before(payer: Payer, database: Database, tmp_path: Path) -> None:
    await payer.grant(5)
    await payer.call(await payer.run(), 0, 100)
    async with database.system() as db:
        await add_price(db, Price(kind="step", tenant_id=payer.tenant))  # type: ignore[call-arg]

    async def entries() -> int:
        count: int = (await payer.execute(text(COUNT), tenant=payer.tenant)).scalar_one()
        return count

    erasing = ErasureActivities(None, database, FileStore(tmp_path), Settings())  # type: ignore[arg-type]
    before = await entries()
    async with database.system() as db:
        for table in ("ledger_entries", "prices"):
            await db.execute(text(f"DELETE FROM {table} WHERE tenant_id = :tenant"), {"tenant": payer.tenant})
    assert (await entries(), await left(payer, "prices", payer.tenant)) == (before, 1) == (3, 1)
    async with database.system() as db:
        await db.execute(text("UPDATE tenants SET deleted_at = now() WHERE id = :tenant"), {"tenant": payer.tenant})
    erasure = ErasureInput(str(payer.tenant), await request(payer, "erasure"))
    await ActivityEnvironment().run(erasing.delete_rows, erasure)
    assert await entries() == 0
    for table in ("credit_accounts", "credit_grants", "credit_holds", "prices", "executions"):
        assert not await left(payer, table, payer.tenant), table


async def left(payer: Payer, table: str, tenant: UUID) -> int:
    query = text(f"SELECT count(*) FROM {table} WHERE tenant_id = :tenant")
    count: int = (await payer.execute(query, tenant=tenant)).scalar_one()
    return count
