"""API keys: found by their hash before a tenant is known, and managed within one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models.repositories.base import Listing, Page, Repository
from models.repositories.roles import HeldRole, held_roles, select_held_roles
from models.tables import ApiKey
from models.tables.base import now
from omium_core.errors import ApiKeyNotFound


@dataclass(frozen=True)
class KeyOwner:
    """Who a valid key belongs to, and what it may do: `permissions` None is all that its scopes give.

    `roles` are those that the person who made it holds now; None for a key that no person made.
    """

    key_id: UUID
    tenant_id: UUID
    user_id: UUID | None
    scopes: frozenset[str]
    permissions: frozenset[str] | None = None
    roles: tuple[HeldRole, ...] | None = None
    tier: str = "starter"
    #: Requests to the routes of executions in a minute and an hour, where the key has numbers of its own.
    rate_limits: tuple[int | None, int | None] = (None, None)


# one statement for keys that exist and for guesses, so that its time tells nothing
_FIND = text(f"""
SELECT api_keys.id, api_keys.tenant_id, api_keys.user_id, api_keys.scopes, api_keys.permissions,
       api_keys.rate_limit_per_minute, api_keys.rate_limit_per_hour, tenants.subscription_tier,
    CASE WHEN api_keys.user_id IS NOT NULL
        THEN {select_held_roles("api_keys.user_id", "api_keys.tenant_id")} END AS roles
FROM api_keys JOIN tenants ON tenants.id = api_keys.tenant_id
WHERE (api_keys.key_hash = :hash OR (api_keys.previous_hash = :hash AND api_keys.previous_expires_at > :now))
  AND api_keys.is_active AND api_keys.revoked_at IS NULL
  AND (api_keys.expires_at IS NULL OR api_keys.expires_at > :now)
  AND tenants.deleted_at IS NULL
""").bindparams(bindparam("now", type_=DateTime(timezone=True)))  # noqa: S608

_TOUCH = text("""
UPDATE api_keys SET last_used_at = greatest(last_used_at, used.moment)
FROM unnest(:ids, :moments) AS used (id, moment)
WHERE api_keys.id = used.id
""").bindparams(
    bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))), bindparam("moments", type_=ARRAY(DateTime(timezone=True)))
)


async def find_owner(session: AsyncSession, key_hash: str) -> KeyOwner | None:
    """The owner of a key that is active, not expired, and whose tenant is not closed; else None."""
    row = (await session.execute(_FIND, {"hash": key_hash, "now": now()})).one_or_none()
    if row is None:
        return None
    return KeyOwner(
        key_id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        scopes=frozenset(row.scopes),
        permissions=None if row.permissions is None else frozenset(row.permissions),
        roles=None if row.roles is None else held_roles(row.roles),
        tier=row.subscription_tier,
        rate_limits=(row.rate_limit_per_minute, row.rate_limit_per_hour),
    )


async def note_uses(session: AsyncSession, used: Mapping[UUID, datetime]) -> None:
    """Writes when keys of any tenants were last used: one statement, in a transaction of the platform itself."""
    # in the order of their ids, so that two processes do not wait for each other
    ids = sorted(used)
    await session.execute(_TOUCH, {"ids": ids, "moments": [used[key_id] for key_id in ids]})


class KeyRepository(Repository):
    async def add(self, key: ApiKey) -> None:
        self.session.add(key)
        await self.session.flush()

    async def find(self, key_id: UUID, *, lock: bool = False) -> ApiKey | None:
        """A key that was not revoked; one that was is as gone as one that never was."""
        query = select(ApiKey).where(
            col(ApiKey.tenant_id) == self.tenant_id, col(ApiKey.id) == key_id, col(ApiKey.revoked_at).is_(None)
        )
        key: ApiKey | None = (
            await self.session.execute(query.with_for_update() if lock else query)
        ).scalar_one_or_none()
        return key

    async def get(self, key_id: UUID, *, lock: bool = False) -> ApiKey:
        """The same, or `ApiKeyNotFound`."""
        key = await self.find(key_id, lock=lock)
        if key is None:
            raise ApiKeyNotFound(f"API key {key_id} does not exist.", api_key_id=str(key_id))
        return key

    async def list(self, page: Page, *, include_revoked: bool = False) -> Listing[ApiKey]:
        query = select(ApiKey).where(col(ApiKey.tenant_id) == self.tenant_id)
        if not include_revoked:
            query = query.where(col(ApiKey.revoked_at).is_(None))
        return await self._page(query, ApiKey, page)
