"""The gateway's HTTP side: an OpenAI-compatible endpoint on loopback, inside the worker.

`/s/<token>/v1/...` is the base URL that one attempt of one step was given. `/v1/...` is where the process's OpenAI
variables point; there the token comes as a header (`identity`). A call without a valid token is refused: what cannot be
attributed cannot be journaled or paid for. `x-should-retry: false` tells the OpenAI clients not to try again by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from activities.adapters.base import StaleAttempt, StepError
from activities.gateway.identity import HEADER
from activities.gateway.journal import Answer, Call, Journal
from activities.gateway.session import StepSession
from activities.gateway.upstream import ModelProvider, Refusal

log = structlog.get_logger(__name__)

ENDPOINTS = frozenset({"chat/completions", "completions", "responses", "embeddings"})
NO_RETRY = {"x-should-retry": "false"}


class Sessions(Protocol):
    def find(self, token: str) -> StepSession | None: ...


def create_app(sessions: Sessions, journal: Journal, provider: ModelProvider) -> Starlette:
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
            body = await request.json()
        except ValueError:
            return _error(400, "The body is no JSON.", "invalid_json")
        if not isinstance(body, dict):
            return _error(400, "The body must be a JSON object.", "invalid_json")
        return await _answer(session, endpoint, body, journal, provider)

    async def models(request: Request) -> Response:
        if _caller(request, sessions) is None:
            return _refuse_stranger(request)
        try:
            answer = await provider.models()
        except (StepError, Refusal):
            return _error(503, "The model endpoint does not list its models now.", "model_unavailable")
        return Response(answer.content, media_type="application/json")

    routes = [
        Route(prefix + path, handler, methods=[method])
        for prefix in ("/s/{token}/v1/", "/v1/")
        for path, handler, method in (("models", models, "GET"), ("{endpoint:path}", post, "POST"))
    ]
    return Starlette(routes=routes)


def _caller(request: Request, sessions: Sessions) -> StepSession | None:
    return sessions.find(request.path_params.get("token") or request.headers.get(HEADER, ""))


def _refuse_stranger(request: Request) -> Response:
    log.warning("call refused: it belongs to no running step", path=request.url.path.rpartition("/v1/")[2])
    return _error(
        403,
        "This call belongs to no running step, so it was not sent. Model calls must be made while a step runs, "
        "in its context (threads, executors and tasks started by the step are fine).",
        "call_not_attributed",
    )


async def _answer(
    session: StepSession, endpoint: str, body: dict[str, Any], journal: Journal, provider: ModelProvider
) -> Response:
    if session.outcome is not None:
        return _failed(session.outcome)
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    call = Call(kind="model", endpoint=endpoint, name=str(body.get("model", "")), request=body)
    on_chunk = chunks.put_nowait if body.get("stream") else None
    work = asyncio.create_task(_journaled(session, call, journal, provider, on_chunk))
    if on_chunk is not None:
        first = asyncio.create_task(chunks.get())
        await asyncio.wait((work, first), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return StreamingResponse(_stream(first.result(), chunks, work), media_type="text/event-stream")
        first.cancel()
    try:
        answer = await work
    except Refusal as refusal:
        return Response(refusal.body, refusal.status, media_type=refusal.content_type, headers=NO_RETRY)
    except StepError as error:
        return _failed(error)
    return Response(answer.body, media_type=answer.content_type)


async def _journaled(
    session: StepSession, call: Call, journal: Journal, provider: ModelProvider, on_chunk: Any
) -> Answer:
    try:
        return await journal.answer(session, call, lambda: provider.ask(call.endpoint, call.request, on_chunk))
    except Refusal as refusal:
        session.rejection = provider.rejection(refusal)
        raise
    except StepError as error:
        session.decide(error)
        raise


async def _stream(first: bytes, chunks: asyncio.Queue[bytes], work: asyncio.Task[Answer]) -> AsyncIterator[bytes]:
    """Events as they come. The end is held back until the answer is in the journal."""
    yield first
    while not work.done() or not chunks.empty():
        take = asyncio.create_task(chunks.get())
        await asyncio.wait((work, take), return_when=asyncio.FIRST_COMPLETED)
        if take.done():
            yield take.result()
        else:
            take.cancel()
    # an error here breaks the connection off: the client must not take half an answer for a whole one
    answer = await work
    if b"data: [DONE]" in answer.body[-64:]:
        yield b"data: [DONE]\n\n"


def _failed(error: StepError) -> Response:
    status = 409 if isinstance(error, StaleAttempt) else 503
    return _error(status, str(error), error.failure_type)


def _error(status: int, message: str, code: str) -> Response:
    body = {"error": {"message": message, "type": "omium_gateway", "code": code}}
    return JSONResponse(body, status, headers=NO_RETRY)
