"""External connections on the wire. Tokens come in and never go out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BaseModel, Field

from api.schemas.common import Request, Text

ConnectionType = Literal["crewai_aop", "langgraph_cloud", "autogen_studio", "model_provider"]
Name = Annotated[Text, Field(min_length=1, max_length=255)]
#: Sent in a header: printable characters of ASCII, without blanks.
Token = Annotated[Text, Field(min_length=1, max_length=8192, pattern=r"^[\x21-\x7e]+$")]
Url = Annotated[Text, Field(min_length=1, max_length=2000)]
Model = Annotated[Text, Field(min_length=1, max_length=255)]
Id = Annotated[Text, Field(min_length=1, max_length=255)]

#: Services call their address by different names; all of them are understood.
_URL = AliasChoices("crew_url", "url", "base_url", "deployment_url", "studio_url")
_TOKEN = AliasChoices("bearer_token", "api_key", "token")


class _Create(Request):
    connection_name: Name = Field(description="What people and definitions call it.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="What the service wants beside address and token. Shown to who may read it."
    )
    is_active: bool = True


class CrewAICreate(_Create):
    """A crew that is deployed on CrewAI AMP."""

    crew_url: Url = Field(validation_alias=_URL, description="Address of the crew.")
    bearer_token: Token = Field(validation_alias=_TOKEN, description="The crew's bearer token.")


class LangGraphCreate(_Create):
    """An assistant of a LangGraph Platform deployment."""

    crew_url: Url = Field(validation_alias=_URL, description="Address of the deployment.")
    bearer_token: Token = Field(validation_alias=_TOKEN, description="Its API key.")
    assistant_id: Id | None = Field(default=None, description="Id of the assistant, or name of its graph.")


class AutoGenCreate(_Create):
    """A team of an AutoGen Studio."""

    crew_url: Url = Field(validation_alias=_URL, description="Address of the studio.")
    bearer_token: Token | None = Field(
        default=None, validation_alias=_TOKEN, description="Where the studio has sign-in."
    )
    team_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(default=None, description="The team to run.")
    user_id: Id | None = Field(default=None, description="The user whose team it is.")


class ModelProviderCreate(_Create):
    """The tenant's own account at a model provider with an OpenAI-compatible interface."""

    crew_url: Url = Field(validation_alias=_URL, description="Base address, such as https://api.example.com/v1.")
    bearer_token: Token = Field(validation_alias=_TOKEN, description="The provider's API key.")
    models: list[Model] = Field(default_factory=list, max_length=500, description="The models that it is used for.")
    default: bool = Field(default=False, description="Whether it is used for all other models too.")


class ConnectionCreate(_Create):
    """A connection of any type. Fields that the type does not have are refused."""

    connection_type: ConnectionType
    crew_url: Url = Field(validation_alias=_URL)
    bearer_token: Token | None = Field(default=None, validation_alias=_TOKEN)
    assistant_id: Id | None = None
    team_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    user_id: Id | None = None
    models: list[Model] | None = Field(default=None, max_length=500)
    default: bool | None = None


class ConnectionUpdate(Request):
    """What is not named stays as it is. With an address of another host, the token must be given again."""

    connection_name: Name | None = None
    crew_url: Url | None = Field(default=None, validation_alias=_URL)
    bearer_token: Token | None = Field(default=None, validation_alias=_TOKEN)
    metadata: dict[str, Any] | None = None
    is_active: bool | None = None
    assistant_id: Id | None = None
    team_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    user_id: Id | None = None
    models: list[Model] | None = Field(default=None, max_length=500)
    default: bool | None = None


class ConnectionView(BaseModel):
    """A connection. Of its token there is only a hint: the last characters."""

    id: UUID
    connection_type: ConnectionType
    connection_name: str
    crew_url: str
    token_hint: str
    metadata: dict[str, Any]
    is_active: bool
    last_synced_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ConnectionList(BaseModel):
    connections: list[ConnectionView]
    total: int
    limit: int
    next_cursor: UUID | None
    page: int
    per_page: int


class ConnectionTest(BaseModel):
    """What the service said. `remote_status` is its HTTP status, where it gave one."""

    ok: bool
    message: str
    remote_status: int | None
    latency_ms: int


class ConnectionInputs(BaseModel):
    """What the agent takes: names, and a JSON Schema where the service has one."""

    inputs: list[str]
    input_schema: dict[str, Any] | None


class ExecuteConnection(Request):
    inputs: dict[str, Any] = Field(default_factory=dict)


class KickoffView(BaseModel):
    kickoff_id: str
    status: str
    message: str


class KickoffStatus(BaseModel):
    """How a run stands: RUNNING, COMPLETE, FAILED, CANCELLED, or a word of the service that nobody else knows.

    `output` is text, `output_json` the same as data where it is more than a text; both need the permission to see payloads.
    """

    kickoff_id: str
    status: str
    remote_status: str
    output: str | None
    output_json: Any
    error: str | None
    token_usage: int | None
