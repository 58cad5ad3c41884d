"""`client.workflows`: registered definitions, and starting runs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import StartedExecution, Workflow, WorkflowPage


class Workflows(Resource[ClientT]):
    """Registered definitions of agents; each update is a new version, and runs keep the one they began with."""

    @operation
    def create(
        self,
        name: str,
        framework: str,
        workflow_definition: Mapping[str, Any],
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Request[Workflow]:
        """Registers a definition in the framework's own format. It is validated before it is stored.

        Raises:
            InvalidInput: `problems` names each field that is wrong.
        """
        body = {
            "name": name,
            "framework": framework,
            "workflow_definition": workflow_definition,
            "description": description,
            "input_schema": input_schema,
            "output_schema": output_schema,
            "tags": tags,
        }
        return Request("POST", "workflows", body=body)

    @operation
    def list(
        self,
        page: int | None = None,
        per_page: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        framework: str | None = None,
        is_active: bool | None = None,
    ) -> Request[WorkflowPage]:
        """One page of workflows: by `page` and `per_page`, or by `limit` and the last `next_cursor`."""
        query = {
            "page": page,
            "per_page": per_page,
            "limit": limit,
            "cursor": cursor,
            "framework": framework,
            "is_active": is_active,
        }
        return Request("GET", "workflows", query=query)

    @operation
    def get(self, workflow_id: str, version: int | None = None) -> Request[Workflow]:
        """The workflow in its current version, or in an earlier one."""
        return Request("GET", endpoint("workflows", workflow_id), query={"version": version})

    @operation
    def update(
        self,
        workflow_id: str,
        name: str | None = None,
        workflow_definition: Mapping[str, Any] | None = None,
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        framework: str | None = None,
        is_active: bool | None = None,
    ) -> Request[Workflow]:
        """Makes a new version with what is given; the rest stays as it is. Answers the new version."""
        body = {
            "name": name,
            "workflow_definition": workflow_definition,
            "description": description,
            "input_schema": input_schema,
            "output_schema": output_schema,
            "tags": tags,
            "framework": framework,
            "is_active": is_active,
        }
        return Request("PUT", endpoint("workflows", workflow_id), body=body)

    @operation
    def delete(self, workflow_id: str) -> Request[None]:
        """Takes the workflow out of use. Runs that have begun go on."""
        return Request("DELETE", endpoint("workflows", workflow_id))

    @operation
    def execute(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        budget: float | None = None,
    ) -> Request[StartedExecution]:
        """Starts a run and answers at once, with its `execution_id`.

        However often the same `idempotency_key` is sent, there is one run. Without one, a new key is made for this
        call, which covers the repetitions after a lost connection. Give your own (an order's number, say) to cover a
        crash of your own process too.

        `budget` is what the run may spend, in credits: then it waits until somebody raises it.

        Raises:
            Conflict: the key was used with other inputs.
        """
        key = fresh_key(idempotency_key)
        body = {"inputs": dict(inputs or {}), "metadata": metadata, "budget": budget}
        return Request("POST", endpoint("workflows", workflow_id, "execute"), body=body, idempotency_key=key)
