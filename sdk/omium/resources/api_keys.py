"""`client.api_keys`: keys for programs, and what they may use."""

from __future__ import annotations

from collections.abc import Sequence

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import ApiKey, ApiKeyPage, CreatedApiKey, Limits, RotatedApiKey


class ApiKeys(Resource[ClientT]):
    """Keys of a tenant. A key is shown when it is made or rotated, and never again."""

    @operation
    def create(
        self,
        name: str,
        scopes: Sequence[str] | None = None,
        permissions: Sequence[str] | None = None,
        expires_at: str | None = None,
        rate_limit_per_minute: int | None = None,
        rate_limit_per_hour: int | None = None,
    ) -> Request[CreatedApiKey]:
        """Makes a key; `key` of the answer is the key itself.

        Args:
            scopes: of `read`, `write` and `admin`; read and write if none are given.
            permissions: what the key holds of that which its scopes give; all of it if none are given.
            expires_at: ISO 8601; never if it is not given.
            rate_limit_per_minute: requests to executions, checkpoints and failures.

        Raises:
            AuthenticationError: the key would hold more than the one that makes it.
        """
        body = {
            "name": name,
            "scopes": None if scopes is None else list(scopes),
            "permissions": None if permissions is None else list(permissions),
            "expires_at": expires_at,
            "rate_limit_per_minute": rate_limit_per_minute,
            "rate_limit_per_hour": rate_limit_per_hour,
        }
        return Request("POST", "api-keys", body=body)

    @operation
    def list(
        self,
        include_revoked: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[ApiKeyPage]:
        """One page of keys, the newest first."""
        query = {
            "include_revoked": include_revoked,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "api-keys", query=query)

    @operation
    def get(self, key_id: str) -> Request[ApiKey]:
        return Request("GET", endpoint("api-keys", key_id))

    @operation
    def update(
        self,
        key_id: str,
        name: str | None = None,
        scopes: Sequence[str] | None = None,
        permissions: Sequence[str] | None = None,
        expires_at: str | None = None,
        rate_limit_per_minute: int | None = None,
        rate_limit_per_hour: int | None = None,
    ) -> Request[ApiKey]:
        """Another name, or less than the key has; what is not given stays as it is."""
        body = {
            "name": name,
            "scopes": None if scopes is None else list(scopes),
            "permissions": None if permissions is None else list(permissions),
            "expires_at": expires_at,
            "rate_limit_per_minute": rate_limit_per_minute,
            "rate_limit_per_hour": rate_limit_per_hour,
        }
        return Request("PATCH", endpoint("api-keys", key_id), body=body)

    @operation
    def rotate(self, key_id: str, overlap_seconds: int | None = None) -> Request[RotatedApiKey]:
        """A new key under the same id. The one so far works for `overlap_seconds` more: an hour, if it is not given."""
        return Request("POST", endpoint("api-keys", key_id, "rotate"), body={"overlap_seconds": overlap_seconds})

    @operation
    def revoke(self, key_id: str) -> Request[None]:
        """The key stops working within a second."""
        return Request("DELETE", endpoint("api-keys", key_id))

    @operation
    def limits(self) -> Request[Limits]:
        """What the tenant of the key in use may use, and what it has used."""
        return Request("GET", "limits")
