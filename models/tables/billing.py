"""Credits: accounts, the ledger that they are made of, lots, holds, budgets, prices, and who is told of what.

Amounts are in millionths of a credit. Only the functions of migration 0012 write accounts, entries, lots and holds; they
lock the tenant's account first, so that its entries have one order.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import UUID as SqlUuid
from sqlalchemy import BigInteger, CheckConstraint, Computed, Identity, Index, Integer, Numeric, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, optional_time_field, time_field

KINDS = ("grant", "reserve", "settle", "release", "expire", "refund", "adjust")
SOURCES = ("purchase", "plan", "gift", "manual", "refund", "dispute")
USAGE_TYPES = ("model", "tool", "step", "storage")
SCOPES = ("tenant", "workflow", "api_key", "execution")
PERIODS = ("total", "month")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    # PostgreSQL reads the checks anew for every statement that writes: one constant is less to read than a list of them
    return f"{column} = ANY ('{{{','.join(values)}}}'::text[])"


class CreditAccount(Table, table=True):
    """What a tenant has, as its entries add up: `available` to be spent, `held` for calls under way, `spent`.

    `outside` is the other end of all of it: what came in counts against it, what was given back or expired for it. The four
    sum to zero. `number` is the number of the last entry. Below `warn_below` the tenant is warned.
    """

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint("available + held + spent + outside = 0", name="sums_to_zero"),
        CheckConstraint("available >= 0 AND held >= 0", name="never_below_zero"),
    )

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    available: int = Field(default=0, sa_type=BigInteger)
    held: int = Field(default=0, sa_type=BigInteger)
    spent: int = Field(default=0, sa_type=BigInteger)
    outside: int = Field(default=0, sa_type=BigInteger)
    number: int = Field(default=0, sa_type=BigInteger)
    warn_below: int | None = Field(default=None, sa_type=BigInteger)
    updated_at: datetime = time_field()


class LedgerEntry(Table, table=True):
    """One movement of credits, never changed. Its four legs sum to zero.

    `unpaid` is the part of a settled cost that the tenant's credits did not cover. `balance_after` is what the tenant owned
    after it: available and held. `reference` is the id of a payment; `root_id` the execution that a fork comes from.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("available + held + spent + outside = 0", name="sums_to_zero"),
        CheckConstraint(_one_of("kind", KINDS), name="valid_kind"),
        CheckConstraint(_one_of("source", SOURCES), name="valid_source"),
        CheckConstraint(_one_of("usage_type", USAGE_TYPES), name="valid_usage_type"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_ledger_entries_execution", "execution_id", postgresql_where=text("kind = 'settle'")),
        Index(
            "ix_ledger_entries_time",
            "tenant_id",
            "created_at",
            postgresql_where=text("spent <> 0 OR kind = 'settle'"),
        ),
        Index(
            "ix_ledger_entries_moved",
            "tenant_id",
            "number",
            postgresql_where=text("kind NOT IN ('reserve', 'release', 'settle')"),
        ),
    )

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    id: UUID
    idempotency_key: str = Field(max_length=255)
    kind: str = Field(max_length=20)
    available: int = Field(sa_type=BigInteger)
    held: int = Field(sa_type=BigInteger)
    spent: int = Field(sa_type=BigInteger)
    outside: int = Field(sa_type=BigInteger)
    unpaid: int = Field(sa_type=BigInteger)
    balance_after: int = Field(sa_type=BigInteger)
    grant_id: UUID | None = None
    hold_id: UUID | None = None

    # what a call was
    execution_id: UUID | None = None
    lineage: int | None = None
    step_index: int | None = None
    request_hash: str | None = Field(default=None, max_length=64)
    occurrence: int | None = None
    attempt: int | None = None
    workflow_id: UUID | None = None
    api_key_id: UUID | None = None
    root_id: UUID | None = None
    usage_type: str | None = Field(default=None, max_length=20)
    resource: str | None = Field(default=None, max_length=255)
    agent: str | None = Field(default=None, max_length=255)
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    price_id: UUID | None = None

    # where credits came from or went
    source: str | None = Field(default=None, max_length=20)
    reference: str | None = Field(default=None, max_length=255)
    user_id: UUID | None = None
    description: str | None = None
    meta: dict[str, Any] = json_field(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    created_at: datetime = time_field()


class CreditGrant(Table, table=True):
    """A lot of credits. `remaining` of those that are left burn by `priority` (lower first), then by what expires first.

    Each settlement changes a lot and each call looks for those with something left. So no index is over `remaining`: a row
    that is in no index anew is changed in place; and used-up lots are in no index of those that are left.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        CheckConstraint("remaining >= 0 AND remaining <= amount AND amount > 0", name="valid_amounts"),
        CheckConstraint(_one_of("source", SOURCES), name="valid_source"),
        Index("ix_credit_grants_left", "tenant_id", postgresql_where=text("is_left")),
        Index("ix_credit_grants_reference", "tenant_id", "reference"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    source: str = Field(max_length=20)
    reference: str | None = Field(default=None, max_length=255)
    priority: int
    amount: int = Field(sa_type=BigInteger)
    remaining: int = Field(sa_type=BigInteger)
    expires_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    is_left: bool = Field(default=None, sa_column_args=(Computed("remaining > 0", persisted=True),))


class CreditHold(Table, table=True):
    """Credits that a call under way may cost at most; gone when it is settled or released.

    `amount` is held of the balance, `budgeted` of each of the `budgets`.
    """

    __tablename__ = "credit_holds"
    __table_args__ = (UniqueConstraint("execution_id", "lineage", "step_index", "request_hash", "occurrence"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    execution_id: UUID
    lineage: int
    step_index: int
    request_hash: str = Field(max_length=64)
    occurrence: int
    attempt: int
    amount: int = Field(sa_type=BigInteger)
    budgeted: int = Field(sa_type=BigInteger)
    budgets: list[UUID] = Field(default_factory=list, sa_type=ARRAY(SqlUuid))
    created_at: datetime = time_field()


class Budget(Table, table=True):
    """What may be spent: by a tenant, a workflow, an API key, or an execution with all its forks; in all, or in each month.

    `spent` and `held` are of the period that began on `period_start` (UTC). At each of the `thresholds` (percent) people are
    told.
    """

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint(_one_of("scope", SCOPES), name="valid_scope"),
        CheckConstraint(_one_of("period", PERIODS), name="valid_period"),
        CheckConstraint("(scope = 'tenant') = (scope_id IS NULL)", name="scope_with_id"),
        CheckConstraint("amount >= 0 AND held >= 0", name="valid_amounts"),
        UniqueConstraint("tenant_id", "scope", "scope_id", "period", postgresql_nulls_not_distinct=True),
        UniqueConstraint("tenant_id", "idempotency_key"),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    scope: str = Field(max_length=20)
    scope_id: UUID | None = None
    period: str = Field(default="total", max_length=10)
    amount: int = Field(sa_type=BigInteger)
    spent: int = Field(default=0, sa_type=BigInteger)
    held: int = Field(default=0, sa_type=BigInteger)
    period_start: date
    thresholds: list[int] = Field(default_factory=lambda: [50, 80, 100], sa_type=ARRAY(Integer))
    #: The key of the request that made it, and what that asked for.
    idempotency_key: str | None = Field(default=None, max_length=255)
    request_hash: str | None = Field(default=None, max_length=64)
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class ParkedRun(Table, table=True):
    """A run that waits for credits, or for a budget to be raised: the call that it stands before costs up to `required`."""

    __tablename__ = "parked_runs"

    execution_id: UUID = Field(foreign_key="executions.id", ondelete="CASCADE", primary_key=True)
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    reason: str = Field(max_length=20)
    required: int = Field(sa_type=BigInteger)
    budget_id: UUID | None = None
    #: Counts how often the run was parked: the run is woken once for each.
    times: int = 1
    parked_at: datetime = time_field()
    #: When it was told that it could pay.
    woken_at: datetime | None = optional_time_field()


class BillingNotice(Table, table=True):
    """Something that people are to hear of; written with what it tells, sent afterwards. `dedup_key` says it once."""

    __tablename__ = "billing_notices"
    __table_args__ = (
        UniqueConstraint("tenant_id", "dedup_key"),
        Index("ix_billing_notices_unsent", "id", postgresql_where=text("sent_at IS NULL")),
        Index("ix_billing_notices_mail", "mail_at", postgresql_where=text("mail_at IS NOT NULL")),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE")
    kind: str = Field(max_length=50)
    dedup_key: str = Field(max_length=255)
    data: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    created_at: datetime = time_field()
    sent_at: datetime | None = optional_time_field()
    #: When the mail about it is tried next; None once it is sent, was given up, or where nobody gets one.
    mail_at: datetime | None = optional_time_field()
    mail_attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class Price(Table, table=True):
    """A version of a price, in credits: per million tokens, and per call. It is superseded, never changed.

    Without a tenant it holds for all that have none of their own. `name` is a model's or a tool's; empty for a step, and for
    checkpoint storage, whose `per_call` is for a gigabyte in a month.
    """

    __tablename__ = "prices"
    __table_args__ = (
        CheckConstraint(_one_of("kind", USAGE_TYPES), name="valid_kind"),
        CheckConstraint(
            "input_per_1m >= 0 AND cached_per_1m >= 0 AND output_per_1m >= 0 AND per_call >= 0", name="not_negative"
        ),
        CheckConstraint("max_output_tokens > 0", name="valid_limit"),
        Index("ix_prices_what", "kind", "name"),
    )

    id: UUID = id_field()
    tenant_id: UUID | None = Field(default=None, foreign_key="tenants.id", ondelete="CASCADE", index=True)
    #: Grows with each version: the newest number tells whether a copy of the prices is still good.
    number: int = Field(sa_type=BigInteger, sa_column_args=(Identity(always=True),), unique=True)
    kind: str = Field(max_length=20)
    name: str = Field(default="", max_length=255)
    input_per_1m: Decimal = Field(default=Decimal(0), sa_type=Numeric(20, 6))
    #: Of input that the provider had cached; that of `input_per_1m` where None.
    cached_per_1m: Decimal | None = Field(default=None, sa_type=Numeric(20, 6))
    output_per_1m: Decimal = Field(default=Decimal(0), sa_type=Numeric(20, 6))
    per_call: Decimal = Field(default=Decimal(0), sa_type=Numeric(20, 6))
    #: The longest answer of a model: what a call may cost at most where the request does not say.
    max_output_tokens: int | None = None
    effective_from: datetime = time_field()
    withdrawn: bool = False
    created_at: datetime = time_field()
