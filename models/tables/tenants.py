"""Tenants and their keys."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, optional_time_field, time_field


class Tenant(Table, table=True):
    """A customer: everything else belongs to exactly one."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("subscription_tier IN ('starter', 'professional', 'enterprise')", name="valid_tier"),
        CheckConstraint(
            "subscription_status IN ('active', 'suspended', 'cancelled', 'trial', 'past_due')", name="valid_status"
        ),
        Index(
            "ix_tenants_stripe_customer_id",
            "stripe_customer_id",
            unique=True,
            postgresql_where=text("stripe_customer_id IS NOT NULL"),
        ),
    )

    id: UUID = id_field()
    name: str = Field(max_length=255)
    slug: str = Field(max_length=100, unique=True)
    subscription_tier: str = Field(default="starter", max_length=50)
    subscription_status: str = Field(default="active", max_length=50, index=True)
    stripe_customer_id: str | None = Field(default=None, max_length=255)
    credits_balance: int = Field(default=0, sa_type=BigInteger)
    max_checkpoints_per_month: int = 50_000
    max_concurrent_executions: int = 10
    max_api_calls_per_month: int = 100_000
    billing_email: str | None = Field(default=None, max_length=255)
    billing_address: dict[str, Any] | None = json_field()
    settings: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    #: What the operator allows this tenant beyond or below the defaults; see `models.repositories.limits`.
    limits: dict[str, Any] = json_field(
        default_factory=dict, nullable=False, sa_column_kwargs={"server_default": text("'{}'")}
    )
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    deleted_at: datetime | None = optional_time_field()


class ApiKey(Table, table=True):
    """A key for programs. Only its HMAC is stored; `key_prefix` is what people recognise it by.

    After a rotation the key before works until `previous_expires_at`, under the same id.
    """

    __tablename__ = "api_keys"

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    user_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    name: str = Field(max_length=255)
    key_prefix: str = Field(max_length=20, index=True)
    key_hash: str = Field(max_length=64, unique=True)
    previous_hash: str | None = Field(default=None, max_length=64, unique=True)
    previous_expires_at: datetime | None = optional_time_field()
    rotated_at: datetime | None = optional_time_field()
    scopes: list[str] = Field(default_factory=lambda: ["read", "write"], sa_type=ARRAY(String(50)))
    #: What the key holds of that which its scopes give; all of it where this is None.
    permissions: list[str] | None = Field(default=None, sa_type=ARRAY(String(100)))
    #: Requests that the key may send to the routes of executions; the tenant's numbers where these are None.
    rate_limit_per_minute: int | None = None
    rate_limit_per_hour: int | None = None
    last_used_at: datetime | None = optional_time_field()
    expires_at: datetime | None = optional_time_field()
    revoked_at: datetime | None = optional_time_field()
    is_active: bool = True
    created_at: datetime = time_field()


class ApiUsage(Table, table=True):
    """How many requests a tenant sent in a month (in UTC). API processes add to it every few seconds."""

    __tablename__ = "api_usage"

    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", primary_key=True)
    month: date = Field(primary_key=True)
    calls: int = Field(default=0, sa_type=BigInteger)


class TenantKey(Table, table=True):
    """A version of a tenant's key, wrapped by a master key. The newest that is not destroyed seals; the others open.

    Destroying it leaves the row, without the key: it says that there was something, and that it cannot be read again.
    """

    __tablename__ = "tenant_keys"

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    master_key_id: str = Field(max_length=64)
    wrapped_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = time_field()
    destroyed_at: datetime | None = optional_time_field()
