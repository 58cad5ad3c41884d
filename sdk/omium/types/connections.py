"""Connections to services outside."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from omium.types.base import JsonObject, Page

ConnectionType = Literal["crewai_aop", "langgraph_cloud", "autogen_studio", "model_provider"]


class Connection(TypedDict, total=False):
    """Of the token there is only a hint: its last characters."""

    id: str
    connection_type: ConnectionType
    connection_name: str
    crew_url: str
    token_hint: str
    metadata: JsonObject
    is_active: bool
    last_synced_at: str | None
    created_at: str
    updated_at: str


class ConnectionPage(Page, total=False):
    connections: list[Connection]


class ConnectionTest(TypedDict, total=False):
    """What the service said; `remote_status` is its HTTP status, where it gave one."""

    ok: bool
    message: str
    remote_status: int | None
    latency_ms: int


class ConnectionInputs(TypedDict, total=False):
    inputs: list[str]
    input_schema: JsonObject | None


class Kickoff(TypedDict, total=False):
    kickoff_id: str
    status: str
    message: str


class KickoffStatus(TypedDict, total=False):
    """`status` is RUNNING, COMPLETE, FAILED, CANCELLED, or a word that only the service knows."""

    kickoff_id: str
    status: str
    remote_status: str
    output: str | None
    output_json: Any
    error: str | None
    token_usage: int | None
