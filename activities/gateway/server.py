"""The gateway's HTTP side: an OpenAI-compatible endpoint on loopback, inside the worker.

`/s/<token>/v1/...` is the base URL that one attempt of one step was given. `/v1/...` is where the process's OpenAI
variables point; there the token comes as a header (`identity`). A call without a valid token is refused: what cannot be
attributed cannot be journaled or paid for. `x-should-retry: false` tells the OpenAI clients not to try again by themselves.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from activities.adapters.base import StaleAttempt, StepError, Unaffordable
from activities.gateway.delivery import Chunks, Delivery
from activities.gateway.identity import HEADER
from activities.gateway.journal import Answer, Call, Journal
from activities.gateway.money import Quote
from activities.gateway.prices import Prices
from activities.gateway.providers import ModelRoute, Models
from activities.gateway.session import StepSession
from activities.gateway.upstream import Refusal, rejection

log = structlog.get_logger(__name__)

ENDPOINTS = frozenset({"chat/completions", "completions", "responses", "embeddings"})
NO_RETRY = {"x-should-retry": "false"}
#: Room for a request full of pictures, in bytes.
LONGEST_REQUEST = 64 * 1024 * 1024


class Sessions(Protocol):
    def find(self, token: str) -> StepSession | None: ...


class UnreadableRequest(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_app(sessions: Sessions, journal: Journal, provider: Models) -> Starlette:
    """The ASGI app. Not FastAPI: that belongs to `api/` alone."""

    async def post(request: Request) -> Response:
        session = _caller(request, sessions)
        if session is None:
            return _refuse_stranger(request)
        endpoint = request.path_params["endpoint"]
        if endpoint not in ENDPOINTS:
            return _error(
                404, f"The gateway serves {', '.join(sorted(ENDPOINTS))}; not {endpoint}.", "unknown_endpoint"
            )
        try:
            body = await _read_object(request)
        except UnreadableRequest as error:
            return _error(error.status, str(error), "unreadable_request")
        return _answer(session, endpoint, body, journal, provider)

    async def models(request: Request) -> Response:
        session = _caller(request, sessions)
        if session is None:
            return _refuse_stranger(request)
        try:
            found = await provider.models(session.tenant_id, request.path_params.get("model", ""))
            return Response(found, media_type="application/json")
        except Refusal as refusal:
            return _refused(refusal)
        except StepError as error:
            return _failed(error)

    routes = [
        Route(prefix + path, handler, methods=[method])
        # some clients add /v1 to a base URL that has it, some to none
        for prefix in ("/s/{token}/v1/", "/s/{token}/", "/v1/", "/")
        for path, handler, method in (
            ("models", models, "GET"),
            ("models/{model:path}", models, "GET"),
            ("{endpoint:path}", post, "POST"),
        )
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


async def _read_object(request: Request) -> dict[str, Any]:
    parts: list[bytes] = []
    length = 0
    try:
        async for part in request.stream():
            length += len(part)
            if length > LONGEST_REQUEST:
                raise UnreadableRequest(413, f"The body is longer than {LONGEST_REQUEST} bytes.")
            parts.append(part)
        body = json.loads(b"".join(parts), parse_constant=_no_constant)
    except ClientDisconnect:
        raise UnreadableRequest(400, "The client went away.") from None
    except (ValueError, RecursionError):
        raise UnreadableRequest(400, "The body is no JSON.") from None
    if not isinstance(body, dict):
        raise UnreadableRequest(400, "The body must be a JSON object.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _caller(request: Request, sessions: Sessions) -> StepSession | None:
    return sessions.find(request.path_params.get("token") or request.headers.get(HEADER, ""))


def _refuse_stranger(request: Request) -> Response:
    log.warning("call refused: it belongs to no running step", endpoint=request.path_params.get("endpoint", "models"))
    return _error(
        403,
        "This call belongs to no running step, so it was not sent. Model calls must be made while a step runs, "
        "in its context (threads, executors and tasks started by the step are fine).",
        "call_not_attributed",
    )


def _answer(session: StepSession, endpoint: str, body: dict[str, Any], journal: Journal, provider: Models) -> Response:
    if session.outcome is not None:
        return _failed(session.outcome)
    call = Call(kind="model", endpoint=endpoint, name=str(body.get("model", "")), request=body)
    occurrence = session.take_occurrence(call.hash)
    chunks = Chunks()
    work = asyncio.create_task(_journaled(session, call, occurrence, journal, provider, chunks))
    work.add_done_callback(lambda done: _ended(done, chunks))
    return Delivery(
        work,
        chunks,
        on_gone=lambda: session.give_back_occurrence(call.hash, occurrence),
        on_failure=_response_for,
    )


def _ended(work: asyncio.Task[Answer], chunks: Chunks) -> None:
    chunks.end()
    if not work.cancelled():
        # the client may have gone: what went wrong is in the session and in the log
        work.exception()


async def _journaled(
    session: StepSession, call: Call, occurrence: int, journal: Journal, provider: Models, chunks: Chunks
) -> Answer:
    """The answer; what goes wrong is noted in the session, whether or not the client still listens."""
    way = _Way(session, call, provider, chunks)
    try:
        return await journal.answer(session, call, occurrence, way.ask, way.quote)
    except Refusal as refusal:
        session.rejection = rejection(refusal)
        raise
    except StepError as error:
        session.decide(error)
        raise
    except Exception as error:
        log.error("the gateway itself failed", exc_info=error)
        failure = StepError(f"{type(error).__name__} in the gateway; the worker's log has the details.")
        session.decide(failure)
        raise failure from error


class _Way:
    """One call of a model, which is given its way to a provider when it has to be made."""

    def __init__(self, session: StepSession, call: Call, provider: Models, chunks: Chunks) -> None:
        self._session = session
        self._call = call
        self._provider = provider
        self._chunks = chunks
        self._route: ModelRoute

    async def quote(self, prices: Prices) -> Quote:
        self._route = await self._provider.route(self._session.tenant_id, self._call.endpoint, self._call.request)
        return self._route.quote(prices)

    async def ask(self) -> Answer:
        return await self._route.ask(self._chunks.add)


def _response_for(error: BaseException) -> Response:
    if isinstance(error, Refusal):
        return _refused(error)
    if isinstance(error, StepError):
        return _failed(error)
    return _error(503, "The worker is stopping.", "stopping")


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, media_type=refusal.content_type, headers=NO_RETRY)


def _failed(error: StepError) -> Response:
    if isinstance(error, Unaffordable):
        code = "insufficient_credits" if error.failure_type == "credits" else "budget_exceeded"
        return _error(402, str(error), code)
    status = 409 if isinstance(error, StaleAttempt) else 503
    return _error(status, str(error), error.failure_type)


def _error(status: int, message: str, code: str) -> Response:
    body = {"error": {"message": message, "type": "omium_gateway", "code": code}}
    return JSONResponse(body, status, headers=NO_RETRY)
