"""Answers that are written as JSON at once: a model of ours need not be checked a second time."""

from __future__ import annotations

import json

from fastapi import Response
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def json_answer(model: BaseModel) -> Response:
    """The answer of a route, for those that are asked again and again; the route's `response_model` describes it all the
    same."""
    try:
        body = model.__pydantic_serializer__.to_json(model)
    except PydanticSerializationError:
        # half of a surrogate pair, which an agent may put out, is JSON when it is escaped
        body = json.dumps(model.model_dump(mode="json"), separators=(",", ":")).encode()
    return Response(body, media_type="application/json")
