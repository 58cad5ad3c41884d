"""What one API process holds for people who sign in: made once at start."""

from __future__ import annotations

from dataclasses import dataclass

from api.auth.guessing import GuessLimiter
from api.auth.identity import IdentityProvider
from api.auth.letters import Letters
from api.auth.local import LocalIdentities
from api.auth.passwords import Passwords
from api.auth.people import PersonAuthenticator
from api.auth.secrets import Secrets
from api.auth.supabase import SupabaseIdentities
from api.auth.tokens import AccessTokens
from models.database import Database
from models.signing import SigningKeys
from omium_core.keyring import KeyWrapper
from omium_core.mail import Mailroom, mail_sender
from omium_core.settings import Settings


@dataclass(frozen=True)
class People:
    wrapper: KeyWrapper
    secrets: Secrets
    passwords: Passwords
    limiter: GuessLimiter
    mailroom: Mailroom
    letters: Letters
    provider: IdentityProvider
    tokens: AccessTokens
    authenticator: PersonAuthenticator


def open_people(settings: Settings, database: Database) -> People:
    """Raises `ConfigurationError` when a setting cannot be used."""
    wrapper = database.keys.wrapper
    secrets = Secrets(settings.api_key_pepper.get_secret_value())
    passwords = Passwords(settings.password_memory_kib, settings.password_passes)
    limiter = GuessLimiter(database, secrets)
    mailroom = Mailroom(mail_sender(settings))
    letters = Letters(settings.app_url)
    provider: IdentityProvider
    if settings.identity_provider == "supabase":
        key = settings.supabase_key
        provider = SupabaseIdentities(
            settings.supabase_url or "", key.get_secret_value() if key else "", settings.app_url
        )
    else:
        provider = LocalIdentities(
            database,
            wrapper,
            secrets,
            passwords,
            limiter,
            mailroom,
            letters,
            must_verify=settings.require_verified_email,
        )
    signing = SigningKeys(database, wrapper, settings.access_token_seconds, settings.signing_key_days)
    tokens = AccessTokens(
        signing, settings.public_url.rstrip("/"), settings.token_audience, settings.access_token_seconds
    )
    return People(
        wrapper=wrapper,
        secrets=secrets,
        passwords=passwords,
        limiter=limiter,
        mailroom=mailroom,
        letters=letters,
        provider=provider,
        tokens=tokens,
        authenticator=PersonAuthenticator(database, tokens),
    )
