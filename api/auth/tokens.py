"""Access tokens: signed with the platform's newest key, verified strictly, without a question to anybody."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import jwt
from cachetools import TTLCache
from uuid_utils.compat import uuid7

from models.repositories.sessions import Standing
from models.signing import SigningKeys
from omium_core.errors import NotAuthenticated, TokenExpired

TYPE = "access"
LONGEST = 16_384
#: Clocks of servers may be off by this many seconds.
LEEWAY = 5
_REQUIRED = ("sub", "tenant_id", "sid", "typ", "iat", "exp", "iss", "aud", "jti")
_INVALID = "The access token is not valid."


@dataclass(frozen=True)
class Claims:
    """What a token says about who it is for; what that person may do is looked up."""

    session_id: UUID
    user_id: UUID
    tenant_id: UUID
    key_id: str
    expires_at: float


class AccessTokens:
    def __init__(self, keys: SigningKeys, issuer: str, audience: str, seconds: int) -> None:
        self.keys = keys
        self.seconds = seconds
        self._issuer = issuer
        self._audience = audience
        # verifying a signature takes far longer than to remember that it was verified
        self._verified: TTLCache[str, Claims] = TTLCache(maxsize=10_000, ttl=60)

    async def issue(self, standing: Standing, permissions: Iterable[str]) -> str:
        ring = await self.keys.ring()
        issued_at = int(time.time())
        claims = {
            "sub": str(standing.user_id),
            "tenant_id": str(standing.tenant_id),
            "sid": str(standing.session_id),
            "email": standing.email,
            "roles": [role.name for role in standing.roles],
            "permissions": sorted(permissions),
            "typ": TYPE,
            "iss": self._issuer,
            "aud": self._audience,
            "iat": issued_at,
            "exp": issued_at + self.seconds,
            "jti": str(uuid7()),
        }
        return jwt.encode(claims, ring.signer, algorithm=ring.algorithm, headers={"kid": ring.signer_id})

    async def verify(self, token: str) -> Claims:
        """Raises `TokenExpired`, and `NotAuthenticated` for everything else that is wrong."""
        ring = await self.keys.ring()
        claims = self._verified.get(token)
        if claims is None or claims.key_id not in ring.verifiers:
            claims = self._judge(token, ring.verifiers)
            self._verified[token] = claims
        if claims.expires_at + LEEWAY <= time.time():
            raise TokenExpired("The access token is over. Ask for another with the refresh token.")
        return claims

    def _judge(self, token: str, keys: dict[str, jwt.PyJWK]) -> Claims:
        if len(token) > LONGEST:
            raise NotAuthenticated(_INVALID)
        try:
            header = jwt.get_unverified_header(token)
            key = keys.get(header.get("kid", ""))
            # the key says which algorithm it is for, never the token
            if key is None or header.get("alg") != key.algorithm_name or header.get("typ") != "JWT":
                raise NotAuthenticated(_INVALID)
            found = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": list(_REQUIRED), "strict_aud": True},
            )
            if found["typ"] != TYPE:
                raise NotAuthenticated(_INVALID)
            return Claims(
                session_id=UUID(found["sid"]),
                user_id=UUID(found["sub"]),
                tenant_id=UUID(found["tenant_id"]),
                key_id=header["kid"],
                expires_at=float(found["exp"]),
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("The access token is over. Ask for another with the refresh token.") from error
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise NotAuthenticated(_INVALID) from error
