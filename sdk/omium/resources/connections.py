"""`client.connections`: agents that run elsewhere, and model providers of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omium.calls import ClientT, Request, Resource, endpoint, fresh_key, operation
from omium.types import (
    Connection,
    ConnectionInputs,
    ConnectionPage,
    ConnectionTest,
    Kickoff,
    KickoffStatus,
)

_PATH = "external-connections"


class Connections(Resource[ClientT]):
    """Where services are, and the tokens that they ask for. Tokens go in and never come out."""

    @operation
    def create(
        self,
        connection_type: str,
        connection_name: str,
        url: str,
        token: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        is_active: bool | None = None,
        assistant_id: str | None = None,
        team_id: int | None = None,
        user_id: str | None = None,
        models: Sequence[str] | None = None,
        default: bool | None = None,
    ) -> Request[Connection]:
        """Makes a connection.

        Args:
            connection_type: `crewai_aop`, `langgraph_cloud`, `autogen_studio` or `model_provider`.
            token: the service's bearer token or API key; an AutoGen Studio may have none.
            assistant_id: LangGraph: id of the assistant, or name of its graph.
            team_id: AutoGen Studio: the team to run, `user_id` the user whose it is.
            models: model provider: the models that it is used for; with `default` for all others too.

        Raises:
            InvalidInput: `problems` names each field that is wrong.
        """
        body = {
            "connection_type": connection_type,
            "connection_name": connection_name,
            "crew_url": url,
            "bearer_token": token,
            "metadata": metadata,
            "is_active": is_active,
            "assistant_id": assistant_id,
            "team_id": team_id,
            "user_id": user_id,
            "models": models,
            "default": default,
        }
        return Request("POST", _PATH, body=body)

    @operation
    def list(
        self,
        connection_type: str | None = None,
        is_active: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
    ) -> Request[ConnectionPage]:
        """One page of connections, the newest first."""
        query = {
            "connection_type": connection_type,
            "is_active": is_active,
            "limit": limit,
            "cursor": cursor,
            "page": page,
            "per_page": per_page,
        }
        return Request("GET", _PATH, query=query)

    @operation
    def get(self, connection_id: str) -> Request[Connection]:
        """A connection, without its token."""
        return Request("GET", endpoint(_PATH, connection_id))

    @operation
    def update(
        self,
        connection_id: str,
        connection_name: str | None = None,
        url: str | None = None,
        token: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        is_active: bool | None = None,
        assistant_id: str | None = None,
        team_id: int | None = None,
        user_id: str | None = None,
        models: Sequence[str] | None = None,
        default: bool | None = None,
    ) -> Request[Connection]:
        """Changes what is given; runs use it within seconds. With the address of another host, give the token again."""
        body = {
            "connection_name": connection_name,
            "crew_url": url,
            "bearer_token": token,
            "metadata": metadata,
            "is_active": is_active,
            "assistant_id": assistant_id,
            "team_id": team_id,
            "user_id": user_id,
            "models": models,
            "default": default,
        }
        return Request("PATCH", endpoint(_PATH, connection_id), body=body)

    @operation
    def delete(self, connection_id: str) -> Request[None]:
        """Its token is gone with it."""
        return Request("DELETE", endpoint(_PATH, connection_id))

    @operation
    def test(self, connection_id: str) -> Request[ConnectionTest]:
        """Whether the service is there, and knows the token and the agent."""
        return Request("POST", endpoint(_PATH, connection_id, "test"))

    @operation
    def inputs(self, connection_id: str) -> Request[ConnectionInputs]:
        """What the agent takes."""
        return Request("GET", endpoint(_PATH, connection_id, "inputs"))

    @operation
    def execute(
        self, connection_id: str, inputs: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Request[Kickoff]:
        """Starts the agent and answers at once. However often the same `idempotency_key` is sent, there is one run.

        Raises:
            Conflict: the key was used with other inputs, or nobody can tell what came of the first request.
        """
        body = {"inputs": dict(inputs or {})}
        key = fresh_key(idempotency_key)
        return Request("POST", endpoint(_PATH, connection_id, "execute"), body=body, idempotency_key=key)

    @operation
    def status(self, connection_id: str, kickoff_id: str) -> Request[KickoffStatus]:
        """How a run stands that the service started."""
        return Request("GET", endpoint(_PATH, connection_id, "status", kickoff_id))
