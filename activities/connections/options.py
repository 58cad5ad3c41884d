"""What connections of each type know beside address and token, and whether it fits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from activities.adapters.base import JsonObject
from omium_core.errors import Problem


class _Options(BaseModel):
    """Names that the type does not know are kept: they are for people."""

    model_config = ConfigDict(extra="allow", strict=True)


class _CrewAI(_Options):
    meta: dict[str, Any] | None = None
    #: The service, or a proxy before it, honours the Idempotency-Key of a kickoff.
    idempotent: bool | None = None


class _LangGraph(_Options):
    assistant_id: str | None = Field(default=None, min_length=1)
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    auth: str | None = Field(default=None, pattern="^(api_key|bearer)$")


class _AutoGen(_Options):
    team_id: int | None = Field(default=None, ge=1)
    user_id: str | None = Field(default=None, min_length=1)


class _Provider(_Options):
    models: list[str] | None = None
    default: bool | None = None


_BY_TYPE: Final[Mapping[str, type[_Options]]] = {
    "crewai_aop": _CrewAI,
    "langgraph_cloud": _LangGraph,
    "autogen_studio": _AutoGen,
    "model_provider": _Provider,
}


def options_of(
    connection_type: str, metadata: JsonObject, fields: Mapping[str, Any]
) -> tuple[JsonObject, list[Problem]]:
    """The metadata of a connection with the fields that were given beside it laid over, and what is wrong with them."""
    kind = _BY_TYPE[connection_type]
    given = {name: value for name, value in fields.items() if value is not None}
    problems = [
        Problem(name, f"Connections of the type {connection_type} have no such field.")
        for name in given
        if name not in kind.model_fields
    ]
    merged = {**metadata, **given}
    try:
        kind.model_validate(merged)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            place = ".".join(str(part) for part in found["loc"])
            problems.append(Problem(place if found["loc"][0] in given else f"metadata.{place}", f"{found['msg']}."))
    return merged, problems
