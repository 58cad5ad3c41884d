"""Answers about people, roles and invitations."""

from __future__ import annotations

from typing import TypedDict

from omium.types.base import Page


class TenantRef(TypedDict, total=False):
    id: str
    name: str
    slug: str


class RegisteredUser(TypedDict, total=False):
    id: str
    email: str
    first_name: str | None
    last_name: str | None
    tenant_id: str


class Tokens(TypedDict, total=False):
    """`expires_in` is the life of the access token in seconds; the refresh token works once."""

    access_token: str
    refresh_token: str
    expires_in: int


class SignedIn(Tokens, total=False):
    """Only `message` where a mail must be answered first."""

    user: RegisteredUser
    tenant: TenantRef
    message: str


class Membership(TenantRef, total=False):
    user_id: str
    roles: list[str]
    current: bool


class KeyShort(TypedDict, total=False):
    id: str
    name: str
    prefix: str
    scopes: list[str]
    expires_at: str | None


class Me(TypedDict, total=False):
    """Who is asking: a person, or an API key, which has no fields of a person."""

    id: str | None
    email: str | None
    email_verified: bool
    first_name: str | None
    last_name: str | None
    full_name: str | None
    mfa_enabled: bool
    tenant_id: str
    tenant: TenantRef
    roles: list[str]
    permissions: list[str]
    tenants: list[Membership]
    api_key: KeyShort | None


class Told(TypedDict, total=False):
    message: str


class PersonSession(TypedDict, total=False):
    id: str
    method: str
    address: str | None
    user_agent: str | None
    created_at: str
    refreshed_at: str
    expires_at: str
    current: bool


class PersonSessionPage(Page, total=False):
    sessions: list[PersonSession]


class MfaEnrolment(TypedDict, total=False):
    secret: str
    otpauth_uri: str


class RecoveryCodes(TypedDict, total=False):
    recovery_codes: list[str]


class RoleShort(TypedDict, total=False):
    id: str
    name: str


class Member(TypedDict, total=False):
    id: str
    email: str
    first_name: str | None
    last_name: str | None
    full_name: str | None
    role: str | None
    roles: list[RoleShort]
    is_active: bool
    last_login_at: str | None
    created_at: str


class MemberPage(Page, total=False):
    members: list[Member]


class Invitation(TypedDict, total=False):
    id: str
    email: str
    roles: list[RoleShort]
    invited_by: str | None
    created_at: str
    expires_at: str


class InvitationPage(Page, total=False):
    invitations: list[Invitation]


class Role(TypedDict, total=False):
    id: str
    name: str
    description: str | None
    permissions: list[str]
    is_system_role: bool
    created_at: str
    updated_at: str


class RolePage(Page, total=False):
    roles: list[Role]


class Permissions(TypedDict, total=False):
    """`held` are those that the caller holds, and may give to a role."""

    permissions: list[str]
    held: list[str]
