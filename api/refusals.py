"""What any route may answer instead of what was asked, said once in the API's description: the envelope of errors, by status."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field


class ErrorBody(BaseModel):
    """`code` is stable; `details` differs by code. `request_id` is also in the header `x-request-id`."""

    code: str = Field(examples=["INVALID_INPUT"])
    message: str
    details: dict[str, Any]
    request_id: str


class ErrorAnswer(BaseModel):
    """The answer to every request that does not succeed."""

    error: ErrorBody


_MEANINGS = {
    400: "The request cannot be read: no JSON, no UTF-8",
    401: "Nobody is signed in, or the key is not valid (any more)",
    403: "The caller may not do this",
    404: "There is no such thing, or it belongs to somebody else",
    409: "The thing is in a state in which this cannot be done, or the Idempotency-Key was used for another request",
    413: "The body is too large",
    414: "The address is too long",
    415: "The body is no JSON, or compressed",
    422: "The request is understood, and wrong: `details.errors` names the fields",
    429: "Too many requests, or a quota is used up; Retry-After says when to come again",
    431: "The headers are too large",
    503: "A part that is needed does not answer now; Retry-After says when to come again",
}

_HEADERS = {"x-request-id": {"schema": {"type": "string"}, "description": "The request's id"}}
_REFERENCE = {"$ref": "#/components/schemas/ErrorAnswer"}


def describe_refusals(app: FastAPI, prefix: str) -> None:
    """From here on the description says of each route beneath `prefix` how it refuses."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "ErrorAnswer" in schemas:
            return document
        described = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**described.pop("$defs"), "ErrorAnswer": described}
        # the framework's own, which no answer has
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path, operations in document["paths"].items():
            if path.startswith(prefix):
                for operation in operations.values():
                    operation["responses"] |= {
                        str(status): {
                            "description": meaning,
                            "headers": _HEADERS,
                            "content": {"application/json": {"schema": _REFERENCE}},
                        }
                        for status, meaning in _MEANINGS.items()
                    }
        return document

    app.openapi = openapi  # type: ignore[method-assign]
