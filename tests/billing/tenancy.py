"""A tenant with three runs, its oracle, and its rows in the database, for comparing the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from models.database import Database
from models.ledger_rebuild import rebuild
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey
from models.tables import ApiKey, Execution, Workflow, WorkflowVersion
from models.tables.base import new_id
from tests.billing.oracle import Account, Key, Run
from tests.support.tenants import add_tenant

#: All that lies in the database of a tenant, and its entries after a number.
STANDS = """
SELECT json_build_object(
    'account', (SELECT json_build_array(available, held, spent, outside, number) FROM credit_accounts),
    'shown', (SELECT credits_balance FROM tenants),
    'lots', (SELECT json_agg(remaining ORDER BY id) FROM credit_grants),
    'holds', (SELECT json_agg(json_build_array(execution_id, lineage, step_index, request_hash, occurrence, attempt,
                                               amount, budgeted)) FROM credit_holds),
    'budgets', (SELECT json_object_agg(id, json_build_array(
        spent, held, extract(year FROM period_start) * 12 + extract(month FROM period_start))) FROM budgets),
    'entries', (SELECT json_agg(json_build_array(number, kind, available, held, spent, outside, unpaid, balance_after)
                                ORDER BY number) FROM ledger_entries WHERE number > $1)
)::text
"""


@dataclass
class Tenancy:
    """A tenant: where its model stands, its runs, and how many of its entries were looked at."""

    tenant: UUID
    runs: list[Run] = field(default_factory=list)
    lineages: list[int] = field(default_factory=lambda: [0] * 3)
    model: Account = field(default_factory=Account)
    seen: int = 0


def call_of(key: Key) -> tuple[Key, CallKey]:
    """A call as the model knows it, and as the ledger does."""
    return key, CallKey(StepKey(key.run.id, key.lineage, key.step), key.request, key.occurrence)


async def new_tenancy(database: Database) -> Tenancy:
    books = Tenancy(await add_tenant(database))
    common: dict[str, Any] = {"tenant_id": books.tenant, "framework": "langgraph"}
    key = ApiKey(tenant_id=books.tenant, name="test", key_prefix="k", key_hash=str(new_id()), scopes=[])
    workflows = [Workflow(name="test", **common) for _ in range(2)]
    versions = [WorkflowVersion(workflow_id=workflow.id, version=1, **common) for workflow in workflows]
    async with database.transaction(books.tenant) as db:
        for rows in ([key, *workflows], versions):
            db.add_all(rows)
            await db.flush()
        for place, api_key in ((0, key.id), (1, None), (0, None)):
            root = books.runs[0].id if len(books.runs) == 2 else None
            execution = Execution(
                workflow_id=workflows[place].id,
                version_id=versions[place].id,
                workflow_version=1,
                title="test",
                api_key_id=api_key,
                root_id=root,
                **common,
            )
            db.add(execution)
            await db.flush()
            books.runs.append(Run(execution.id, workflows[place].id, api_key, root or execution.id))
    return books


async def assert_replayed(database: Database, books: Tenancy) -> None:
    """What the tables say is what follows from the entries, and that is what the model says."""
    found, model = await rebuild(database, books.tenant), books.model
    assert found.differences == []
    replay = found.books
    assert (replay.available, replay.held, replay.spent, replay.outside, replay.number) == (
        model.available,
        model.held,
        model.spent,
        model.outside,
        len(model.entries),
    )
