"""Roles of a tenant, and who holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models.repositories.base import Listing, Page, Repository
from models.tables import Role, User, UserRole
from omium_core.errors import RoleNotFound

#: Every tenant has these, under these names; what each may do is said by `api.auth.permissions`.
SYSTEM_ROLES = ("owner", "admin", "developer", "operator", "billing", "viewer")


@dataclass(frozen=True)
class HeldRole:
    """A role of a person; what a system role holds is not stored with it."""

    name: str
    is_system_role: bool
    permissions: frozenset[str]


def held_roles(rows: Iterable[Mapping[str, Any]]) -> tuple[HeldRole, ...]:
    """Roles as `select_held_roles` answers them."""
    return tuple(HeldRole(row["name"], row["system"], frozenset(map(str, row["permissions"]))) for row in rows)


def select_held_roles(user_id: str, tenant_id: str) -> str:
    """SQL for the roles of a member, as JSON; `user_id` and `tenant_id` are columns. None are left of who was removed."""
    return f"""coalesce((
        SELECT json_agg(json_build_object('name', r.name, 'system', r.is_system_role, 'permissions', r.permissions)
            ORDER BY r.id)
        FROM user_roles ur JOIN roles r ON r.id = ur.role_id JOIN users m ON m.id = ur.user_id
        WHERE ur.user_id = {user_id} AND r.tenant_id = {tenant_id} AND m.is_active AND m.removed_at IS NULL
    ), '[]')"""  # noqa: S608 - columns that the code names


async def add_system_roles(session: AsyncSession, tenant_id: UUID) -> None:
    """Makes the system roles that a tenant lacks. For the platform's own transactions."""
    rows = [
        Role(tenant_id=tenant_id, name=name, permissions=[], is_system_role=True).model_dump() for name in SYSTEM_ROLES
    ]
    await session.execute(insert(Role).values(rows).on_conflict_do_nothing())


async def grant_system_role(session: AsyncSession, tenant_id: UUID, user_id: UUID, name: str) -> None:
    """Gives a user a system role of the tenant, if the user lacks it. For the platform's own transactions."""
    role_id = select(col(Role.id)).where(col(Role.tenant_id) == tenant_id, col(Role.name) == name)
    found = (await session.execute(role_id)).scalar_one()
    row = UserRole(tenant_id=tenant_id, user_id=user_id, role_id=found).model_dump()
    await session.execute(insert(UserRole).values(row).on_conflict_do_nothing())


async def grant_roles(
    session: AsyncSession, tenant_id: UUID, user_id: UUID, role_ids: Sequence[UUID], granted_by: UUID | None
) -> None:
    """Gives a user those of these roles that the tenant has still. For the platform's own transactions."""
    query = select(col(Role.id)).where(col(Role.tenant_id) == tenant_id, col(Role.id).in_(role_ids))
    for role_id in (await session.execute(query)).scalars().all():
        row = UserRole(tenant_id=tenant_id, user_id=user_id, role_id=role_id, granted_by=granted_by).model_dump()
        await session.execute(insert(UserRole).values(row).on_conflict_do_nothing())


class RoleRepository(Repository):
    def add(self, role: Role) -> None:
        self.session.add(role)

    async def get(self, role_id: UUID) -> Role:
        """The role, or `RoleNotFound`."""
        query = select(Role).where(col(Role.tenant_id) == self.tenant_id, col(Role.id) == role_id)
        role = (await self.session.execute(query)).scalar_one_or_none()
        if role is None:
            raise RoleNotFound(f"Role {role_id} does not exist.", role_id=str(role_id))
        return role

    async def named(self, name: str) -> Role | None:
        """The role of this name, whatever its capitals."""
        query = select(Role).where(col(Role.tenant_id) == self.tenant_id, func.lower(col(Role.name)) == name.lower())
        return (await self.session.execute(query)).scalars().first()

    async def list(self, page: Page, *, is_system_role: bool | None = None) -> Listing[Role]:
        query = select(Role).where(col(Role.tenant_id) == self.tenant_id)
        if is_system_role is not None:
            query = query.where(col(Role.is_system_role) == is_system_role)
        return await self._page(query, Role, page)

    async def all_of(self, role_ids: Iterable[UUID]) -> Sequence[Role]:
        """Those of these ids that the tenant has."""
        query = select(Role).where(col(Role.tenant_id) == self.tenant_id, col(Role.id).in_(list(role_ids)))
        return (await self.session.execute(query.order_by(col(Role.id)))).scalars().all()

    async def held_by(self, user_ids: Iterable[UUID]) -> Mapping[UUID, Sequence[Role]]:
        """The roles of these users, in the order in which they were made."""
        query = (
            select(col(UserRole.user_id), Role)
            .join(Role, col(Role.id) == col(UserRole.role_id))
            .where(col(UserRole.tenant_id) == self.tenant_id, col(UserRole.user_id).in_(list(user_ids)))
            .order_by(col(Role.id))
        )
        rows: Sequence[Any] = (await self.session.execute(query)).all()
        held: dict[UUID, Any] = {}
        for user_id, role in rows:
            held.setdefault(user_id, []).append(role)
        return held

    async def set_held(self, user_id: UUID, role_ids: Iterable[UUID], granted_by: UUID | None) -> None:
        """From now on the user holds these roles and no other."""
        wanted = set(role_ids)
        await self.session.execute(
            delete(UserRole).where(
                col(UserRole.tenant_id) == self.tenant_id,
                col(UserRole.user_id) == user_id,
                col(UserRole.role_id).not_in(wanted),
            )
        )
        for role_id in sorted(wanted):
            row = UserRole(tenant_id=self.tenant_id, user_id=user_id, role_id=role_id, granted_by=granted_by)
            await self.session.execute(insert(UserRole).values(row.model_dump()).on_conflict_do_nothing())

    async def count_holders(self, role_id: UUID) -> int:
        """How many active members hold a role."""
        query = (
            select(func.count())
            .select_from(UserRole)
            .join(User, col(User.id) == col(UserRole.user_id))
            .where(
                col(UserRole.tenant_id) == self.tenant_id,
                col(UserRole.role_id) == role_id,
                col(User.removed_at).is_(None),
                col(User.is_active),
            )
        )
        return int((await self.session.execute(query)).scalar_one())

    async def delete(self, role: Role) -> None:
        await self.session.delete(role)
        await self.session.flush()
