"""What is older than a tenant keeps it goes, and nothing that somebody may come back to."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlmodel import col, select, update

from activities.maintenance import contents
from activities.maintenance.retention import RetentionActivities
from activities.maintenance.sealing import Sealer
from activities.maintenance.sweeping import APART, Sweeper
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from models.database import Database
from models.repositories.data_rights import TenantSettings
from models.tables import (
    Checkpoint,
    Execution,
    ExecutionEvent,
    JournalEntry,
    Notification,
    Rollback,
    Schedule,
    ScheduleCommand,
    ScheduleRun,
)
from models.tables import Table as Base
from models.tables.base import now
from omium_core.retention import Retention, retention_of
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.data_rights.conftest import AgeObjects
from tests.support.tenants import Owned, add, add_execution, add_tenant

TRACES = (JournalEntry, ExecutionEvent, Notification)


@pytest.fixture
def keep(database: Database, settings: Settings, objects: FileStore) -> RetentionActivities:
    return RetentionActivities(database, Sealer(database, settings, objects), Sweeper(database, objects))


async def there(database: Database, row: Owned, *tables: type[Base]) -> list[bool]:
    """Whether a run has rows in these tables."""
    async with database.transaction(row.tenant_id) as session:
        found = []
        for table in tables:
            query = select(table).where(table.execution_id == row.execution).limit(1)  # type: ignore[attr-defined]
            found.append((await session.execute(query)).first() is not None)
        return found


async def ended(database: Database, row: Owned, at: datetime, status: str = "completed") -> None:
    async with database.transaction(row.tenant_id) as session:
        await session.execute(
            update(Execution).where(col(Execution.id) == row.execution).values(status=status, completed_at=at)
        )
        await session.execute(update(Rollback).values(started_at=at))
        await session.execute(update(Notification).values(status="sent"))


async def test_what_is_over_goes_by_kind(database: Database, tenant: UUID, keep: RetentionActivities) -> None:
    row = await add_execution(database, tenant)
    schedule = Schedule(tenant_id=tenant, workflow_id=row.workflow, name="nightly", cron=["0 3 * * *"])
    await add(database, schedule, None)
    fired = ScheduleRun(tenant_id=tenant, schedule_id=schedule.id, scheduled_at=now(), status="started")
    await add(database, fired, None)
    await add(database, ScheduleCommand(tenant_id=tenant, key="k", request_hash="0" * 64), None)
    await ended(database, row, now())
    soon, later, much_later = (now() + timedelta(days=days) for days in (29, 31, 91))
    await keep.tidy_now(tenant, soon)
    assert await there(database, row, Checkpoint, *TRACES) == [True] * 4
    await keep.tidy_now(tenant, later)
    assert await there(database, row, Checkpoint) == [True], "a rollback on record leads there"
    removed = await keep.tidy_now(tenant, much_later)
    assert await there(database, row, Checkpoint, *TRACES) == [False] * 4
    assert removed["checkpoints"] >= 1
    assert {"schedule_runs", "schedule_commands", "external_kickoffs"} <= removed.keys()
    assert await keep.tidy_now(tenant, much_later) == {}, "again is nothing"
    async with database.transaction(tenant) as session:
        assert await session.get(Execution, row.execution) is not None


@pytest.mark.parametrize("status", ["pending", "running", "paused", "rolled_back"])
async def test_a_run_that_may_go_on_keeps_everything(
    database: Database, tenant: UUID, keep: RetentionActivities, status: str
) -> None:
    row = await add_execution(database, tenant)
    await ended(database, row, now() - timedelta(days=400), status)
    async with database.transaction(tenant) as session:
        await session.execute(update(Notification).values(status="pending"))
    await keep.tidy_now(tenant, now() + timedelta(days=400))
    assert await there(database, row, Checkpoint, *TRACES) == [True] * 4


async def test_a_tenant_says_for_how_long(database: Database, tenant: UUID, keep: RetentionActivities) -> None:
    other = await add_execution(database, await add_tenant(database))
    row = await add_execution(database, tenant)
    for one in (row, other):
        await ended(database, one, now())
    async with database.transaction(tenant) as session:
        await TenantSettings(session, tenant).change({"retention": {"checkpoint_days": 1, "trace_days": 2}})
    await keep.tidy_now(tenant, now() + timedelta(days=3))
    await keep.tidy_now(other.tenant_id, now() + timedelta(days=3))
    assert await there(database, row, Checkpoint, *TRACES) == [False] * 4
    assert await there(database, other, Checkpoint, *TRACES) == [True] * 4


async def test_objects_go_when_nothing_leads_to_them_for_long(
    database: Database, tenant: UUID, objects: FileStore, values: ValueStore, age_objects: AgeObjects
) -> None:
    sweeper = Sweeper(database, objects)
    row = await add_execution(database, tenant)
    kept = await values.put(str(tenant), {"kept": list(range(40_000))})
    gone = await values.put(str(tenant), {"gone": "y" * 40_000, "kept": list(range(40_000))})
    async with database.transaction(tenant) as session:
        await session.execute(
            update(Checkpoint)
            .where(col(Checkpoint.id) == row.checkpoint)
            .values(checksum=kept.key, state_size_bytes=kept.size)
        )
    at = now()
    assert await sweeper.sweep(tenant, at) == 0, "seen for the first time"
    assert await sweeper.sweep(tenant, at + APART / 2) == 0
    assert await sweeper.sweep(tenant, at + APART) == 0, "just written: it may be about to be referred to"
    assert await sweeper.sweep(tenant, at + APART) == 0, "seen for the first time, again"
    age_objects()
    assert await sweeper.sweep(tenant, at + 2 * APART) > 0
    fresh = ValueStore(values.objects, inline_bytes=64)
    assert (await fresh.get(str(tenant), kept.key))["kept"][-1] == 39_999, "with all its chunks"
    assert not await values.objects.exists(f"{tenant}/{gone.key[:2]}/{gone.key}")


async def test_an_object_that_is_referred_to_again_stays(
    database: Database, tenant: UUID, objects: FileStore, values: ValueStore, age_objects: AgeObjects
) -> None:
    sweeper = Sweeper(database, objects)
    row = await add_execution(database, tenant)
    blob = await values.put(str(tenant), {"again": True})
    at = now()
    await sweeper.sweep(tenant, at)
    age_objects()
    async with database.transaction(tenant) as session:
        await session.execute(update(Execution).where(col(Execution.id) == row.execution).values(inputs_blob=blob.key))
    assert await sweeper.sweep(tenant, at + APART) == 0
    assert await values.objects.exists(f"{tenant}/{blob.key[:2]}/{blob.key}")


async def test_retention_over_the_api(as_caller: Caller, key_of: KeyMaker, tenant: UUID) -> None:
    async with as_caller(await key_of(tenant, "read", "admin")) as http:
        address = "/api/v1/tenant/retention"
        assert (await http.get(address)).json() == {"checkpoint_days": 30, "trace_days": 90, "audit_days": 90}
        changed = await http.patch(address, json={"checkpoint_days": 7})
        assert changed.json() == {"checkpoint_days": 7, "trace_days": 90, "audit_days": 90}
        for wrong in ({"checkpoint_days": 0}, {"audit_days": 29}, {"trace_days": 9999}, {"days": 1}):
            assert (await http.patch(address, json=wrong)).status_code == 422
        [entry] = (await http.get("/api/v1/audit-logs", params={"status": "success"})).json()["audit_logs"]
        assert (entry["old_values"], entry["new_values"]) == ({"checkpoint_days": 30}, {"checkpoint_days": 7})


@pytest.mark.parametrize(
    "said", [None, [], {"checkpoint_days": "9"}, {"checkpoint_days": True}, {"checkpoint_days": -1}]
)
def test_settings_that_make_no_sense_are_as_good_as_none(said: object) -> None:
    assert retention_of({"retention": said}) == Retention()


def test_no_secret_is_in_an_export() -> None:
    """A column with such a name is left out, or is known to be none."""
    suspicious = re.compile(r"hash|secret|password|token|salt|key$|mfa|recovery_codes|encrypted")
    # how many, not which
    counted = re.compile(r"(max_)?((input|output|cached|total)_)?tokens(_used)?")
    harmless = {
        "call_journal.request_hash",
        "idempotency_keys.request_hash",
        "idempotency_keys.key",
        "schedule_commands.request_hash",
        "schedule_commands.key",
        "external_kickoffs.request_hash",
        "external_kickoffs.idempotency_key",
        "effects.idempotency_key",
        "consensus_logs.payload_hash",
        "consensus_acks.payload_hash",
        "external_workflow_connections.token_hint",
        "data_requests.requested_by_key",
        "executions.idempotency_key",
        "ledger_entries.idempotency_key",
        "ledger_entries.request_hash",
        "credit_holds.request_hash",
        "budgets.idempotency_key",
        "budgets.request_hash",
        "billing_notices.dedup_key",
        "payments.request_hash",
        "payments.request_key",
    }
    shown = {
        f"{table.name}.{column.name}"
        for table in contents.tables()
        for column in contents.columns(table)
        if suspicious.search(column.name) and not counted.fullmatch(column.name)
    }
    assert shown <= harmless
