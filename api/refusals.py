"""What any route may answer instead of what was asked, said once in the API's description: the envelope of errors, by status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from omium_core.errors import ConfigurationError, OmiumError


class ErrorBody(BaseModel):
    """`code` is stable; `details` differs by code. `request_id` is also in the header `x-request-id`."""

    code: str = Field(description="What went wrong, for programs", examples=["CHECKPOINT_NOT_FOUND"])
    message: str = Field(description="The same for people", examples=["No checkpoint has this id."])
    details: dict[str, Any] = Field(examples=[{"checkpoint_id": "01a203d5-abab-76ed-bcbd-95ba04bd2ec5"}])
    request_id: str = Field(examples=["req_01a203d65e1d74cc83f3a87cbfdfa589"])


class ErrorAnswer(BaseModel):
    """The answer to every request that does not succeed."""

    error: ErrorBody


_MEANINGS = {
    400: "The request cannot be read (no JSON, no UTF-8), or names a time that makes no sense",
    401: "Nobody is signed in, or the key is not valid (any more)",
    402: "There is no money for it: no credits, no room in a budget, or a card that was declined",
    403: "The caller may not do this",
    404: "There is no such thing, or it belongs to somebody else",
    409: "The thing is in a state in which this cannot be done, or the Idempotency-Key was used for another request",
    413: "The body is too large",
    414: "The address is too long",
    415: "The body is no JSON, or compressed",
    422: "The request is understood, and wrong: `details.errors` names the fields",
    424: "A service outside, which this needs, did not do what was asked of it",
    429: "Too many requests, or a quota is used up; Retry-After says when to come again",
    431: "The headers are too large",
    500: "A fault of this installation. Trying again does not help; `request_id` is what its operators look for",
    503: "A part that is needed does not answer now; Retry-After says when to come again",
}
#: What may be answered wherever it was asked, before a route is looked for, or when one breaks.
_EVERYWHERE = (400, 414, 431, 500)
#: The routes that ask a service outside.
_OUTSIDE = re.compile(
    r"/external-connections/\{connection_id\}/(inputs|execute|status)(/|$)|/billing/(topup|subscription|portal|invoices)$"
)
#: What begins runs, or charges a card.
_PAID = re.compile(r"/(executions|execute|fork|retry|topup|subscription)$")

_SECONDS = {"schema": {"type": "integer"}, "description": "Seconds after which to come again"}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}},
    429: {
        "Retry-After": _SECONDS,
        "RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests in the window that is full"},
        "RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "What is left of them: 0"},
        "RateLimit-Reset": {"schema": {"type": "integer"}, "description": "Seconds until the next one is taken"},
    },
    424: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}


def describe_refusals(app: FastAPI, prefix: str) -> None:
    """From here on the description says of each route how it refuses: beneath `prefix` in all ways, elsewhere in few."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        components = document.setdefault("components", {})
        if "responses" in components:
            return document
        schemas = components.setdefault("schemas", {})
        described = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**described.pop("$defs"), "ErrorAnswer": described}
        # the framework's own, which no answer has
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        components["responses"] = {_name(status): _refusal(status) for status in _MEANINGS}
        for path, operations in document["paths"].items():
            statuses = [status for status in _MEANINGS if status != 424 or _OUTSIDE.search(path)]
            for method, operation in operations.items():
                is_paid = method != "get" and _PAID.search(path)
                operation["responses"] |= {
                    str(status): {"$ref": f"#/components/responses/{_name(status)}"}
                    for status in (statuses if path.startswith(prefix) else _EVERYWHERE)
                    if status != 402 or is_paid
                }
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _name(status: int) -> str:
    return f"Refused{status}"


def _refusal(status: int) -> dict[str, Any]:
    codes = sorted({error.code for error in _family(OmiumError) if error.status == status} - {ConfigurationError.code})
    return {
        "description": f"{_MEANINGS[status]}. Codes: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id"},
            **_HEADERS.get(status, {}),
        },
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
    }


def _family(error: type[OmiumError]) -> Iterator[type[OmiumError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _family(kind)
