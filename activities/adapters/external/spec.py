"""The shape of a definition: which connection, and what the agent there is given. These models are the published JSON Schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from activities.adapters.base import Json
from omium_core.errors import Problem


class ExternalPart(BaseModel):
    """An agent behind a connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    connection: str = Field(min_length=1, max_length=255, description="Name or id of the connection.")
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="What people call the step. Left out, the connection."
    )
    description: str = Field(default="", description="For people.")
    inputs: dict[str, Any] = Field(
        default_factory=dict, description="Inputs that the agent is always given; the step's own are laid over them."
    )
    input_schema: dict[str, Any] | None = Field(default=None, description="JSON Schema of the inputs.")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="What the service wants beside the inputs: `meta` (CrewAI), `assistant_id`, `config`, `context` "
        "(LangGraph), `team_id` (AutoGen Studio). Laid over the connection's own.",
    )
    harmless: bool = Field(
        default=False,
        description="Whether a run of the agent changes nothing in the world, so that a rollback may go back behind it "
        "without asking.",
    )


def read(definition: Json) -> tuple[ExternalPart | None, list[Problem]]:
    """The definition as read, or what is wrong with it, with paths from its root."""
    try:
        return ExternalPart.model_validate(definition), []
    except ValidationError as error:
        return None, [Problem(_path(e["loc"]), _message(e["type"], e["msg"])) for e in error.errors(include_url=False)]


def _path(location: tuple[str | int, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _message(kind: str, message: str) -> str:
    known = {
        "missing": "Is required.",
        "extra_forbidden": f"Is not known; there are: {', '.join(ExternalPart.model_fields)}.",
        "model_type": "Must be an object.",
        "dict_type": "Must be an object.",
        "string_type": "Must be a text.",
        "bool_type": "Must be true or false.",
        "string_too_short": "Must not be empty.",
    }
    return known.get(kind, f"{message}.")
