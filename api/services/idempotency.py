"""Idempotency-Keys: the same request sent twice has one effect, the same key on another request is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from api.auth.principal import Principal
from models.database import Database
from models.repositories.idempotency import IdempotencyRepository
from omium_core.errors import IdempotencyConflict


class KeyTaken(Exception):
    """The key was claimed by a request that was quicker."""


def request_hash(*parts: Any) -> str:
    """Equal for equal requests, whichever door they came through. `parts` are JSON data and ids."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def command_id(action: str, key: str | None) -> str:
    """What a command is known by in the run: the same for the same key, else a new one."""
    return f"{action}-{uuid7() if key is None else 'key-' + hashlib.sha256(key.encode()).hexdigest()[:32]}"


async def earlier(session: AsyncSession, caller: Principal, key: str | None, digest: str) -> UUID | None:
    """The execution that a request with this key was about; `IdempotencyConflict` if that was another request."""
    if key is None:
        return None
    known = await IdempotencyRepository(session, caller.tenant_id).find(key)
    if known is None:
        return None
    if known.request_hash != digest:
        raise IdempotencyConflict(
            "This Idempotency-Key was used for another request.", execution_id=str(known.execution_id)
        )
    return known.execution_id


async def claim(session: AsyncSession, caller: Principal, key: str | None, digest: str, execution_id: UUID) -> None:
    """Makes the key ours, if there is one. Raises `KeyTaken`."""
    keys = IdempotencyRepository(session, caller.tenant_id)
    if key is not None and not await keys.claim(key, digest, execution_id):
        raise KeyTaken


async def is_repeated(database: Database, caller: Principal, key: str | None, digest: str, execution_id: UUID) -> bool:
    """Whether a command with this key was sent before; else the key is claimed for it."""
    if key is None:
        return False
    async with database.transaction(caller.tenant_id) as session:
        if await earlier(session, caller, key, digest) is not None:
            return True
        try:
            await claim(session, caller, key, digest, execution_id)
        except KeyTaken:
            await earlier(session, caller, key, digest)
            return True
    return False
