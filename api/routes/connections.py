"""`/external-connections`"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response

from api.auth.principal import Principal
from api.deps import Connections, requires
from api.schemas.common import PageQuery, listing
from api.schemas.connections import (
    AutoGenCreate,
    ConnectionCreate,
    ConnectionInputs,
    ConnectionList,
    ConnectionTest,
    ConnectionType,
    ConnectionUpdate,
    ConnectionView,
    CrewAICreate,
    ExecuteConnection,
    KickoffStatus,
    KickoffView,
    LangGraphCreate,
    ModelProviderCreate,
)
from api.schemas.executions import IdempotencyHeader
from models.tables import ExternalConnection

router = APIRouter(prefix="/external-connections", tags=["external connections"])

Creator = Annotated[Principal, requires("connection:create")]
Reader = Annotated[Principal, requires("connection:read")]

_OF_TABLE = frozenset({"connection_name", "crew_url", "bearer_token", "metadata", "is_active"})


@router.get("", response_model=ConnectionList)
async def list_all(
    connections: Connections,
    caller: Reader,
    page: Annotated[PageQuery, Depends()],
    connection_type: ConnectionType | None = None,
    is_active: bool | None = None,
) -> dict[str, Any]:
    found = await connections.list(caller, page.as_page(), connection_type=connection_type, is_active=is_active)
    return listing("connections", [_view(row) for row in found.rows], found, page)


@router.post("", status_code=201, response_model=ConnectionView)
async def create(body: ConnectionCreate, connections: Connections, caller: Creator) -> dict[str, Any]:
    """A connection of any type."""
    return await _create(connections, caller, body.connection_type, body)


@router.post("/crewai", status_code=201, response_model=ConnectionView)
async def create_crewai(body: CrewAICreate, connections: Connections, caller: Creator) -> dict[str, Any]:
    """A crew on CrewAI AMP."""
    return await _create(connections, caller, "crewai_aop", body)


@router.post("/langgraph", status_code=201, response_model=ConnectionView)
async def create_langgraph(body: LangGraphCreate, connections: Connections, caller: Creator) -> dict[str, Any]:
    """An assistant on LangGraph Platform."""
    return await _create(connections, caller, "langgraph_cloud", body)


@router.post("/autogen", status_code=201, response_model=ConnectionView)
async def create_autogen(body: AutoGenCreate, connections: Connections, caller: Creator) -> dict[str, Any]:
    """A team of an AutoGen Studio."""
    return await _create(connections, caller, "autogen_studio", body)


@router.post("/model-provider", status_code=201, response_model=ConnectionView)
async def create_model_provider(body: ModelProviderCreate, connections: Connections, caller: Creator) -> dict[str, Any]:
    """An account of one's own at a model provider: runs use it instead of the platform's."""
    return await _create(connections, caller, "model_provider", body)


@router.get("/{connection_id}", response_model=ConnectionView)
async def get(connection_id: UUID, connections: Connections, caller: Reader) -> dict[str, Any]:
    return _view(await connections.get(caller, connection_id))


@router.put("/{connection_id}", response_model=ConnectionView)
@router.patch("/{connection_id}", response_model=ConnectionView)
async def update(
    connection_id: UUID,
    body: ConnectionUpdate,
    connections: Connections,
    caller: Annotated[Principal, requires("connection:update")],
) -> dict[str, Any]:
    """Runs use the connection as it is now within seconds, a new token too."""
    return _view(await connections.update(caller, connection_id, body))


@router.delete("/{connection_id}", status_code=204)
async def delete(
    connection_id: UUID, connections: Connections, caller: Annotated[Principal, requires("connection:delete")]
) -> Response:
    await connections.delete(caller, connection_id)
    return Response(status_code=204)


@router.post("/{connection_id}/test", response_model=ConnectionTest)
async def test(
    connection_id: UUID, connections: Connections, caller: Annotated[Principal, requires("connection:test")]
) -> ConnectionTest:
    """Whether the service is there, and knows the token and the agent."""
    return await connections.test(caller, connection_id)


@router.get("/{connection_id}/inputs", response_model=ConnectionInputs)
async def inputs(connection_id: UUID, connections: Connections, caller: Reader) -> dict[str, Any]:
    """What the agent takes, as the service tells it."""
    found = await connections.inputs(caller, connection_id)
    return {"inputs": list(found.names), "input_schema": found.schema}


@router.post("/{connection_id}/execute", response_model=KickoffView)
async def execute(
    connection_id: UUID,
    body: ExecuteConnection,
    connections: Connections,
    caller: Annotated[Principal, requires("connection:execute")],
    idempotency_key: Annotated[IdempotencyHeader | None, Header()] = None,
) -> KickoffView:
    """Starts the agent at the service, outside of any run of the platform."""
    return await connections.execute(caller, connection_id, body.inputs, idempotency_key)


@router.get("/{connection_id}/status/{kickoff_id}", response_model=KickoffStatus)
async def status(connection_id: UUID, kickoff_id: str, connections: Connections, caller: Reader) -> KickoffStatus:
    """How a run stands that the service started."""
    return await connections.status(caller, connection_id, kickoff_id)


async def _create(
    connections: Connections,
    caller: Principal,
    kind: str,
    body: ConnectionCreate | CrewAICreate | LangGraphCreate | AutoGenCreate | ModelProviderCreate,
) -> dict[str, Any]:
    given = body.model_dump(exclude={"connection_type"})
    fields = {name: given.pop(name) for name in _OF_TABLE & given.keys()}
    return _view(await connections.create(caller, kind, fields, given))


def _view(row: ExternalConnection) -> dict[str, Any]:
    return {**row.model_dump(exclude={"meta", "bearer_token_encrypted", "tenant_id"}), "metadata": row.meta}
