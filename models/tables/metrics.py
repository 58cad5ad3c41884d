"""What runs and steps took, and the roll-ups that analytics are read from.

Amounts are in millionths of a credit. A row that is `rolled` is contained in its roll-up; analytics add up roll-ups and the
rows that are not. Who changes a row that is contained takes it out again: triggers of migration 0014 do that.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Computed, DateTime, Index, Numeric, UniqueConstraint, false, text
from sqlmodel import Field

from models.tables.base import Table, id_field, time_field

#: Millionths of a credit, which is a cent, in a US dollar.
_DOLLARS = "cost_micro / 100000000.0"
#: Stands for the workflow where a row is about all of them.
WHOLE = UUID(int=0)


def _count() -> Any:
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})


def _began() -> Any:
    return Field(primary_key=True, sa_type=DateTime(timezone=True))


def _size() -> Any:
    """`day` or `hour` of one kind; `total_day`, `total_hour` or `total_quarter` (of an hour) of the whole tenant, where what tells
    kinds apart is `WHOLE` or empty. Each rolled row is contained in one of each.
    """
    return Field(max_length=13, primary_key=True)


def _dollars() -> Any:
    return Field(default=None, sa_type=Numeric(18, 4), sa_column_args=(Computed(_DOLLARS, persisted=True),))


class ExecutionMetrics(Table, table=True):
    """One run, measured. Triggers make the row with the execution, and bring it up to date with each change of its status.

    Between two of these, `execution_facts` adds up the steps that ended meanwhile. `total_duration_ms` is the time from the
    run's start to its end, until then to its last change. Of what is not measured there
    is NULL: `consensus_overhead_ms` of a run without handoffs, `llm_model` of one that called none.
    """

    __tablename__ = "execution_metrics"
    __table_args__ = (
        Index("ix_execution_metrics_time", "tenant_id", "created_at"),
        Index("ix_execution_metrics_not_rolled", "tenant_id", "created_at", postgresql_where=text("NOT rolled")),
        Index("ix_execution_metrics_measured_at", "measured_at"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", unique=True)
    workflow_id: UUID
    framework: str = Field(max_length=50)
    #: The model that answered most of its calls.
    llm_model: str | None = Field(default=None, max_length=255)
    status: str = Field(max_length=50)
    #: Of its last failure, also when it went on after that.
    failure_type: str | None = Field(default=None, max_length=100)
    total_duration_ms: int = _count()
    #: What it took to store the states; the commits are not in it.
    checkpoint_overhead_us: int | None = Field(default=None, sa_type=BigInteger)
    checkpoint_overhead_ms: int | None = Field(
        default=None,
        sa_type=BigInteger,
        sa_column_args=(Computed("checkpoint_overhead_us / 1000", persisted=True),),
    )
    #: How long handoffs waited for their votes.
    consensus_overhead_ms: int | None = Field(default=None, sa_type=BigInteger)
    total_llm_calls: int = _count()
    total_tool_calls: int = _count()
    total_tokens: int = _count()
    cost_micro: int = _count()
    total_cost_usd: Decimal | None = _dollars()
    checkpoint_count: int = _count()
    checkpoint_bytes: int = _count()
    rollback_count: int = _count()
    failure_count: int = _count()
    retry_count: int = _count()
    rolled: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    #: When the execution was made.
    created_at: datetime = time_field()
    #: When its status changed last.
    measured_at: datetime = time_field()


class AgentMetrics(Table, table=True):
    """One step, measured when it ended: in the statement that records its end, or with the end of its run.

    Calls, tokens and cost are those of all its attempts. `duration_ms` is from its first start to its end; `wait_time_ms` the
    part of it in which it waited for people. `llm_provider` is known where the model's name begins with it (`openai/...`);
    `tool_failures` are counted in the attempt that ended the step, so they are NULL for one that did not end well.
    """

    __tablename__ = "agent_metrics"
    __table_args__ = (
        UniqueConstraint("agent_id"),
        Index("ix_agent_metrics_rolled", "tenant_id", "measured_at", postgresql_where=text("rolled")),
        Index("ix_agent_metrics_not_rolled", "tenant_id", "measured_at", postgresql_where=text("NOT rolled")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    agent_id: UUID = Field(foreign_key="agents.id", ondelete="CASCADE")
    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", index=True)
    workflow_id: UUID
    framework: str = Field(max_length=50)
    #: completed, or what became of a step that was broken off.
    status: str = Field(max_length=50)
    duration_ms: int = _count()
    wait_time_ms: int | None = Field(default=None, sa_type=BigInteger)
    llm_provider: str | None = Field(default=None, max_length=50)
    llm_model: str | None = Field(default=None, max_length=255)
    llm_calls: int = _count()
    tokens_used: int = _count()
    cost_micro: int = _count()
    cost_usd: Decimal | None = _dollars()
    tool_calls: int = _count()
    tool_failures: int | None = None
    checkpoint_bytes: int | None = Field(default=None, sa_type=BigInteger)
    checkpoint_overhead_us: int | None = Field(default=None, sa_type=BigInteger)
    rolled: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    measured_at: datetime = time_field()


class ExecutionRollup(Table, table=True):
    """The runs that were made in an hour or a day (UTC), of one kind. Empty texts stand for what a run does not have.

    `timed` and `duration_ms` are of those that ended well or failed.
    """

    __tablename__ = "execution_rollups"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    size: str = _size()
    at: datetime = _began()
    workflow_id: UUID = Field(primary_key=True)
    framework: str = Field(max_length=50, primary_key=True)
    llm_model: str = Field(max_length=255, primary_key=True)
    status: str = Field(max_length=50, primary_key=True)
    failure_type: str = Field(max_length=100, primary_key=True)
    executions: int = _count()
    timed: int = _count()
    duration_ms: int = _count()
    checkpoints: int = _count()
    checkpoint_bytes: int = _count()
    llm_calls: int = _count()
    tool_calls: int = _count()
    tokens: int = _count()
    cost_micro: int = _count()
    rollbacks: int = _count()
    failures: int = _count()
    retries: int = _count()


class DurationRollup(Table, table=True):
    """How many of the runs that were made on a day (UTC) took about so long: bucket n begins at 1.02 to the power of n ms."""

    __tablename__ = "duration_rollups"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    #: `WHOLE` in the rows of all runs of the tenant, of whatever kind.
    workflow_id: UUID = Field(primary_key=True)
    day: datetime = _began()
    framework: str = Field(max_length=50, primary_key=True)
    llm_model: str = Field(max_length=255, primary_key=True)
    status: str = Field(max_length=50, primary_key=True)
    bucket: int = Field(primary_key=True)
    executions: int = _count()


class StepRollup(Table, table=True):
    """The steps that ended in an hour or a day (UTC), and what they used."""

    __tablename__ = "step_rollups"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    size: str = _size()
    at: datetime = _began()
    workflow_id: UUID = Field(primary_key=True)
    framework: str = Field(max_length=50, primary_key=True)
    steps: int = _count()
    failed: int = _count()
    duration_ms: int = _count()
    checkpoints: int = _count()
    checkpoint_bytes: int = _count()
    llm_calls: int = _count()
    tool_calls: int = _count()
    tokens: int = _count()
    cost_micro: int = _count()


class CostRollup(Table, table=True):
    """The credits that were spent in an hour or a day (UTC). Entries of the ledger up to `RollupMark.ledger_number` are in here."""

    __tablename__ = "cost_rollups"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    size: str = _size()
    at: datetime = _began()
    #: All zeros where the entry names none.
    workflow_id: UUID = Field(primary_key=True)
    usage_type: str = Field(max_length=20, primary_key=True)
    resource: str = Field(max_length=255, primary_key=True)
    agent: str = Field(max_length=255, primary_key=True)
    charges: int = _count()
    input_tokens: int = _count()
    cached_tokens: int = _count()
    output_tokens: int = _count()
    cost_micro: int = _count()


class RollupMark(Table, table=True):
    """How far the ledger of a tenant is rolled up. Its entries are numbered without gaps, in the order of their commits."""

    __tablename__ = "rollup_marks"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    ledger_number: int = _count()


class ApiUsageHour(Table, table=True):
    """How many requests a tenant sent in an hour (UTC). API processes add to it every few seconds."""

    __tablename__ = "api_usage_hours"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    hour: datetime = _began()
    calls: int = _count()
