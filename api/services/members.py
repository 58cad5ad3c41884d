"""The people of a tenant: who they are, which roles they hold, how they come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.emails import normalised
from api.auth.principal import Principal
from api.schemas.members import InvitationCreate, MemberUpdate
from api.services.auditing import audited
from api.services.roles import check_holds, permissions_of_role
from api.wiring import Wiring
from models.repositories.base import Listing, Page
from models.repositories.members import InvitationRepository, MemberRepository
from models.repositories.roles import RoleRepository
from models.repositories.sessions import SessionRepository
from models.tables import Invitation, Role, User
from models.tables.base import now
from omium_core.errors import Conflict, InvalidInput, LastOwner, Problem

OWNER = "owner"


@dataclass(frozen=True)
class Member:
    user: User
    roles: Sequence[Role]


@dataclass(frozen=True)
class Invited:
    invitation: Invitation
    roles: Sequence[Role]


class MemberService:
    def __init__(self, process: Wiring) -> None:
        self._process = process

    async def list(self, caller: Principal, page: Page, *, email: str | None) -> tuple[Listing[User], list[Member]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await MemberRepository(session, caller.tenant_id).list(page, email=email)
            held = await RoleRepository(session, caller.tenant_id).held_by(user.id for user in found.rows)
        return found, [Member(user, held.get(user.id, [])) for user in found.rows]

    async def get(self, caller: Principal, user_id: UUID) -> Member:
        async with self._process.database.transaction(caller.tenant_id) as session:
            return await _member(session, caller.tenant_id, user_id)

    async def update(self, caller: Principal, user_id: UUID, wanted: MemberUpdate) -> Member:
        """Gives a member other roles. Raises `NotPermitted` for what the caller lacks, `LastOwner`."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            members, roles = MemberRepository(session, caller.tenant_id), RoleRepository(session, caller.tenant_id)
            await members.lock_tenant()
            member = await _member(session, caller.tenant_id, user_id)
            given = await _wanted_roles(roles, wanted.wanted)
            before, after = {role.id for role in member.roles}, {role.id for role in given}
            for role in (*member.roles, *given):
                if (role.id in before) != (role.id in after):
                    check_holds(caller, permissions_of_role(role))
            if _is_owner(member.roles) and not _is_owner(given):
                await _check_other_owner(roles, member.roles)
            await roles.set_held(member.user.id, after, caller.user_id)
            await audited(
                session,
                caller,
                "member.update",
                "user",
                member.user.id,
                old={"roles": [role.name for role in member.roles]},
                new={"roles": [role.name for role in given]},
            )
        return Member(member.user, given)

    async def remove(self, caller: Principal, user_id: UUID) -> None:
        """Ends the member's sessions here and revokes the API keys that they made; what they did stays.

        Raises `NotPermitted` for a member who holds more than the caller, `LastOwner`.
        """
        async with self._process.database.transaction(caller.tenant_id) as session:
            members, roles = MemberRepository(session, caller.tenant_id), RoleRepository(session, caller.tenant_id)
            await members.lock_tenant()
            member = await _member(session, caller.tenant_id, user_id)
            for role in member.roles:
                check_holds(caller, permissions_of_role(role))
            if _is_owner(member.roles):
                await _check_other_owner(roles, member.roles)
            member.user.removed_at = member.user.updated_at = now()
            member.user.is_active = False
            members.add(member.user)
            await roles.set_held(member.user.id, (), None)
            await SessionRepository(session, caller.tenant_id).end_of(member.user.id, "removed")
            keys = await members.revoke_keys(member.user.id)
            await audited(
                session,
                caller,
                "member.remove",
                "user",
                member.user.id,
                old={"email": member.user.email, "roles": [role.name for role in member.roles], "keys_revoked": keys},
            )

    async def invite(self, caller: Principal, wanted: InvitationCreate) -> Invited:
        """Mails a token to an address; an earlier invitation of it ends.

        Raises `NotPermitted` for roles that hold what the caller lacks, `Conflict` for somebody who is a member.
        """
        email = normalised(wanted.email)
        people, settings = self._process.people, self._process.settings
        token = people.secrets.new_token()
        async with self._process.database.transaction(caller.tenant_id) as session:
            members = MemberRepository(session, caller.tenant_id)
            tenant = await members.lock_tenant()
            given = await _wanted_roles(RoleRepository(session, caller.tenant_id), wanted.wanted)
            for role in given:
                check_holds(caller, permissions_of_role(role))
            user = await members.by_email(email)
            if user is not None and user.removed_at is None:
                raise Conflict("This address belongs to a member.", email=email)
            invitations = InvitationRepository(session, caller.tenant_id)
            await invitations.revoke_others(email)
            invitation = Invitation(
                tenant_id=caller.tenant_id,
                email=email,
                roles=[str(role.id) for role in given],
                token_hash=people.secrets.hash("invitation", token),
                invited_by=caller.user_id,
                expires_at=now() + timedelta(days=settings.invitation_days),
            )
            invitations.add(invitation)
            await session.flush()
            names: dict[str, Any] = {"email": email, "roles": [role.name for role in given]}
            await audited(session, caller, "member.invite", "invitation", invitation.id, new=names)
        if await people.limiter.may_mail(email, f"invitation {caller.tenant_id}"):
            people.mailroom.post(people.letters.invitation(email, token, tenant.name, settings.invitation_days))
        return Invited(invitation, given)

    async def invitations(self, caller: Principal, page: Page) -> tuple[Listing[Invitation], Sequence[Invited]]:
        async with self._process.database.transaction(caller.tenant_id) as session:
            found = await InvitationRepository(session, caller.tenant_id).list(page)
            roles = RoleRepository(session, caller.tenant_id)
            entries = [Invited(row, await roles.all_of(UUID(role) for role in row.roles)) for row in found.rows]
        return found, entries

    async def revoke(self, caller: Principal, invitation_id: UUID) -> None:
        """The token works no more. Raises `InvitationNotFound`."""
        async with self._process.database.transaction(caller.tenant_id) as session:
            invitation = await InvitationRepository(session, caller.tenant_id).get(invitation_id)
            invitation.revoked_at = now()
            session.add(invitation)
            await audited(
                session, caller, "member.uninvite", "invitation", invitation.id, old={"email": invitation.email}
            )


async def _member(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> Member:
    user = await MemberRepository(session, tenant_id).get(user_id)
    held = await RoleRepository(session, tenant_id).held_by([user.id])
    return Member(user, held.get(user.id, []))


async def _wanted_roles(roles: RoleRepository, names: Sequence[str]) -> list[Role]:
    """The roles of these names or ids. Raises `InvalidInput` for those that the tenant does not have."""
    found: dict[UUID, Role] = {}
    for name in names:
        role = await roles.named(name)
        if role is None:
            role = next(iter(await roles.all_of(_ids(name))), None)
        if role is None:
            raise InvalidInput(f"roles: there is no role {name!r}.", [Problem("roles", f"There is no role {name!r}")])
        found[role.id] = role
    return sorted(found.values(), key=lambda role: role.id)


def _ids(name: str) -> list[UUID]:
    try:
        return [UUID(name)]
    except ValueError:
        return []


def _is_owner(roles: Sequence[Role]) -> bool:
    return any(role.is_system_role and role.name == OWNER for role in roles)


async def _check_other_owner(roles: RoleRepository, held: Sequence[Role]) -> None:
    owner = next(role for role in held if role.is_system_role and role.name == OWNER)
    if await roles.count_holders(owner.id) <= 1:
        raise LastOwner("A tenant keeps at least one owner: make somebody else one first.")
