"""Execution policies on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, PlainSerializer

from activities.policies.channels import masked
from api.schemas.common import Request, Text

Name = Annotated[Text, Field(min_length=1, max_length=255)]
Description = Annotated[Text, Field(max_length=10_000)]
#: Settings as they are shown: without the secrets of channels, which no other type has.
Shown = Annotated[dict[str, Any], PlainSerializer(masked)]
PolicyType = Literal["timeout", "retry", "recovery", "rollback", "notification"]


class PolicyCreate(Request):
    """A policy of one workflow, or without a `workflow_id` of all workflows of the tenant.

    What `policy_config` holds depends on the type: `GET /policies/schemas`.
    """

    name: Name
    policy_type: Annotated[Text, Field(max_length=50)]
    policy_config: dict[str, Any]
    description: Description | None = None
    workflow_id: UUID | None = None
    is_active: bool = True


class PolicyUpdate(Request):
    """What is not named stays as it is. Every update makes a new version; the type of a policy cannot change."""

    name: Name | None = None
    policy_type: Annotated[Text, Field(max_length=50)] | None = None
    policy_config: dict[str, Any] | None = None
    description: Description | None = None
    workflow_id: UUID | None = None
    is_active: bool | None = None


class PolicyView(BaseModel):
    """A policy in its newest version. Runs keep the version with which they began."""

    id: UUID
    workflow_id: UUID | None
    name: str
    description: str | None
    policy_type: PolicyType
    policy_config: Shown
    version: int
    is_active: bool
    created_at: datetime
    updated_at: datetime


class PolicyList(BaseModel):
    policies: list[PolicyView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class PolicyVersionView(BaseModel):
    id: UUID
    policy_id: UUID
    version: int
    name: str
    policy_config: Shown
    is_active: bool
    created_at: datetime


class PolicyVersionList(BaseModel):
    versions: list[PolicyVersionView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int
