"""The keys that sign access tokens: made once for all API processes, published, rotated when they are old.

A new key is published before it signs, so that no process meets a token whose key it has not heard of. One that was rotated
away verifies until the tokens that it signed are over; one that was revoked, at once no more.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm
from sqlalchemy import or_, select, text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.keyring import SystemDoor
from models.tables import SigningKey
from models.tables.base import new_id, now
from omium_core.errors import KeyUnavailable
from omium_core.keyring import KeyWrapper

ALGORITHM = "ES256"
#: Every process knows a new key, and stops to accept a revoked one, within this many seconds.
MEMORY_SECONDS = 2.0
#: A new key signs only when it is so old, unless there is no other.
SETTLING = timedelta(seconds=5)
#: A process that has not heard of a rotation yet may sign with the old key a little longer.
_GRACE = timedelta(minutes=1)
_CONTEXT = b"omium-signing-key"
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('omium-signing-keys', 0))")


@dataclass(frozen=True)
class KeyRing:
    """The keys that count now: the one that signs, and all that verify, by `kid`."""

    signer_id: str
    algorithm: str
    signer: EllipticCurvePrivateKey
    verifiers: dict[str, PyJWK]
    published: tuple[dict[str, Any], ...]


class SigningKeys:
    """The platform's signing keys. Belongs to the event loop of its database."""

    def __init__(self, database: SystemDoor, wrapper: KeyWrapper, token_seconds: int, key_days: int) -> None:
        """A key signs for `key_days`, then another one is made."""
        self._database = database
        self._wrapper = wrapper
        self._token_life = timedelta(seconds=token_seconds) + _GRACE
        self._key_life = timedelta(days=key_days)
        self._known: KeyRing | None = None
        self._read_at = float("-inf")
        self._reading: asyncio.Task[KeyRing] | None = None
        # unwrapping may ask a service over the network
        self._unwrapped: dict[UUID, EllipticCurvePrivateKey] = {}

    async def ring(self) -> KeyRing:
        """The keys of now, at most `MEMORY_SECONDS` old; the first key is made when there is none."""
        if self._known is not None and time.monotonic() - self._read_at < MEMORY_SECONDS:
            return self._known
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)

    async def rotate(self, *, revoke: bool = False) -> UUID:
        """Makes a new key, which signs within seconds. With `revoke`, nothing that was signed before counts any more."""
        async with self._database.system() as session:
            await session.execute(_LOCK)
            if revoke:
                alive = update(SigningKey).where(col(SigningKey.revoked_at).is_(None))
                await session.execute(alive.values(revoked_at=now()))
            made = await self._make(session)
        self._read_at = float("-inf")
        return made.id

    async def _read(self) -> KeyRing:
        asked_at = time.monotonic()
        async with self._database.system() as session:
            rows = await self._alive(session)
            if self._is_due(rows):
                # one process makes the key, the others wait for it
                await session.execute(_LOCK)
                rows = await self._alive(session)
                if self._is_due(rows):
                    rows.append(await self._make(session))
        settled = [row for row in rows if row.created_at <= now() - SETTLING]
        signing = max(settled or rows, key=lambda row: row.id)
        self._known = KeyRing(
            signer_id=str(signing.id),
            algorithm=signing.algorithm,
            signer=await self._unwrap(signing),
            verifiers={str(row.id): PyJWK(row.public_key, algorithm=row.algorithm) for row in rows},
            published=tuple(row.public_key for row in rows),
        )
        self._read_at = asked_at
        return self._known

    def _is_due(self, rows: list[SigningKey]) -> bool:
        oldest = now() - self._key_life
        return not any(row.retired_at is None and row.created_at > oldest for row in rows)

    async def _alive(self, session: AsyncSession) -> list[SigningKey]:
        query = (
            select(SigningKey)
            .where(
                col(SigningKey.revoked_at).is_(None),
                or_(col(SigningKey.retired_at).is_(None), col(SigningKey.retired_at) > now() - self._token_life),
            )
            .order_by(col(SigningKey.id))
        )
        return list((await session.execute(query)).scalars().all())

    async def _make(self, session: AsyncSession) -> SigningKey:
        """A new key instead of the one so far."""
        before = update(SigningKey).where(col(SigningKey.retired_at).is_(None))
        await session.execute(before.values(retired_at=now()))
        key_id, private = new_id(), generate_private_key(SECP256R1())
        secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        master, wrapped = await self._wrapper.wrap(secret, _CONTEXT + key_id.bytes)
        public = {
            **json.loads(ECAlgorithm.to_jwk(private.public_key())),
            "kid": str(key_id),
            "alg": ALGORITHM,
            "use": "sig",
        }
        row = SigningKey(id=key_id, algorithm=ALGORITHM, public_key=public, master_key_id=master, wrapped_key=wrapped)
        session.add(row)
        await session.flush()
        self._unwrapped = {key_id: private}
        return row

    async def _unwrap(self, row: SigningKey) -> EllipticCurvePrivateKey:
        known = self._unwrapped.get(row.id)
        if known is None:
            secret = await self._wrapper.unwrap(row.master_key_id, row.wrapped_key, _CONTEXT + row.id.bytes)
            loaded = load_der_private_key(secret, None)
            if not isinstance(loaded, EllipticCurvePrivateKey):
                raise KeyUnavailable("A signing key is not of the kind that its row says.")
            known = loaded
            self._unwrapped = {row.id: known}
        return known


async def rewrap_signing_keys(session: AsyncSession, wrapper: KeyWrapper) -> int:
    """Wraps all signing keys with the master key of now, so that an older one can be put away. How many there were."""
    rows: list[SigningKey] = list((await session.execute(select(SigningKey))).scalars().all())
    for row in rows:
        context = _CONTEXT + row.id.bytes
        secret = await wrapper.unwrap(row.master_key_id, row.wrapped_key, context)
        row.master_key_id, row.wrapped_key = await wrapper.wrap(secret, context)
        session.add(row)
    await session.flush()
    return len(rows)
