"""The first tenant, its first user and the admin key, for a new installation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import pool, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlmodel import col

from models.database import SYSTEM_ROLE
from models.keys import hash_key, visible_prefix
from models.repositories.limits import UNLIMITED_REQUESTS
from models.repositories.roles import add_system_roles, grant_system_role
from models.repositories.signup import grant_signup_credits
from models.tables import ApiKey, Tenant, User

BOOTSTRAP_SLUG = "default"

#: The first tenant belongs to whoever runs the installation: what is to protect others from it is wide,
#: but for the places of its runs: as many as two cores carry beside somebody else (decision 0016).
_OWN_LIMITS: dict[str, Any] = {
    "limits": UNLIMITED_REQUESTS,
    "max_concurrent_executions": 25,
    "max_checkpoints_per_month": 2_000_000_000,
    "max_api_calls_per_month": 2_000_000_000,
}


async def bootstrap(database_url: str, pepper: str, api_key: str, signup_credits: Decimal | int = 0) -> None:
    """Makes sure that `api_key` is the admin key of the tenant "default". Calling it again changes nothing.

    The tenant begins with `signup_credits`, once it is made.

    A bootstrap key that was in use before is valid again; one that was revoked stays so.
    """
    engine = create_async_engine(database_url, poolclass=pool.NullPool)
    try:
        async with AsyncSession(engine) as session, session.begin():
            # an owner that is no superuser is subject to row security too
            await session.execute(text(f"SET LOCAL ROLE {SYSTEM_ROLE}"))
            made = await session.execute(
                insert(Tenant)
                .values(_row(Tenant(name="Default", slug=BOOTSTRAP_SLUG, **_OWN_LIMITS)))
                .on_conflict_do_nothing()
                .returning(col(Tenant.id))
            )
            is_new = made.scalar_one_or_none() is not None
            tenant = (await session.execute(select(Tenant).where(Tenant.slug == BOOTSTRAP_SLUG))).scalar_one()  # type: ignore[arg-type]
            if is_new:
                await grant_signup_credits(session, tenant.id, signup_credits)
            user = User(tenant_id=tenant.id, email="admin@localhost", full_name="Administrator")
            await session.execute(insert(User).values(_row(user)).on_conflict_do_nothing())
            await add_system_roles(session, tenant.id)
            by_address = select(User.id).where(User.tenant_id == tenant.id, User.email == user.email)  # type: ignore[call-overload]
            owner: UUID = (await session.execute(by_address)).scalar_one()
            await grant_system_role(session, tenant.id, owner, "owner")
            digest = hash_key(pepper, api_key)
            key = ApiKey(
                tenant_id=tenant.id,
                name="bootstrap",
                key_prefix=visible_prefix(api_key),
                key_hash=digest,
                scopes=["read", "write", "admin"],
            )
            await session.execute(
                insert(ApiKey)
                .values(_row(key))
                .on_conflict_do_update(
                    index_elements=["key_hash"],
                    set_={"is_active": True},
                    where=(col(ApiKey.tenant_id) == tenant.id) & (col(ApiKey.name) == "bootstrap"),
                )
            )
            # the newest bootstrap key is the valid one: an older one may have been replaced because it leaked
            await session.execute(
                update(ApiKey)
                .where(ApiKey.tenant_id == tenant.id, ApiKey.name == "bootstrap", ApiKey.key_hash != digest)  # type: ignore[arg-type]
                .values(is_active=False)
            )
    finally:
        await engine.dispose()


def _row(record: Tenant | User | ApiKey) -> dict[str, object]:
    return record.model_dump()
