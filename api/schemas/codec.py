"""What Temporal's Web UI and command line exchange with a codec."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas.common import Text


class CodecPayload(BaseModel):
    """A payload of Temporal as JSON: all bytes are in base64."""

    metadata: dict[Text, str] = Field(default_factory=dict)
    data: str | None = None


class CodecPayloads(BaseModel):
    payloads: Annotated[list[CodecPayload], Field(max_length=10_000)]
