"""CrewAI's OpenAI client, bound to the gateway.

Every model of a crew is one of these, whatever its name says: CrewAI's other providers are never used. Requests travel over
the step's `Line`, retries are off, and an error of the endpoint ends the step.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Self

import httpx
import openai
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.utilities.agent_utils import is_context_length_exceeded, is_native_tool_calling_unsupported_error
from crewai.utilities.message_utils import message_content_text
from pydantic import PrivateAttr

from activities.adapters.base import ModelEndpoint
from activities.adapters.crewai.line import Line, LineCut
from activities.adapters.crewai.schema import LLMSpec

#: Answers that say that the request itself is wrong.
_REQUEST_ERRORS: Final = frozenset({400, 413, 422})


class LineTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends requests from the crew's threads and loops on the worker's loop. Bodies are passed whole."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._http = httpx.AsyncHTTPTransport(verify=_certificates())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._line.call(lambda: self._send(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await self._line.acall(lambda: self._send(request))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        copy = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            extensions=request.extensions,
        )
        response = await self._http.handle_async_request(copy)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        # The body is decoded now.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=body, extensions=response.extensions)

    async def aclose(self) -> None:
        """Closes the connections; on the worker's loop."""
        await self._http.aclose()


class GatewayLLM(OpenAICompletion):
    """A model behind the gateway. `connect` it before use."""

    _line: Line | None = PrivateAttr(default=None)
    _transport: LineTransport | None = PrivateAttr(default=None)

    def connect(self, line: Line, transport: LineTransport) -> Self:
        self._line, self._transport = line, transport
        return self

    # CrewAI builds its clients later when they cannot be built at once, which it learns from a ValueError.

    def _build_sync_client(self) -> openai.OpenAI:
        if self._transport is None:
            raise ValueError("not connected yet")
        return openai.OpenAI(**self._get_client_params(), http_client=httpx.Client(transport=self._transport))

    def _build_async_client(self) -> openai.AsyncOpenAI:
        if self._transport is None:
            raise ValueError("not connected yet")
        return openai.AsyncOpenAI(**self._get_client_params(), http_client=httpx.AsyncClient(transport=self._transport))

    def call(self, *arguments: Any, **options: Any) -> Any:
        with self._surfacing():
            return super().call(*arguments, **options)

    async def acall(self, *arguments: Any, **options: Any) -> Any:
        with self._surfacing():
            return await super().acall(*arguments, **options)

    def get_input_tokens_count(self, messages: str | list[Any], tools: Any = None, response_model: Any = None) -> int:
        """CrewAI's estimate, without its warning at every call: four characters a token."""
        texts = [messages] if isinstance(messages, str) else map(message_content_text, messages)
        return -(-sum(map(len, texts)) // 4)

    @contextmanager
    def _surfacing(self) -> Iterator[None]:
        """Makes an error of the endpoint the step's: delegation, planning and parallel tools would tell it to an agent."""
        try:
            yield
        except Exception as error:
            refused = _endpoint_error(error)
            if refused is None or self._line is None or _framework_recovers(refused, error):
                raise
            self._line.fail(refused)
            raise LineCut from error


def make_llm(spec: LLMSpec, endpoint: ModelEndpoint, line: Line, transport: LineTransport) -> GatewayLLM:
    """A model as a definition names it, its name untouched."""
    parameters = spec.model_dump(exclude_none=True)
    llm = GatewayLLM(
        **parameters,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        # A compatible server: CrewAI must not move a model to another API because of its name.
        custom_openai=True,
        provider="openai",
        max_retries=0,
    )
    return llm.connect(line, transport)


def _endpoint_error(error: BaseException) -> openai.APIError | None:
    """The client's error inside CrewAI's, which comes as `ValueError` or `ConnectionError` at times."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, openai.APIError):
        seen = seen.__cause__
    return seen


def _framework_recovers(refused: openai.APIError, error: Exception) -> bool:
    """Whether CrewAI has a better answer than giving up: a shorter conversation, or tools described in the prompt."""
    status = refused.status_code if isinstance(refused, openai.APIStatusError) else None
    return status in _REQUEST_ERRORS and (
        is_context_length_exceeded(error) or is_native_tool_calling_unsupported_error(error)
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Once per process: loading them takes longer than building a crew."""
    return httpx.create_ssl_context()
