"""Roles on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Line, Request, Text

RoleName = Annotated[Line, Field(min_length=1, max_length=100)]
Description = Annotated[Text, Field(max_length=1000)]
Permission = Annotated[Text, Field(min_length=1, max_length=100)]
Permissions = Annotated[list[Permission], Field(max_length=500)]


class RoleCreate(Request):
    """`permissions` are names such as `execution:create`: `GET /roles/permissions` lists them."""

    name: RoleName
    permissions: Permissions
    description: Description | None = None


class RoleUpdate(Request):
    """What is not named stays as it is."""

    name: RoleName | None = None
    permissions: Permissions | None = None
    description: Description | None = None


class RoleView(BaseModel):
    id: UUID
    name: str
    description: str | None
    permissions: list[str]
    is_system_role: bool
    created_at: datetime
    updated_at: datetime


class RoleList(BaseModel):
    roles: list[RoleView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class PermissionList(BaseModel):
    """Every permission there is, and those that the caller holds, which are the ones that they may give."""

    permissions: list[str]
    held: list[str]
