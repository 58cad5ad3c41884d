"""People whose passwords a Supabase project keeps: passwords, Google and GitHub with PKCE, tokens verified by its JWKS.

The client of Supabase becomes the person who signs in with it, so there is one for each request. Its library is loaded when
it is first needed: it is slow to load, and most installations have no use for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast
from uuid import UUID

import httpx
import jwt
from jwt import PyJWK, PyJWKSet

from api.auth.emails import normalised
from api.auth.identity import Identity, NewPerson, OAuthStart
from omium_core.errors import (
    EmailNotVerified,
    EmailUnavailable,
    InvalidInput,
    MfaRequired,
    NotAuthenticated,
    NotSupported,
    Problem,
    TooManyAttempts,
    Unavailable,
)

if TYPE_CHECKING:
    from supabase import AsyncClient
    from supabase_auth import AsyncSupportedStorage
    from supabase_auth.errors import AuthError
    from supabase_auth.types import Options
    from supabase_auth.types import User as SupabaseUser

OAUTH_PROVIDERS = ("google", "github")
#: Secrets that the project shares with whoever verifies are refused: a token would be as good as a public key.
_ALGORITHMS = ["RS256", "ES256"]
_AUDIENCE = "authenticated"
_TIMEOUT = 10.0
_JWKS_SECONDS = 600.0
_JWKS_PAUSE = 5.0
_LEEWAY = 10
_WRONG = "The address, the password or the code is wrong."


class SupabaseIdentities:
    """An `IdentityProvider`."""

    name = "supabase"

    def __init__(self, url: str, key: str, app_url: str | None) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._app_url = app_url.rstrip("/") if app_url else None
        self._jwks = Jwks(f"{self._url}/auth/v1/.well-known/jwks.json", key)

    async def sign_up(self, person: NewPerson) -> Identity | None:
        names = {name: getattr(person, name) for name in ("first_name", "last_name", "tenant_name")}
        async with self._client() as client:
            answer = await client.auth.sign_up(
                {
                    "email": person.email,
                    "password": person.password,
                    "options": {"data": {name: value for name, value in names.items() if value}},
                }
            )
            if answer.session is None or answer.user is None:
                return None
            return await self._verified(answer.session.access_token, answer.user)

    async def sign_in(self, email: str, password: str, code: str | None) -> Identity:
        async with self._client() as client:
            answer = await client.auth.sign_in_with_password({"email": email, "password": password})
            if answer.session is None or answer.user is None:
                raise NotAuthenticated(_WRONG)
            identity = await self._verified(answer.session.access_token, answer.user)
            factors = [factor for factor in answer.user.factors or [] if factor.status == "verified"]
            if factors:
                if not code:
                    raise MfaRequired("Send the code of your authenticator app as totp_code.")
                await client.auth.mfa.challenge_and_verify({"factor_id": factors[0].id, "code": code})
            return identity

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        if provider not in OAUTH_PROVIDERS:
            raise NotSupported(f"{provider} is none of: {', '.join(OAUTH_PROVIDERS)}.")
        verifier = _Verifier()
        async with self._client(verifier) as client:
            answer = await client.auth.sign_in_with_oauth(
                {"provider": "google" if provider == "google" else "github", "options": {"redirect_to": redirect_to}}
            )
        return OAuthStart(answer.url, verifier.value())

    async def finish_oauth(self, provider: str, code: str, verifier: str) -> Identity:
        async with self._client() as client:
            answer = await client.auth.exchange_code_for_session(
                {"auth_code": code, "code_verifier": verifier, "redirect_to": ""}
            )
            if answer.session is None or answer.user is None:
                raise NotAuthenticated("The sign-in was not completed. Begin again.")
            return await self._verified(answer.session.access_token, answer.user, method=provider)

    async def exchange(self, token: str) -> Identity:
        claims = await self._claims(token)
        async with self._client() as client:
            answer = await client.auth.get_user(token)
        if answer is None or answer.user.id != claims["sub"]:
            raise NotAuthenticated("The token is not valid.")
        factors = [factor for factor in answer.user.factors or [] if factor.status == "verified"]
        if factors and claims.get("aal") != "aal2":
            raise MfaRequired("The token was given without the code that the account asks for.")
        return _identity(answer.user, method="exchange")

    async def send_verification(self, email: str) -> None:
        async with self._client() as client:
            await client.auth.resend({"type": "signup", "email": email})

    async def verify_email(self, token: str) -> str:
        async with self._client() as client:
            answer = await client.auth.verify_otp({"token_hash": token, "type": "email"})
        return _email_of(answer.user)

    async def send_reset(self, email: str) -> None:
        options: Options = {"redirect_to": f"{self._app_url}/reset-password"} if self._app_url else {}
        async with self._client() as client:
            await client.auth.reset_password_for_email(email, options)

    async def reset_password(self, token: str, password: str) -> str:
        async with self._client() as client:
            answer = await client.auth.verify_otp({"token_hash": token, "type": "recovery"})
            await client.auth.update_user({"password": password})
        return _email_of(answer.user)

    async def change_password(self, account_id: UUID, email: str, current: str, password: str) -> None:
        async with self._client() as client:
            await client.auth.sign_in_with_password({"email": email, "password": current})
            await client.auth.update_user({"password": password})

    @asynccontextmanager
    async def _client(self, storage: _Verifier | None = None) -> AsyncIterator[AsyncClient]:
        """A client for one request, whose errors become ours."""
        # not in the loop: for about a second it would answer nobody else
        await asyncio.to_thread(_load)
        from supabase import AsyncClient, AsyncClientOptions
        from supabase_auth.errors import AuthApiError, AuthError

        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            options = AsyncClientOptions(
                auto_refresh_token=False, persist_session=False, flow_type="pkce", httpx_client=http
            )
            if storage is not None:
                options.storage = cast("AsyncSupportedStorage", storage)
            try:
                yield await AsyncClient.create(self._url, self._key, options)
            except AuthApiError as error:
                _translate(error, error.status)
            except AuthError as error:
                _translate(error, getattr(error, "status", 0) or 0)
            except httpx.HTTPError as error:
                raise Unavailable("The identity provider does not answer; try again in a moment.") from error

    async def _verified(self, token: str, user: SupabaseUser, method: str = "password") -> Identity:
        """The person whom the provider's answer is about, if its token says the same and is well signed."""
        claims = await self._claims(token)
        if claims["sub"] != user.id:
            raise NotAuthenticated("The identity provider's answer contradicts itself.")
        return _identity(user, method)

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in _ALGORITHMS:
                raise NotAuthenticated("The token is not signed with RS256 or ES256.")
            key = await self._jwks.key(str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=_AUDIENCE,
                issuer=f"{self._url}/auth/v1",
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise NotAuthenticated("The token is over.") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise NotAuthenticated("The token is not valid.") from error
        return claims


class Jwks:
    """The public keys of a project, remembered for ten minutes; asked again for a key that is not among them."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._api_key = api_key
        self._keys: dict[str, PyJWK] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def key(self, kid: str) -> PyJWK:
        """Raises `NotAuthenticated` for a key that the project does not have, `Unavailable`."""
        async with self._reading:
            age = time.monotonic() - self._read_at
            # one who sends made-up ids must not make us ask at every token
            if age > _JWKS_SECONDS or (kid not in self._keys and age > _JWKS_PAUSE):
                await self._read()
        if kid not in self._keys:
            raise NotAuthenticated("The token is signed with a key that the identity provider does not have.")
        return self._keys[kid]

    async def _read(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
                answer = await http.get(self._url, headers={"apikey": self._api_key})
                answer.raise_for_status()
                found = PyJWKSet.from_dict(answer.json()).keys if answer.json().get("keys") else []
        except (httpx.HTTPError, ValueError, jwt.PyJWTError) as error:
            raise Unavailable("The keys of the identity provider cannot be read; try again in a moment.") from error
        self._keys = {key.key_id: key for key in found if key.key_id and key.algorithm_name in _ALGORITHMS}
        self._read_at = time.monotonic()


class _Verifier:
    """The client's storage, from which the verifier that it made is taken: the browser keeps it, and nobody else."""

    def __init__(self) -> None:
        self._items: dict[str, str] = {}

    async def get_item(self, key: str) -> str | None:
        return self._items.get(key)

    async def set_item(self, key: str, value: str) -> None:
        self._items[key] = value

    async def remove_item(self, key: str) -> None:
        self._items.pop(key, None)

    def value(self) -> str:
        return next(value for key, value in self._items.items() if key.endswith("-code-verifier"))


def _load() -> None:
    import supabase  # noqa: F401


def _identity(user: SupabaseUser, method: str) -> Identity:
    # what a person may write about themselves is no proof: whether the address is confirmed is not read from there
    told = user.user_metadata or {}
    full = _text(told.get("full_name") or told.get("name"))
    first, _, last = (full or "").partition(" ")
    return Identity(
        "supabase",
        user.id,
        _email_of(user),
        user.email_confirmed_at is not None,
        method,
        first_name=_text(told.get("first_name")) or first[:100] or None,
        last_name=_text(told.get("last_name")) or last[:100] or None,
        avatar_url=_text(told.get("avatar_url"), 500),
        tenant_name=_text(told.get("tenant_name"), 255),
    )


def _email_of(user: SupabaseUser | None) -> str:
    if user is None or not user.email:
        raise InvalidInput("The identity provider knows no address of this person.", [Problem("email", "is missing")])
    return normalised(user.email)


def _text(value: object, longest: int = 100) -> str | None:
    return value[:longest].replace("\x00", "") or None if isinstance(value, str) else None


def _translate(error: AuthError, status: int) -> NoReturn:
    """The provider's error as ours."""
    code = str(error.code or "")
    if code in ("user_already_exists", "email_exists"):
        raise EmailUnavailable("This address cannot be registered. Sign in, or reset the password.") from error
    if code == "weak_password":
        raise InvalidInput(f"password: {error}", [Problem("password", str(error))]) from error
    if code == "email_not_confirmed":
        raise EmailNotVerified("Confirm your address first: a mail tells how.") from error
    if code in ("provider_disabled", "oauth_provider_not_supported", "email_provider_disabled", "signup_disabled"):
        raise NotSupported(f"The identity provider does not do this: {error}") from error
    if code in ("over_request_rate_limit", "over_email_send_rate_limit") or status == 429:
        raise TooManyAttempts(
            "The identity provider asks for patience. Try again in a minute.", retry_after=60
        ) from error
    if status >= 500 or status == 0:
        raise Unavailable("The identity provider does not answer; try again in a moment.") from error
    raise NotAuthenticated(_WRONG) from error
