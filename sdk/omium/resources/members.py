"""`client.members`: the people of the tenant, and those who are invited."""

from __future__ import annotations

from collections.abc import Sequence

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import Invitation, InvitationPage, Member, MemberPage


class Members(Resource[ClientT]):
    """Roles are given by name or id."""

    @operation
    def list(
        self, email: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Request[MemberPage]:
        """One page of members, the newest first."""
        return Request("GET", "members", query={"email": email, "limit": limit, "cursor": cursor})

    @operation
    def get(self, user_id: str) -> Request[Member]:
        """A member with their roles."""
        return Request("GET", endpoint("members", user_id))

    @operation
    def set_roles(self, user_id: str, roles: Sequence[str]) -> Request[Member]:
        """The roles that the member has from now on, and no other."""
        return Request("PATCH", endpoint("members", user_id), body={"roles": [*roles]})

    @operation
    def remove(self, user_id: str) -> Request[None]:
        """Ends the member's sessions here, and revokes the API keys that they made."""
        return Request("DELETE", endpoint("members", user_id))

    @operation
    def invite(self, email: str, roles: Sequence[str]) -> Request[Invitation]:
        """Mails a token to an address, with which its owner joins."""
        return Request("POST", "invitations", body={"email": email, "roles": [*roles]})

    @operation
    def invitations(self, limit: int | None = None, cursor: str | None = None) -> Request[InvitationPage]:
        """One page of the invitations that may still be accepted."""
        return Request("GET", "invitations", query={"limit": limit, "cursor": cursor})

    @operation
    def revoke_invitation(self, invitation_id: str) -> Request[None]:
        """The token of the mail works no more."""
        return Request("DELETE", endpoint("invitations", invitation_id))
