"""Errors -> the envelope of the low-level design (section 5.2), once for all routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.limits.headers import rate_headers
from api.methods import allowed_methods
from models.database import is_database_away
from omium_core.errors import InvalidInput, MalformedRequest, OmiumError, Problem, RateLimitExceeded, Unavailable

log = structlog.get_logger(__name__)

_HTTP_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def envelope(error: OmiumError, request_id: str) -> JSONResponse:
    return _respond(error.status, error.code, error.message, error.details, request_id)


def as_known(error: Exception, path: str) -> OmiumError:
    """The error that the caller hears of, for any that was raised; what nobody foresaw is logged."""
    if isinstance(error, OmiumError):
        return error
    if is_database_away(error):
        return Unavailable("The database does not answer; try again in a moment.")
    log.error("request failed", exc_info=error, path=path)
    return OmiumError("Something went wrong on our side.")


def _respond(
    status: int,
    code: str,
    message: str,
    details: dict[str, Any],
    request_id: str,
    given: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = {"error": {"code": code, "message": message, "details": details, "request_id": request_id}}
    headers = {**(given or {}), "x-request-id": request_id}
    if status == 503:
        headers["retry-after"] = "1"
    if "retry_after" in details:
        headers["retry-after"] = str(details["retry_after"])
    if code == RateLimitExceeded.code:
        headers |= {
            name.decode(): value.decode() for name, value in rate_headers(details["limit"], 0, details["retry_after"])
        }
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body, status, headers=headers)


def field_path(location: tuple[int | str, ...]) -> str:
    """`("body", "nodes", 2, "id")` -> `nodes[2].id`, as everywhere in our errors."""
    path = ""
    for part in location[1:] if location and location[0] in ("body", "query", "path", "header") else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _words(problem: Mapping[str, Any]) -> str:
    """What is wrong with a field; the length of a text is told in characters."""
    limits = problem.get("ctx", {})
    if problem["type"] == "missing" and tuple(problem["loc"]) == ("body",):
        return "a body is needed, a JSON object"
    if problem["type"] == "model_attributes_type":
        return "Must be a JSON object"
    if isinstance(problem.get("input"), str) and problem["type"] == "too_short":
        return (
            f"Must have at least {limits['min_length']} characters" if limits["min_length"] > 1 else "Must not be empty"
        )
    if isinstance(problem.get("input"), str) and problem["type"] == "too_long":
        return f"Must have at most {limits['max_length']} characters"
    return str(problem["msg"]).removeprefix("Value error, ")


def install(app: FastAPI) -> None:
    """Registers the handlers; what they do not know is answered by the middleware (`as_known`)."""

    @app.exception_handler(OmiumError)
    async def known(request: Request, error: OmiumError) -> JSONResponse:
        return envelope(error, request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            reason = problems[0].get("ctx", {}).get("error", "it cannot be parsed")
            position = problems[0]["loc"][-1] if problems[0]["loc"] else 0
            return envelope(
                MalformedRequest(f"The body is no valid JSON: {reason} (at character {position})."),
                request.state.request_id,
            )
        found = [Problem(field_path(tuple(problem["loc"])), _words(problem)) for problem in problems]
        first = found[0]
        message = f"{first.path}: {first.message}" if first.path else first.message
        return envelope(InvalidInput(f"The request is not valid: {message}.", found), request.state.request_id)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, OmiumError):
            return envelope(error.__cause__, request.state.request_id)
        if error.status_code == 400:
            # raised by the framework when the body is no UTF-8 or is nested too deeply
            return envelope(
                MalformedRequest(
                    "The body cannot be read: it must be JSON in UTF-8, not nested hundreds of levels deep, "
                    "without numbers of thousands of digits."
                ),
                request.state.request_id,
            )
        code = _HTTP_CODES.get(error.status_code, "HTTP_ERROR")
        headers = error.headers
        if error.status_code == 405:
            # the framework names the methods of the first route of the path, which may have more
            headers = {**(headers or {}), "Allow": ", ".join(allowed_methods(request.scope))}
        return _respond(error.status_code, code, str(error.detail), {}, request.state.request_id, headers)
