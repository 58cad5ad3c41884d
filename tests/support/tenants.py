"""Tenants, keys and whole executions written straight into a database: what a test needs beside the bootstrap tenant."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models.database import Database
from models.keys import hash_key, new_key, visible_prefix
from models.tables import (
    Agent,
    ApiKey,
    Approval,
    Checkpoint,
    ConsensusAck,
    ConsensusLog,
    Effect,
    Execution,
    ExecutionEvent,
    ExecutionPolicy,
    ExecutionPolicyVersion,
    ExternalConnection,
    ExternalKickoff,
    Failure,
    IdempotencyKey,
    JournalEntry,
    Lineage,
    Notification,
    RecoveryAction,
    Rollback,
    Table,
    Tenant,
    Workflow,
    WorkflowVersion,
)
from models.tables.base import new_id

T = TypeVar("T")


async def add_tenant(database: Database) -> UUID:
    """Id of a new tenant."""
    tenant = Tenant(name="Another", slug=f"another-{new_id()}")
    async with database.system() as session:
        await _flush(session, tenant)
    return tenant.id


async def add_key(
    database: Database,
    tenant_id: UUID,
    pepper: str,
    *scopes: str,
    user_id: UUID | None = None,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
    is_active: bool = True,
    permissions: list[str] | None = None,
) -> str:
    """A new key of a tenant, as its owner would send it."""
    key = new_key("test")
    row = ApiKey(
        tenant_id=tenant_id,
        user_id=user_id,
        name="test",
        key_prefix=visible_prefix(key),
        key_hash=hash_key(pepper, key),
        scopes=list(scopes),
        expires_at=expires_at,
        revoked_at=revoked_at,
        is_active=is_active,
        permissions=permissions,
    )
    return await add(database, row, key)


@dataclass
class Owned:
    """One row of every kind that a tenant may own, connected as a run leaves them."""

    tenant_id: UUID
    workflow: UUID = field(default_factory=new_id)
    version: UUID = field(default_factory=new_id)
    execution: UUID = field(default_factory=new_id)
    checkpoint: UUID = field(default_factory=new_id)
    failure: UUID = field(default_factory=new_id)
    event: UUID = field(default_factory=new_id)
    approval: UUID = field(default_factory=new_id)
    log: UUID = field(default_factory=new_id)
    step: UUID = field(default_factory=new_id)
    rollback: UUID = field(default_factory=new_id)
    effect: UUID = field(default_factory=new_id)
    policy: UUID = field(default_factory=new_id)
    action: UUID = field(default_factory=new_id)
    notification: UUID = field(default_factory=new_id)
    connection: UUID = field(default_factory=new_id)
    provider: UUID = field(default_factory=new_id)
    kickoff: UUID = field(default_factory=new_id)

    @property
    def key(self) -> str:
        """The Idempotency-Key that the execution was started with."""
        return f"key of {self.execution}"


async def add_execution(
    database: Database,
    tenant_id: UUID,
    *,
    status: str = "completed",
    approval: str = "approved",
    owned: Owned | None = None,
) -> Owned:
    """A workflow with a policy, and an execution with a step, a checkpoint, a failure and what was done about it, an event
    and its notification, a journaled call, an approval, a handoff and a key."""
    ids = owned or Owned(tenant_id)
    common = {"tenant_id": tenant_id, "framework": "langgraph"}
    of_run = {"tenant_id": tenant_id, "execution_id": ids.execution}
    rows: list[Table] = [
        Workflow(id=ids.workflow, name="of a tenant", **common),
        WorkflowVersion(id=ids.version, workflow_id=ids.workflow, version=1, **common),
        Execution(
            id=ids.execution,
            workflow_id=ids.workflow,
            version_id=ids.version,
            workflow_version=1,
            title="of a tenant",
            status=status,
            inputs={"topic": "x"},
            # its own fork, so that one row is found as both
            forked_from=ids.execution,
            **common,
        ),
        Agent(id=ids.step, step_index=0, name="step", framework="langgraph", status="completed", attempt=1, **of_run),
        Checkpoint(
            id=ids.checkpoint,
            step_index=0,
            checkpoint_number=1,
            checkpoint_name="step_1",
            checksum="0" * 64,
            state_size_bytes=2,
            next_step="next",
            **of_run,
        ),
        Failure(id=ids.failure, failure_type="agent_error", error_message="broken", step_index=0, **of_run),
        RecoveryAction(
            id=ids.action,
            failure_id=ids.failure,
            command_id="recovery-0-1",
            action_type="escalate",
            status="completed",
            **of_run,
        ),
        ExecutionPolicy(
            id=ids.policy,
            tenant_id=tenant_id,
            workflow_id=ids.workflow,
            name="of a workflow",
            policy_type="retry",
            policy_config={"max_retries": 1},
        ),
        ExecutionPolicyVersion(
            tenant_id=tenant_id,
            policy_id=ids.policy,
            version=1,
            name="of a workflow",
            policy_config={"max_retries": 1},
            is_active=True,
        ),
        ExecutionEvent(id=ids.event, event_type="execution.started", data={}, **of_run),
        Notification(
            id=ids.notification,
            event_id=ids.event,
            event_type="execution.started",
            source=str(ids.policy),
            source_version=1,
            channel=0,
            channel_type="log",
            status="failed",
            **of_run,
        ),
        Approval(
            id=ids.approval, lineage=0, step_index=0, step_name="step", interrupt_id="q", status=approval, **of_run
        ),
        ConsensusLog(
            id=ids.log,
            lineage=0,
            step_index=0,
            term=1,
            log_index=1,
            leader="step",
            sender="step",
            payload_hash="3" * 64,
            voters=[{"name": "auditor", "kind": "person"}],
            acks_required=1,
            status="cancelled",
            **of_run,
        ),
        ConsensusAck(tenant_id=tenant_id, consensus_log_id=ids.log, voter="auditor", kind="person", term=1),
        Rollback(
            id=ids.rollback,
            command_id="rollback-1",
            to_checkpoint_id=ids.checkpoint,
            from_lineage=0,
            to_lineage=1,
            trigger_reason="r",
            status="failed",
            **of_run,
        ),
        Lineage(lineage=1, parent_lineage=0, parent_number=1, checkpoint_id=ids.checkpoint, **of_run),
        Effect(
            id=ids.effect,
            lineage=0,
            step_index=0,
            idempotency_key="4",
            tool="t",
            reversible=True,
            status="done",
            **of_run,
        ),
        *(
            ExternalConnection(
                id=connection,
                tenant_id=tenant_id,
                connection_type=kind,
                connection_name="of a tenant",
                crew_url="https://crew.example",
                bearer_token_encrypted="sealed",
            )
            for connection, kind in ((ids.connection, "crewai_aop"), (ids.provider, "model_provider"))
        ),
        ExternalKickoff(
            id=ids.kickoff,
            tenant_id=tenant_id,
            connection_id=ids.connection,
            idempotency_key="k",
            request_hash="5" * 64,
        ),
        IdempotencyKey(key=ids.key, request_hash="1" * 64, **of_run),
        JournalEntry(
            lineage=0,
            step_index=0,
            request_hash="2" * 64,
            occurrence=0,
            kind="model",
            name="m",
            endpoint="/chat/completions",
            attempt=1,
            content_type="application/json",
            answer=b"x",
            input_tokens=2**31 - 1,
            output_tokens=2**31 - 1,
            cost=2**62,
            **of_run,
        ),
    ]
    async with database.transaction(tenant_id) as session:
        for row in rows:
            await _flush(session, row)
    return ids


async def add(database: Database, row: Table, given: T) -> T:
    """Writes a row and gives back `given`."""
    async with database.transaction(row.tenant_id) as session:  # type: ignore[attr-defined]
        await _flush(session, row)
    return given


async def _flush(session: AsyncSession, row: Table) -> None:
    session.add(row)
    await session.flush()
