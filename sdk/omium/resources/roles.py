"""`client.roles`: sets of permissions with a name."""

from __future__ import annotations

from collections.abc import Sequence

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import Permissions, Role, RolePage


class Roles(Resource[ClientT]):
    """System roles stay as they are; others are made of permissions that their maker holds."""

    @operation
    def list(self, limit: int | None = None, cursor: str | None = None) -> Request[RolePage]:
        """One page of roles, the newest first."""
        return Request("GET", "roles", query={"limit": limit, "cursor": cursor})

    @operation
    def get(self, role_id: str) -> Request[Role]:
        """A role with its permissions."""
        return Request("GET", endpoint("roles", role_id))

    @operation
    def create(self, name: str, permissions: Sequence[str], description: str | None = None) -> Request[Role]:
        """Makes a role. Raises `AuthenticationError` for permissions that the caller lacks."""
        body = {"name": name, "permissions": [*permissions], "description": description}
        return Request("POST", "roles", body=body)

    @operation
    def update(
        self,
        role_id: str,
        name: str | None = None,
        permissions: Sequence[str] | None = None,
        description: str | None = None,
    ) -> Request[Role]:
        """Holds at once for everybody who has the role. What is not given stays."""
        held = None if permissions is None else [*permissions]
        body = {"name": name, "permissions": held, "description": description}
        return Request("PATCH", endpoint("roles", role_id), body=body)

    @operation
    def delete(self, role_id: str) -> Request[None]:
        """Refused while members hold it."""
        return Request("DELETE", endpoint("roles", role_id))

    @operation
    def permissions(self) -> Request[Permissions]:
        """Every permission there is, and those that the caller holds."""
        return Request("GET", "roles/permissions")
