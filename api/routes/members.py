"""`/members` and `/invitations`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.auth.principal import Principal
from api.deps import Members, requires
from api.schemas.common import PageQuery, Text, listing
from api.schemas.members import (
    InvitationCreate,
    InvitationList,
    InvitationView,
    MemberList,
    MemberUpdate,
    MemberView,
)
from api.services.members import Invited, Member

router = APIRouter(tags=["members"])


@router.get("/members", response_model=MemberList)
async def list_all(
    members: Members,
    caller: Annotated[Principal, requires("member:read")],
    page: Annotated[PageQuery, Depends()],
    email: Annotated[Text | None, Query(max_length=254)] = None,
) -> dict[str, Any]:
    found, entries = await members.list(caller, page.as_page(), email=email)
    return listing("members", [_view(entry) for entry in entries], found, page)


@router.get("/members/{user_id}", response_model=MemberView)
async def get(user_id: UUID, members: Members, caller: Annotated[Principal, requires("member:read")]) -> dict[str, Any]:
    return _view(await members.get(caller, user_id))


@router.put("/members/{user_id}", response_model=MemberView)
@router.patch("/members/{user_id}", response_model=MemberView)
async def update(
    user_id: UUID, body: MemberUpdate, members: Members, caller: Annotated[Principal, requires("member:update")]
) -> dict[str, Any]:
    """Gives a member other roles, at once. Nobody gives or takes away what they do not hold; one owner stays."""
    return _view(await members.update(caller, user_id, body))


@router.delete("/members/{user_id}", status_code=204)
async def remove(user_id: UUID, members: Members, caller: Annotated[Principal, requires("member:remove")]) -> Response:
    """Ends their sessions here, and revokes the API keys that they made."""
    await members.remove(caller, user_id)
    return Response(status_code=204)


@router.post("/invitations", status_code=201, response_model=InvitationView)
async def invite(
    body: InvitationCreate, members: Members, caller: Annotated[Principal, requires("member:invite")]
) -> dict[str, Any]:
    """Mails a token to the address, with which its owner joins: `POST /auth/accept-invitation`."""
    return _invitation(await members.invite(caller, body))


@router.get("/invitations", response_model=InvitationList)
async def invitations(
    members: Members,
    caller: Annotated[Principal, requires("member:read")],
    page: Annotated[PageQuery, Depends()],
) -> dict[str, Any]:
    """Those that may still be accepted."""
    found, entries = await members.invitations(caller, page.as_page())
    return listing("invitations", [_invitation(entry) for entry in entries], found, page)


@router.delete("/invitations/{invitation_id}", status_code=204)
async def revoke(
    invitation_id: UUID, members: Members, caller: Annotated[Principal, requires("member:invite")]
) -> Response:
    """The token of the mail works no more."""
    await members.revoke(caller, invitation_id)
    return Response(status_code=204)


def _view(member: Member) -> dict[str, Any]:
    roles = [role.model_dump(include={"id", "name"}) for role in member.roles]
    return {**member.user.model_dump(), "roles": roles, "role": roles[0]["name"] if roles else None}


def _invitation(entry: Invited) -> dict[str, Any]:
    roles = [role.model_dump(include={"id", "name"}) for role in entry.roles]
    return {**entry.invitation.model_dump(), "roles": roles}
