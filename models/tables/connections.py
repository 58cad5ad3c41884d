"""Connections to services outside: agents that run elsewhere, and tenants' own model providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Text, UniqueConstraint
from sqlmodel import Field

from models.sealing import TOKEN, SealedText
from models.tables.base import Table, id_field, optional_time_field, sealed_json, time_field

#: What runs agents, by the names of the platform documentation.
AGENT_CONNECTIONS = ("crewai_aop", "langgraph_cloud", "autogen_studio")
MODEL_PROVIDER = "model_provider"
CONNECTION_TYPES = (*AGENT_CONNECTIONS, MODEL_PROVIDER)


class ExternalConnection(Table, table=True):
    """Where a service is, and the token that it asks for.

    `crew_url` is the address of the service, whatever its type. `bearer_token_encrypted` is a Fernet token under the
    tenant's key; it never leaves the platform but to that address. `token_hint` is what people recognise it by.
    """

    __tablename__ = "external_workflow_connections"
    __table_args__ = (
        CheckConstraint(
            "connection_type IN ('crewai_aop', 'langgraph_cloud', 'autogen_studio', 'model_provider')",
            name="valid_connection_type",
        ),
    )

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    connection_type: str = Field(max_length=50, index=True)
    connection_name: str = Field(max_length=255)
    crew_url: str = Field(sa_type=SealedText, nullable=False)
    bearer_token_encrypted: str = Field(sa_type=Text, sa_column_kwargs={"info": TOKEN})
    token_hint: str = Field(default="", max_length=8)
    #: May hold what is as good as a token: headers, settings of a graph.
    meta: dict[str, Any] = sealed_json(default_factory=dict, nullable=False, sa_column_kwargs={"name": "metadata"})
    is_active: bool = True
    #: When the service last answered as it should.
    last_synced_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class ExternalKickoff(Table, table=True):
    """A run that was started at a service by a request with an Idempotency-Key. Written before the service is asked.

    Without a `kickoff_id` it is not known whether the service started it.
    """

    __tablename__ = "external_kickoffs"
    __table_args__ = (UniqueConstraint("connection_id", "idempotency_key"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    connection_id: UUID = Field(foreign_key="external_workflow_connections.id", ondelete="CASCADE")
    idempotency_key: str = Field(max_length=255)
    request_hash: str = Field(max_length=64)
    kickoff_id: str | None = Field(default=None, max_length=255)
    created_at: datetime = time_field()
