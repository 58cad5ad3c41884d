"""People: the accounts that sign in, the users that tenants know, their roles, sessions and invitations, and what signs tokens.

An account is a person to the platform: one address, one password. A user is that person within one tenant, so that what a
tenant stores about its people is under its own row security. Accounts, their tokens, failed guesses and signing keys belong
to no tenant; the application's role has no grant on them at all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from models.tables.base import Table, id_field, json_field, now, optional_time_field, time_field

#: Tables that belong to the platform and to no tenant.
PLATFORM_TABLES = frozenset(
    {
        *("accounts", "account_tokens", "oauth_states", "sign_in_failures", "signing_keys"),
        *("stripe_webhook_events", "stripe_cursors"),
    }
)


class Account(Table, table=True):
    """Somebody who can sign in, to any number of tenants. `email` is normalised and in lower case."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("auth_provider IN ('local', 'supabase')", name="valid_auth_provider"),
        UniqueConstraint("auth_provider", "oauth_provider_id"),
    )

    id: UUID = id_field()
    email: str = Field(max_length=320, unique=True)
    email_verified_at: datetime | None = optional_time_field()
    hashed_password: str | None = Field(default=None, max_length=255)
    auth_provider: str = Field(default="local", max_length=50)
    #: The person's id at the identity provider; None for those who sign in here.
    oauth_provider_id: str | None = Field(default=None, max_length=255)
    mfa_enabled: bool = False
    #: Wrapped by the master key named beside it.
    mfa_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    mfa_master_key_id: str | None = Field(default=None, max_length=255)
    #: The period of the last code that was taken: none of it or before it is taken again.
    mfa_last_period: int | None = Field(default=None, sa_type=BigInteger)
    #: Hashes of the recovery codes that are left.
    recovery_codes: list[str] = json_field(default_factory=list, nullable=False)
    last_login_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class AccountToken(Table, table=True):
    """A token that was mailed to an address: works once, until it expires. Deleted when it is used."""

    __tablename__ = "account_tokens"
    __table_args__ = (CheckConstraint("purpose IN ('verify_email', 'reset_password')", name="valid_purpose"),)

    id: UUID = id_field()
    account_id: UUID = Field(foreign_key="accounts.id", ondelete="CASCADE", index=True)
    purpose: str = Field(max_length=50)
    token_hash: str = Field(max_length=64, unique=True)
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
    created_at: datetime = time_field()


class OAuthState(Table, table=True):
    """A sign-in at another site that has begun. Deleted when its browser comes back."""

    __tablename__ = "oauth_states"

    state_hash: str = Field(max_length=64, primary_key=True)
    provider: str = Field(max_length=50)
    expires_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class SignInFailure(Table, table=True):
    """How often somebody guessed wrong lately. The key is a hash: neither addresses nor networks are kept."""

    __tablename__ = "sign_in_failures"

    key_hash: str = Field(max_length=64, primary_key=True)
    failures: int = 0
    last_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True), index=True)
    blocked_until: datetime | None = optional_time_field()


class SigningKey(Table, table=True):
    """A key that signs access tokens. Its id is the `kid`; the private part is wrapped by a master key."""

    __tablename__ = "signing_keys"

    id: UUID = id_field()
    algorithm: str = Field(max_length=10)
    #: As it is published.
    public_key: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    master_key_id: str = Field(max_length=255)
    wrapped_key: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = time_field()
    #: It signs no more from then on, and verifies until its last tokens are over.
    retired_at: datetime | None = optional_time_field()
    #: Nothing that it signed counts from then on.
    revoked_at: datetime | None = optional_time_field()


class User(Table, table=True):
    """A person who works for a tenant. One without an account cannot sign in; one who was removed keeps the row, for the audit."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("tenant_id", "email"), UniqueConstraint("tenant_id", "account_id"))

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    account_id: UUID | None = Field(default=None, foreign_key="accounts.id", ondelete="SET NULL", index=True)
    email: str = Field(max_length=320, index=True)
    first_name: str | None = Field(default=None, max_length=100)
    last_name: str | None = Field(default=None, max_length=100)
    full_name: str | None = Field(default=None, max_length=255)
    avatar_url: str | None = Field(default=None, max_length=500)
    timezone: str = Field(default="UTC", max_length=50)
    preferences: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    is_active: bool = True
    last_login_at: datetime | None = optional_time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    removed_at: datetime | None = optional_time_field()


class Role(Table, table=True):
    """A set of permissions with a name. What a system role holds is the platform's to say, not this row's."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    name: str = Field(max_length=100)
    description: str | None = None
    permissions: list[str] = json_field(default_factory=list, nullable=False)
    is_system_role: bool = False
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class UserRole(Table, table=True):
    """A user holds a role."""

    __tablename__ = "user_roles"

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    role_id: UUID = Field(foreign_key="roles.id", ondelete="CASCADE", primary_key=True, index=True)
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    granted_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    granted_at: datetime = time_field()


class Session(Table, table=True):
    """A person who signed in to a tenant: the family of refresh tokens, of which only the `generation` of now works."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_account_network", "account_id", "network"),)

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    account_id: UUID = Field(foreign_key="accounts.id", ondelete="CASCADE")
    #: How the person signed in: password, google, github, invitation, switch.
    method: str = Field(max_length=50)
    generation: int = 1
    salt: bytes = Field(sa_type=LargeBinary)
    address: str | None = Field(default=None, max_length=64)
    #: The network of the address: a person who signed in from there before is no stranger there.
    network: str | None = Field(default=None, max_length=64)
    user_agent: str | None = Field(default=None, max_length=255)
    created_at: datetime = time_field()
    refreshed_at: datetime = time_field()
    expires_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)
    ended_at: datetime | None = optional_time_field()
    #: logout, password, removed, reused, account.
    end_reason: str | None = Field(default=None, max_length=50)


class Invitation(Table, table=True):
    """An address that may join a tenant with these roles: once, until it expires or is revoked."""

    __tablename__ = "invitations"

    id: UUID = id_field()
    tenant_id: UUID = Field(foreign_key="tenants.id", ondelete="CASCADE", index=True)
    email: str = Field(max_length=320, index=True)
    #: Ids of roles.
    roles: list[str] = json_field(default_factory=list, nullable=False)
    token_hash: str = Field(max_length=64, unique=True)
    invited_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
    created_at: datetime = time_field()
    accepted_at: datetime | None = optional_time_field()
    accepted_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    revoked_at: datetime | None = optional_time_field()
