"""Whatever a repository is asked for, it answers with rows of its own tenant only."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from models import repositories
from models.database import Database
from models.repositories.approvals import ApprovalRepository
from models.repositories.audit import AuditRepository
from models.repositories.base import Listing, Page, Repository
from models.repositories.bookkeeping import BookkeepingRepository
from models.repositories.checkpoints import CheckpointRepository
from models.repositories.connections import ConnectionRepository
from models.repositories.consensus import ConsensusRepository
from models.repositories.data_rights import DataRequestRepository, PersonRepository, TenantSettings
from models.repositories.effects import EffectRepository
from models.repositories.events import EventRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.failures import FailureRepository
from models.repositories.history import HistoryRepository
from models.repositories.idempotency import IdempotencyRepository
from models.repositories.journal import JournalRepository, StepKey, look_up
from models.repositories.ledger import LedgerRepository
from models.repositories.lineages import LineageRepository, Path
from models.repositories.notifications import NotificationRepository
from models.repositories.policies import PolicyRepository
from models.repositories.prices import PriceRepository
from models.repositories.recovery import RecoveryRepository
from models.repositories.rollbacks import RollbackRepository
from models.repositories.targets import TargetRepository
from models.repositories.workflows import WorkflowRepository
from models.tables import Execution, ExternalKickoff, Failure, RecoveryAction
from models.tables.base import now
from omium_core.errors import NotFound
from tests.isolation.test_repositories import READS as OTHER_READS
from tests.isolation.test_repositories import WRITES as OTHER_WRITES
from tests.support.tenants import Owned, add_execution, add_tenant

Call = Callable[[Owned], dict[str, Any]]
#: How each method that reads is called to find the row of `Owned`.
READS: dict[tuple[type[Repository], str], Call] = {
    (CheckpointRepository, "get"): lambda row: {"checkpoint_id": row.checkpoint},
    (CheckpointRepository, "latest"): lambda row: {"execution_id": row.execution, "lineage": 0},
    (CheckpointRepository, "list"): lambda row: {"execution_id": row.execution, "page": Page()},
    (CheckpointRepository, "named"): lambda row: {"execution_id": row.execution, "name": "step_1"},
    (CheckpointRepository, "of_execution"): lambda row: {"execution_id": row.execution},
    (ApprovalRepository, "get"): lambda row: {"approval_id": row.approval},
    (ApprovalRepository, "list"): lambda row: {"page": Page(), "execution_id": row.execution},
    (ApprovalRepository, "pending"): lambda row: {"execution_id": row.execution},
    (ConnectionRepository, "get"): lambda row: {"connection_id": row.connection},
    (ConnectionRepository, "list"): lambda row: {"page": Page()},
    (ConnectionRepository, "named"): lambda row: {"name": "of a tenant"},
    (ConnectionRepository, "providers"): lambda row: {},
    (ConsensusRepository, "get"): lambda row: {"log_id": row.log},
    (ConsensusRepository, "newest"): lambda row: {"execution_id": row.execution},
    (ConsensusRepository, "list"): lambda row: {"execution_id": row.execution, "page": Page()},
    (ConsensusRepository, "acks"): lambda row: {"log_ids": [row.log]},
    (HistoryRepository, "agents"): lambda row: {"execution_id": row.execution},
    (HistoryRepository, "forks"): lambda row: {"execution_id": row.execution},
    (HistoryRepository, "rollbacks"): lambda row: {"execution_id": row.execution, "page": Page()},
    (HistoryRepository, "effects"): lambda row: {"execution_id": row.execution, "page": Page()},
    (LineageRepository, "rows"): lambda row: {"execution_id": row.execution},
    (LineageRepository, "get"): lambda row: {"execution_id": row.execution, "lineage": 1},
    (LineageRepository, "position"): lambda row: {"execution_id": row.execution, "lineage": 0},
    (LineageRepository, "path"): lambda row: {"execution_id": row.execution, "lineage": 0},
    (TargetRepository, "find"): lambda row: {
        "execution": Execution(id=row.execution, tenant_id=row.tenant_id, checkpoint_count=1),
        "reference": "step_1",
    },
    (EffectRepository, "get"): lambda row: {"effect_id": row.effect},
    (EffectRepository, "by_key"): lambda row: {"execution_id": row.execution, "key": "4"},
    (EffectRepository, "of_run"): lambda row: {"execution_id": row.execution},
    (RollbackRepository, "find"): lambda row: {"execution_id": row.execution, "command_id": "rollback-1"},
    (RollbackRepository, "get"): lambda row: {"rollback_id": row.rollback},
    (RollbackRepository, "lock_steps"): lambda row: {"execution_id": row.execution},
    (RollbackRepository, "approvals_beyond"): lambda row: {
        "execution_id": row.execution,
        "here": Path({0: 1}, frozenset({(0, 0)})),
        "path": Path({0: 0}, frozenset()),
    },
    (EventRepository, "list"): lambda row: {"execution_id": row.execution},
    (ExecutionRepository, "get"): lambda row: {"execution_id": row.execution},
    (ExecutionRepository, "agents"): lambda row: {"execution_id": row.execution, "lineage": 0},
    (ExecutionRepository, "agent"): lambda row: {"execution_id": row.execution, "agent_id": row.step},
    (ExecutionRepository, "find_agent"): lambda row: {"execution_id": row.execution, "agent_id": str(row.step)},
    (ExecutionRepository, "step_named"): lambda row: {"execution_id": row.execution, "name": "step"},
    (ExecutionRepository, "list"): lambda row: {"page": Page(), "workflow_id": row.workflow},
    (FailureRepository, "get"): lambda row: {"failure_id": row.failure},
    (FailureRepository, "of_step"): lambda row: {
        "execution_id": row.execution,
        "lineage": 0,
        "step_index": 0,
        "types": ["agent_error"],
    },
    (FailureRepository, "list"): lambda row: {"page": Page(), "execution_id": row.execution},
    (NotificationRepository, "list"): lambda row: {"page": Page(), "execution_id": row.execution},
    (NotificationRepository, "retry"): lambda row: {"notification_id": row.notification},
    (PolicyRepository, "get"): lambda row: {"policy_id": row.policy},
    (PolicyRepository, "list"): lambda row: {"page": Page()},
    (PolicyRepository, "versions"): lambda row: {"policy_id": row.policy, "page": Page()},
    (PolicyRepository, "holding"): lambda row: {"workflow_id": row.workflow},
    (RecoveryRepository, "get"): lambda row: {"action_id": row.action},
    (RecoveryRepository, "find"): lambda row: {"execution_id": row.execution, "command_id": "recovery-0-1"},
    (RecoveryRepository, "list"): lambda row: {"page": Page(), "failure_id": row.failure},
    (RecoveryRepository, "checkpoint_before"): lambda row: {
        "execution_id": row.execution,
        "lineage": 0,
        "step_index": 1,
    },
    (RecoveryRepository, "is_done"): lambda row: {"execution_id": row.execution, "lineage": 0, "step_index": 0},
    (RecoveryRepository, "count_alike"): lambda row: {
        "workflow_id": row.workflow,
        "failure_type": "agent_error",
        "step_name": None,
        "days": 7,
    },
    (IdempotencyRepository, "find"): lambda row: {"key": row.key},
    (JournalRepository, "usage"): lambda row: {"execution_ids": [row.execution]},
    (WorkflowRepository, "get"): lambda row: {"workflow_id": row.workflow},
    (WorkflowRepository, "version"): lambda row: {"workflow_id": row.workflow, "number": 1},
    (WorkflowRepository, "version_by_id"): lambda row: {"version_id": row.version},
    (WorkflowRepository, "current"): lambda row: {"workflow_id": row.workflow},
    (WorkflowRepository, "list"): lambda row: {"page": Page()},
}
#: Methods that write; what they do to another tenant's rows has a test of its own.
WRITES = {
    (ConnectionRepository, "add"),
    (ConnectionRepository, "delete"),
    (ConnectionRepository, "synced"),
    (ConnectionRepository, "claim_kickoff"),
    (ConnectionRepository, "settle_kickoff"),
    (ApprovalRepository, "set_aside"),
    (ExecutionRepository, "add"),
    (FailureRepository, "take_up"),
    (FailureRepository, "leave"),
    (FailureRepository, "resolve"),
    (PolicyRepository, "add"),
    (EffectRepository, "settle"),
    (EffectRepository, "set_status"),
    (RollbackRepository, "fence"),
    (RollbackRepository, "close_questions"),
    (RecoveryRepository, "settle"),
    (RecoveryRepository, "drop"),
    (IdempotencyRepository, "claim"),
    (JournalRepository, "write"),
    (JournalRepository, "mark_used"),
    (JournalRepository, "mark_votes"),
    (WorkflowRepository, "add"),
}
#: Methods that find nothing here; what they find of another tenant has a test of its own.
APART = {
    (RollbackRepository, "left_behind"),
    # tests/billing/test_costs.py
    (RecoveryRepository, "redone"),
    # tests/data_rights/test_rows.py
    *((AuditRepository, name) for name in ("get", "list", "after")),
    *((DataRequestRepository, name) for name in ("get", "newest", "open", "list", "add")),
    *((PersonRepository, name) for name in ("get", "forget")),
    *((TenantSettings, name) for name in ("get", "change")),
    # tests/data/test_ledger.py
    *((LedgerRepository, name) for name in ("account", "charge", "expire", "grant", "settle", "take")),
    # tests/data/test_prices.py, tests/data/test_bookkeeping.py
    *((PriceRepository, name) for name in ("newest", "versions")),
    *((BookkeepingRepository, name) for name in ("sweep", "charge_storage")),
}


def test_no_method_is_left_out() -> None:
    for module in pkgutil.iter_modules(repositories.__path__, f"{repositories.__name__}."):
        importlib.import_module(module.name)
    methods = {
        (kind, name)
        for kind in Repository.__subclasses__()
        for name, _ in inspect.getmembers(kind, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert methods == READS.keys() | WRITES | APART | OTHER_READS.keys() | OTHER_WRITES


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _ in READS), ids=lambda kind: kind.__name__)
async def test_another_tenants_row_is_not_found(database: Database, tenant: UUID, kind: type[Repository]) -> None:
    """By its own repository; and not by one that names the owner either: the first lock with the second one open."""
    row = await add_execution(database, tenant, approval="pending")
    other = await add_tenant(database)
    for name in (name for of, name in READS if of is kind):
        assert not is_there(await read(database, tenant, other, kind, name, row)), name
        assert not is_there(await read(database, other, tenant, kind, name, row)), name
        assert is_there(await read(database, tenant, tenant, kind, name, row)), f"{name} finds it for its own tenant"


async def read(database: Database, within: UUID, named: UUID, kind: type[Repository], name: str, row: Owned) -> Any:
    """What the repository of one tenant finds in a transaction of a tenant, which may be another."""
    async with database.transaction(within) as session:
        try:
            return await getattr(kind(session, named), name)(**READS[kind, name](row))
        except NotFound:
            return None


def is_there(answer: Any) -> bool:
    if isinstance(answer, Listing):
        assert answer.total == len(answer.rows)
        return bool(answer.rows)
    if isinstance(answer, Path):
        return bool(answer.steps)
    return bool(answer)


async def test_calls_of_another_tenant_are_not_looked_up(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    key = StepKey(row.execution, 0, 0)
    known = await look_up(database, tenant, key, "2" * 64, 1)
    assert (known.attempt, known.step_name, known.answer) == (1, "step", None)
    known = await look_up(database, await add_tenant(database), key, "2" * 64, 0)
    assert (known.attempt, known.step_name, known.answer) == (0, "", None)


async def test_connections_of_another_tenant_stay_as_they_are(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    other = await add_tenant(database)
    for caller, moved in ((other, False), (tenant, True)):
        async with database.transaction(tenant) as session:
            connections = ConnectionRepository(session, caller)
            await connections.synced(row.connection, now())
            await connections.settle_kickoff(row.kickoff, "kick-1")
        async with database.transaction(tenant) as session:
            connection = await ConnectionRepository(session, tenant).get(row.connection)
            kickoff = await session.get(ExternalKickoff, row.kickoff)
            assert kickoff is not None
            assert (connection.last_synced_at is not None, kickoff.kickoff_id) == (moved, "kick-1" if moved else None)


async def test_resolving_leaves_another_tenants_failures(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    other = await add_tenant(database)
    before = "pending"
    for name, status in (("take_up", "in_progress"), ("leave", "pending"), ("resolve", "resolved")):
        for caller, wanted in ((other, before), (tenant, status)):
            async with database.transaction(tenant) as session:
                await getattr(FailureRepository(session, caller), name)(row.execution)
            async with database.transaction(tenant) as session:
                failure: Failure = await FailureRepository(session, tenant).get(row.failure)
                assert failure.recovery_status == wanted
        before = status


async def test_recovery_actions_of_another_tenant_stay_as_they_are(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    other = await add_tenant(database)
    for change in (lambda own: own.settle(row.execution, "recovery-0-1"), lambda own: own.drop(row.execution)):
        for caller, moved in ((other, False), (tenant, True)):
            async with database.transaction(tenant) as session:
                action: RecoveryAction = await RecoveryRepository(session, tenant).get(row.action)
                action.status, action.trigger_type = "in_progress", "policy"
                session.add(action)
            async with database.transaction(tenant) as session:
                await change(RecoveryRepository(session, caller))
            async with database.transaction(tenant) as session:
                action = await RecoveryRepository(session, tenant).get(row.action)
                assert (action.status != "in_progress") is moved


async def test_one_key_serves_two_tenants(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    other = await add_execution(database, await add_tenant(database))
    async with database.transaction(tenant) as session:
        assert not await IdempotencyRepository(session, tenant).claim(row.key, "hash", row.execution)
    async with database.transaction(other.tenant_id) as session:
        assert await IdempotencyRepository(session, other.tenant_id).claim(row.key, "hash", other.execution)


async def test_sums_of_usage_are_whole_numbers_beyond_32_bits(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    async with database.transaction(tenant) as session:
        [usage] = (await JournalRepository(session, tenant).usage([row.execution]))[row.execution]
    assert (type(usage.tokens), usage.tokens) == (int, 2 * (2**31 - 1))
    assert (type(usage.cost), usage.cost) == (int, 2**62)


async def test_pages_show_every_row_once(database: Database, tenant: UUID) -> None:
    first = await add_execution(database, tenant)
    common = {"tenant_id": tenant, "workflow_id": first.workflow, "version_id": first.version, "workflow_version": 1}
    async with database.transaction(tenant) as session:
        session.add_all([Execution(title="x", framework="langgraph", **common) for _ in range(249)])
    found: list[UUID] = []
    page = Page(limit=100)
    while True:
        async with database.transaction(tenant) as session:
            listing = await ExecutionRepository(session, tenant).list(page)
        assert listing.total == 250
        found += [row.id for row in listing.rows]
        if listing.next_cursor is None:
            break
        page = Page(limit=100, cursor=listing.next_cursor)
    assert len(found) == len(set(found)) == 250
    assert found == sorted(found, reverse=True)
