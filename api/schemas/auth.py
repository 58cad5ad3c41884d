"""Sign-up, sign-in and what a person does with their own account, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AliasChoices, BaseModel, Field

from api.schemas.common import Line, Request, Text

#: As it is typed; what is no address is told by `api.auth.emails`.
Email = Annotated[Text, Field(min_length=3, max_length=254)]
Password = Annotated[Text, Field(min_length=1, max_length=256)]
PersonName = Annotated[Line, Field(min_length=1, max_length=100)]
TenantName = Annotated[Line, Field(min_length=1, max_length=255)]
Token = Annotated[Text, Field(min_length=1, max_length=4096)]
#: Of an authenticator app, or a recovery code.
Code = Annotated[Text, Field(min_length=1, max_length=32)]
_CODE = AliasChoices("totp_code", "code", "mfa_code")


class RegisterRequest(Request):
    """A new person with a new tenant, whose owner they are."""

    email: Email
    password: Password
    first_name: PersonName | None = None
    last_name: PersonName | None = None
    tenant_name: TenantName | None = None


class LoginRequest(Request):
    """`tenant_id` chooses among several tenants; without it, it is the one of the last time."""

    email: Email
    password: Password
    totp_code: Code | None = Field(default=None, validation_alias=_CODE)
    tenant_id: UUID | None = None


class RefreshRequest(Request):
    refresh_token: Token


class LogoutRequest(Request):
    """Ends the session of the access token, or of `refresh_token`; `everywhere` ends all sessions of the person."""

    refresh_token: Token | None = None
    everywhere: bool = False


class ExchangeRequest(Request):
    """A token of the identity provider's own, for one of ours."""

    access_token: Annotated[Text, Field(min_length=1, max_length=16_384)]
    tenant_id: UUID | None = None


class TokenRequest(Request):
    """A token that came by mail."""

    token: Token


class EmailRequest(Request):
    email: Email


class ResetRequest(Request):
    token: Token
    password: Password = Field(validation_alias=AliasChoices("password", "new_password"))


class ChangePasswordRequest(Request):
    current_password: Password
    new_password: Password


class AcceptRequest(Request):
    """For a new person the password that they choose, for one with an account the one that they have.

    Who is signed in to that account already, and sends the access token along, needs none.
    """

    token: Token
    password: Password | None = None
    totp_code: Code | None = Field(default=None, validation_alias=_CODE)
    first_name: PersonName | None = None
    last_name: PersonName | None = None


class SwitchRequest(Request):
    tenant_id: UUID


class MfaConfirmRequest(Request):
    totp_code: Code = Field(validation_alias=_CODE)


class MfaDisableRequest(Request):
    password: Password
    totp_code: Code = Field(validation_alias=_CODE)


class MfaEnrolRequest(Request):
    password: Password


class RegisteredUser(BaseModel):
    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    tenant_id: UUID


class TenantRef(BaseModel):
    id: UUID
    name: str
    slug: str


class TokenAnswer(BaseModel):
    """`expires_in` is the life of the access token in seconds. A refresh token works once: the answer has the next one."""

    access_token: str
    refresh_token: str
    expires_in: int


class SignedInAnswer(TokenAnswer):
    """Somebody signed in, to this tenant."""

    user: RegisteredUser
    tenant: TenantRef


class Told(BaseModel):
    """What happens next. The same words whether or not the address is known."""

    message: str


class TenantMembership(TenantRef):
    """A tenant that the person belongs to. `current` is the one that the credential is for."""

    user_id: UUID
    roles: list[str]
    current: bool


class KeyShort(BaseModel):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None


class MeView(BaseModel):
    """Who is asking: a person, or an API key, which has no fields of a person."""

    id: UUID | None
    email: str | None
    email_verified: bool
    first_name: str | None
    last_name: str | None
    full_name: str | None
    avatar_url: str | None
    mfa_enabled: bool
    last_login_at: datetime | None
    created_at: datetime | None
    tenant_id: UUID
    user: RegisteredUser | None
    api_key: KeyShort | None
    tenant: TenantRef
    roles: list[str]
    permissions: list[str]
    tenants: list[TenantMembership]


class SessionView(BaseModel):
    id: UUID
    method: str
    address: str | None
    user_agent: str | None
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    current: bool


class SessionList(BaseModel):
    sessions: list[SessionView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class MfaEnrolment(BaseModel):
    """`otpauth_uri` is what an authenticator app reads as a QR code. Nothing is asked for until a code confirms it."""

    secret: str
    otpauth_uri: str


class MfaConfirmed(BaseModel):
    """Shown this once: each signs in once where the app is lost."""

    recovery_codes: list[str]


class OAuthStarted(BaseModel):
    """Where the browser goes next."""

    url: str


class Jwks(BaseModel):
    """The public keys that verify access tokens (RFC 7517)."""

    keys: list[dict[str, Any]]
