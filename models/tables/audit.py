"""The audit log, and the chain that makes a change of it visible."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from models.sealing import SealedJson, SealedText
from models.tables.base import Table, id_field, json_field, time_field


class AuditLog(Table, table=True):
    """One change that somebody made, or tried to make. Rows are added, and never changed or removed one by one.

    Partitioned by month on the id, whose first 48 bits are the milliseconds at which it was made. What may point at a
    person (values, address, agent) is sealed: it is unreadable when the tenant's keys are destroyed, and the chain, which is
    made over what is stored, still holds. Persons, keys and resources are named without foreign keys: the log outlives them.
    """

    __tablename__ = "audit_logs"
    __table_args__ = (
        CheckConstraint("resource_type ~ '^[a-z][a-z_]*$'", name="valid_resource_type"),
        CheckConstraint("status IN ('success', 'denied', 'failure')", name="valid_status"),
        Index("ix_audit_logs_tenant_id_id", "tenant_id", "id"),
        Index("ix_audit_logs_tenant_id_user_id", "tenant_id", "user_id"),
        Index("ix_audit_logs_tenant_id_resource", "tenant_id", "resource_type", "resource_id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="RESTRICT")
    user_id: UUID | None = None
    api_key_id: UUID | None = None
    action: str = Field(max_length=100)
    resource_type: str = Field(max_length=100)
    resource_id: UUID | None = None
    old_values: dict[str, Any] | None = Field(default=None, sa_type=SealedJson, nullable=True)
    new_values: dict[str, Any] | None = Field(default=None, sa_type=SealedJson, nullable=True)
    ip_address: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    user_agent: str | None = Field(default=None, sa_type=SealedText, nullable=True)
    request_id: str | None = Field(default=None, max_length=128)
    #: Names and numbers of ours: `source` (api, run, system), method and route, the status of the answer.
    meta: dict[str, Any] = json_field(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    status: str = Field(default="success", max_length=20)
    created_at: datetime = time_field()


class AuditPending(Table, table=True):
    """An entry that is not in the chain yet. A trigger adds it with the entry; the sealer takes it away."""

    __tablename__ = "audit_pending"

    position: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=(Identity(always=True),)
    )
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="RESTRICT")
    audit_id: UUID


class AuditLink(Table, table=True):
    """One link of the chain: the hash of an entry, bound to all entries before it.

    `seq` counts all links of the installation, `tenant_seq` those of the tenant: none may be missing.
    """

    __tablename__ = "audit_chain"
    __table_args__ = (UniqueConstraint("audit_id"), UniqueConstraint("tenant_id", "tenant_seq"))

    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="RESTRICT")
    tenant_seq: int = Field(sa_type=BigInteger)
    audit_id: UUID
    entry_hash: bytes = Field(sa_type=LargeBinary)
    previous_hash: bytes = Field(sa_type=LargeBinary)
    chain_hash: bytes = Field(sa_type=LargeBinary)
    sealed_at: datetime = time_field()


class AuditHead(Table, table=True):
    """How far the chain reached after a batch, signed with a key that the database does not have.

    `first_seq` and `first_previous` say where the chain begins since retention removed what was before, and
    `removed_before` which entries (ids below it) retention has removed.
    """

    __tablename__ = "audit_heads"

    number: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=(Identity(always=True),)
    )
    seq: int = Field(sa_type=BigInteger, index=True)
    chain_hash: bytes = Field(sa_type=LargeBinary)
    first_seq: int = Field(default=1, sa_type=BigInteger)
    first_previous: bytes = Field(sa_type=LargeBinary)
    removed_before: UUID
    mac: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = time_field()
