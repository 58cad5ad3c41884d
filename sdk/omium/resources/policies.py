"""`client.policies`: what runs do when something goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import JsonObject, Policy, PolicyPage, PolicyVersionPage


class Policies(Resource[ClientT]):
    """Policies of a tenant or of one workflow. Runs keep the versions with which they began."""

    @operation
    def create(
        self,
        name: str,
        policy_type: str,
        policy_config: Mapping[str, Any],
        workflow_id: str | None = None,
        description: str | None = None,
        is_active: bool | None = None,
    ) -> Request[Policy]:
        """Makes a policy for a workflow, or without `workflow_id` for all of them.

        Args:
            policy_type: `timeout`, `retry`, `recovery`, `rollback` or `notification`.
            policy_config: as `schemas` describes it for the type.

        Raises:
            InvalidInput: `problems` names each field that is wrong.
        """
        body = {
            "name": name,
            "policy_type": policy_type,
            "policy_config": policy_config,
            "workflow_id": workflow_id,
            "description": description,
            "is_active": is_active,
        }
        return Request("POST", "policies", body=body)

    @operation
    def list(
        self,
        workflow_id: str | None = None,
        policy_type: str | None = None,
        is_active: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[PolicyPage]:
        """One page of policies, the newest first."""
        query = {
            "workflow_id": workflow_id,
            "policy_type": policy_type,
            "is_active": is_active,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", "policies", query=query)

    @operation
    def get(self, policy_id: str) -> Request[Policy]:
        """A policy in its newest version."""
        return Request("GET", endpoint("policies", policy_id))

    @operation
    def update(
        self,
        policy_id: str,
        name: str | None = None,
        policy_config: Mapping[str, Any] | None = None,
        workflow_id: str | None = None,
        description: str | None = None,
        is_active: bool | None = None,
    ) -> Request[Policy]:
        """Makes a new version with what is given; the rest stays as it is."""
        body = {
            "name": name,
            "policy_config": policy_config,
            "workflow_id": workflow_id,
            "description": description,
            "is_active": is_active,
        }
        return Request("PATCH", endpoint("policies", policy_id), body=body)

    @operation
    def delete(self, policy_id: str) -> Request[None]:
        """No run begins with it any more; those that have begun keep it."""
        return Request("DELETE", endpoint("policies", policy_id))

    @operation
    def versions(
        self,
        policy_id: str,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[PolicyVersionPage]:
        """One page of what a policy said, the newest version first."""
        query = {"limit": limit, "cursor": cursor, "page": page, "per_page": per_page}
        return Request("GET", endpoint("policies", policy_id, "versions"), query=query)

    @operation
    def schemas(self) -> Request[JsonObject]:
        """The JSON Schemas of `policy_config` by type, and of `policies` in a definition."""
        return Request("GET", "policies/schemas")
