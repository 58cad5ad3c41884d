"""The one interface of those who know people's passwords; `local` and `supabase` implement it.

A provider says who somebody is and nothing else: accounts, tenants, roles, sessions and tokens are Omium's own whoever says it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True)
class Identity:
    """A person, as a provider vouches for. `email` is normalised; `subject` is the person's id there.

    `hashed_password` is what a new account here has to keep; None for those whose passwords are kept elsewhere.
    """

    provider: str
    subject: str
    email: str
    email_verified: bool
    method: str = "password"
    first_name: str | None = None
    last_name: str | None = None
    avatar_url: str | None = None
    hashed_password: str | None = field(default=None, repr=False)
    #: What a new person wished to call their tenant, where a mail came in between.
    tenant_name: str | None = None


@dataclass(frozen=True)
class NewPerson:
    """Somebody who asks for an account, or was invited."""

    email: str
    password: str = field(repr=False)
    first_name: str | None = None
    last_name: str | None = None
    tenant_name: str | None = None


@dataclass(frozen=True)
class OAuthStart:
    """Where the browser is sent, and what it keeps until it comes back."""

    url: str
    verifier: str


class IdentityProvider(Protocol):
    """Errors of all methods: `InvalidInput` for what the person can mend, `Unavailable` when the provider is away."""

    @property
    def name(self) -> str: ...

    async def sign_up(self, person: NewPerson) -> Identity | None:
        """Makes a new person; None when a mail must be answered first, also where the address is somebody's already.

        Raises `EmailUnavailable` where the provider tells that the address is somebody's.
        """

    async def sign_in(self, email: str, password: str, code: str | None) -> Identity:
        """Raises `NotAuthenticated`, `MfaRequired` when the password is right and a code is missing, `EmailNotVerified`."""

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        """Raises `NotSupported`."""

    async def finish_oauth(self, provider: str, code: str, verifier: str) -> Identity:
        """Raises `NotAuthenticated`, `NotSupported`."""

    async def exchange(self, token: str) -> Identity:
        """Who a token of the provider's own is for. Raises `NotAuthenticated`, `NotSupported`."""

    async def send_verification(self, email: str) -> None:
        """Mails a token that shows that the address is the person's; nothing where there is nobody to mail to."""

    async def verify_email(self, token: str) -> str:
        """The address that is verified now. Raises `NotAuthenticated`."""

    async def send_reset(self, email: str) -> None:
        """Mails a token with which the password can be set; nothing where there is nobody to mail to."""

    async def reset_password(self, token: str, password: str) -> str:
        """The address whose password was set. Raises `NotAuthenticated`."""

    async def change_password(self, account_id: UUID, email: str, current: str, password: str) -> None:
        """Raises `NotAuthenticated` when `current` is not the password."""
