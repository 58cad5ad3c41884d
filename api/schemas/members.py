"""Members and invitations on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from api.schemas.auth import Email, TenantName, TenantRef
from api.schemas.common import Request, Text

#: A role by its name or its id.
RoleRef = Annotated[Text, Field(min_length=1, max_length=100)]


class Roles(Request):
    """`roles`, or `role` where it is one; by name or id."""

    roles: Annotated[list[RoleRef], Field(min_length=1, max_length=50)] | None = None
    role: RoleRef | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Roles:
        if (self.roles is None) == (self.role is None):
            raise ValueError("give roles, or role where it is one")
        return self

    @property
    def wanted(self) -> list[str]:
        return self.roles or [self.role or ""]


class MemberUpdate(Roles):
    """The roles that the member has from now on, and no other."""


class InvitationCreate(Roles):
    email: Email


class RoleShort(BaseModel):
    id: UUID
    name: str


class MemberView(BaseModel):
    """`role` is the first of the `roles`, for those who show one."""

    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    full_name: str | None
    avatar_url: str | None
    role: str | None
    roles: list[RoleShort]
    is_active: bool
    last_login_at: datetime | None
    created_at: datetime


class MemberList(BaseModel):
    members: list[MemberView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class InvitationView(BaseModel):
    """An invitation that may still be accepted. Its token is in the mail, and nowhere else."""

    id: UUID
    email: str
    roles: list[RoleShort]
    invited_by: UUID | None
    created_at: datetime
    expires_at: datetime


class InvitationList(BaseModel):
    invitations: list[InvitationView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class TenantView(TenantRef):
    subscription_tier: str
    subscription_status: str
    billing_email: str | None
    settings: dict[str, object]
    created_at: datetime
    updated_at: datetime


class TenantUpdate(Request):
    """What is not named stays as it is."""

    name: TenantName | None = None
    billing_email: Email | None = None
