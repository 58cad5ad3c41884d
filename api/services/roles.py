"""Roles: what the system roles hold is the platform's to say; the others are made, changed and deleted here."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from api.auth.people import held_by
from api.auth.permissions import ALL, SYSTEM_ROLES
from api.auth.principal import Principal
from api.schemas.roles import RoleCreate, RoleUpdate
from api.services.auditing import audited
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.members import MemberRepository
from models.repositories.roles import RoleRepository
from models.tables import Role
from models.tables.base import now
from omium_core.errors import Conflict, InvalidInput, NotPermitted, Problem, RoleInUse


class RoleService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def list(self, caller: Principal, page: Page, *, is_system_role: bool | None) -> Listing[Role]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await RoleRepository(session, caller.tenant_id).list(page, is_system_role=is_system_role)

    async def get(self, caller: Principal, role_id: UUID) -> Role:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await RoleRepository(session, caller.tenant_id).get(role_id)

    async def create(self, caller: Principal, wanted: RoleCreate) -> Role:
        """Raises `NotPermitted` for a permission that the caller lacks, `Conflict` for a name that is taken."""
        permissions = check_permissions(wanted.permissions)
        check_holds(caller, permissions)
        async with self._process.database.transaction(caller.tenant_id) as session:
            await MemberRepository(session, caller.tenant_id).lock_tenant()
            roles = RoleRepository(session, caller.tenant_id)
            await _check_free(roles, wanted.name)
            role = Role(
                tenant_id=caller.tenant_id,
                name=wanted.name,
                description=wanted.description,
                permissions=sorted(permissions),
            )
            roles.add(role)
            await session.flush()
            await audited(session, caller, "role.create", "role", role.id, new=_told(role))
        return role

    async def update(self, caller: Principal, role_id: UUID, wanted: RoleUpdate) -> Role:
        """Holds at once for everybody who has the role. Raises as `create` does, and for a system role."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            await MemberRepository(session, caller.tenant_id).lock_tenant()
            roles = RoleRepository(session, caller.tenant_id)
            role = await roles.get(role_id)
            _check_custom(role)
            before = _told(role)
            # who takes something away must hold it as well: else a role could be emptied by those beneath it
            check_holds(caller, permissions_of_role(role))
            if wanted.permissions is not None:
                permissions = check_permissions(wanted.permissions)
                check_holds(caller, permissions)
                role.permissions = sorted(permissions)
            if wanted.name is not None and wanted.name != role.name:
                if wanted.name.lower() != role.name.lower():
                    await _check_free(roles, wanted.name)
                role.name = wanted.name
            if "description" in wanted.model_fields_set:
                role.description = wanted.description
            role.updated_at = now()
            roles.add(role)
            await session.flush()
            await audited(session, caller, "role.update", "role", role.id, old=before, new=_told(role))
        return role

    async def delete(self, caller: Principal, role_id: UUID) -> None:
        """Raises `RoleInUse` while members hold it."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            await MemberRepository(session, caller.tenant_id).lock_tenant()
            roles = RoleRepository(session, caller.tenant_id)
            role = await roles.get(role_id)
            _check_custom(role)
            check_holds(caller, permissions_of_role(role))
            holders = await roles.count_holders(role.id)
            if holders:
                raise RoleInUse("Members hold this role: give them another one first.", members=holders)
            await audited(session, caller, "role.delete", "role", role.id, old=_told(role))
            await roles.delete(role)


def permissions_of_role(role: Role) -> frozenset[str]:
    """What a role holds now."""
    return held_by(role.name, role.is_system_role, frozenset(role.permissions))


def check_holds(caller: Principal, permissions: Iterable[str]) -> None:
    """Nobody gives, or takes away, what they do not hold themselves. Raises `NotPermitted`."""
    missing = sorted(frozenset(permissions) - caller.permissions)
    if missing:
        raise NotPermitted(
            "You cannot give or take away what you do not hold yourself.", permission=missing[0], permissions=missing
        )


def check_permissions(names: Iterable[str]) -> frozenset[str]:
    """Raises `InvalidInput` for permissions that there are not."""
    wanted = frozenset(names)
    unknown = sorted(wanted - ALL)
    if unknown:
        problems = [Problem("permissions", f"{name!r} is no permission") for name in unknown[:20]]
        raise InvalidInput(f"permissions: {unknown[0]!r} is no permission.", problems)
    return wanted


async def _check_free(roles: RoleRepository, name: str) -> None:
    if await roles.named(name) is not None:
        raise Conflict("There is a role of this name.", name=name)


def _check_custom(role: Role) -> None:
    if role.is_system_role:
        raise Conflict("System roles cannot be changed or deleted.", role=role.name)


def describe(role: Role) -> str | None:
    """What a role is for, in words."""
    return SYSTEM_ROLES[role.name][0] if role.is_system_role and role.name in SYSTEM_ROLES else role.description


def _told(role: Role) -> dict[str, object]:
    return {"name": role.name, "description": role.description, "permissions": list(role.permissions)}
