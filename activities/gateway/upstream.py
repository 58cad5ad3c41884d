"""The model provider behind the gateway: any OpenAI-compatible endpoint.

Adds the provider's key, reads the usage out of the answer, and sorts what goes wrong into two kinds: the
endpoint is away (429, 5xx, no connection: worth another try later) or it refuses the request (400, 401 ...: it is not).
Nothing of the caller's headers goes upstream: its key, organization and project are not the provider's business.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
from httpx_secure import SSRFProtectionError

from activities.adapters.base import ModelRejected, ModelUnavailable
from activities.connections.http import base_url
from activities.gateway import usage
from activities.gateway.journal import Answer
from activities.gateway.streams import StreamedAnswer, event_data, events
from activities.tools.guarded import refusal
from omium_core.settings import Settings

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
JSON_TYPE = "application/json"
SSE = "text/event-stream"
#: Far above any real answer; a provider that never stops must not fill the worker's memory.
LONGEST_ANSWER = 64 * 1024 * 1024
#: The longest pause that an endpoint may ask for, in seconds.
LONGEST_PAUSE = 3600.0
_STREAMS_WITH_USAGE = frozenset({"chat/completions", "completions"})
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(eq=False)
class Refusal(Exception):
    """An error answer that the framework should see as the provider gave it. `by` names the endpoint."""

    status: int
    body: bytes
    content_type: str
    by: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A provider of a tenant's own, with the client that goes there. `name` says in errors whose it is.

    `correct` is what to do about a wrong address; `hidden` takes secrets out of texts; `judge` looks at the address of each
    request before it is sent.
    """

    base_url: str
    client: httpx.AsyncClient
    name: str
    correct: str
    hidden: Callable[[str], str]
    judge: Callable[[httpx.URL], Awaitable[None]]


class ModelProvider:
    """Sends requests to the endpoint of the settings, or to one of a tenant's own. Lives on the gateway's event loop."""

    def __init__(self, settings: Settings, endpoint: Endpoint | None = None) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self.base_url = base_url(endpoint.base_url if endpoint else settings.llm_base_url or "")
        #: How errors call it.
        self.title = f"The model endpoint {self.base_url}{f' {endpoint.name}' if endpoint else ''}"
        self._client = endpoint.client if endpoint else self._platforms_client(settings)

    @staticmethod
    def _platforms_client(settings: Settings) -> httpx.AsyncClient:
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        return httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.llm_timeout, connect=min(10.0, settings.llm_timeout)),
            # an idle connection is given up before a server does so (5 s is usual): a request that meets a connection
            # while it is being closed fails
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=3.0),
            # a proxy of the environment is for hosts out there
            mounts={f"all://{host}": None for host in _LOOPBACK},
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def models(self, model: str = "") -> bytes:
        """The endpoint's list of models, or what it tells about one."""
        if {".", ".."} & set(model.split("/")):
            raise own_refusal("There is no such model.", "model_not_found", status=404)
        # quoted, or a name could reach other endpoints of the provider, with its key
        async with self._exchange("GET", f"models/{quote(model)}" if model else "models") as response:
            return await self._read(response)

    async def ask(self, endpoint: str, request: dict[str, Any], on_chunk: Callable[[bytes], None]) -> Answer:
        """One call. Of a streamed answer `on_chunk` gets every event but those of its end.

        Raises `ModelUnavailable` (naming the endpoint) or `Refusal`.
        """
        body = dict(request)
        if (model := self.model_for(request)) != request.get("model"):
            body["model"] = model
        if body.get("stream"):
            content, content_type = await self._stream(endpoint, body, on_chunk), SSE
            answer, name, told, length = content.body, content.model, content.usage, content.text_length
            failed = content.refused
        else:
            answer, content_type = await self._whole(endpoint, body), JSON_TYPE
            document = self._parse(answer)
            name, told, length = document.get("model"), document.get("usage"), usage.said(document)
            failed = usage.is_refusal(document)
        reported = usage.reported(told)
        used, estimated = usage.charged(reported, asked_bytes=usage.asked(body), said_bytes=length)
        return Answer(
            answer,
            content_type,
            str(name or body.get("model") or "unknown"),
            input_tokens=reported.input or 0,
            output_tokens=reported.output or 0,
            used=used,
            estimated=estimated,
            # an error without a word of usage is not paid for
            failed=failed and reported == usage.Reported(),
        )

    def model_for(self, request: Mapping[str, Any]) -> Any:
        """The model that a request goes to: the settings may give it one, or another one."""
        forced = self._settings.llm_force_model and self._endpoint is None
        if self._settings.llm_model and (forced or not request.get("model")):
            return self._settings.llm_model
        return request.get("model")

    async def _whole(self, endpoint: str, body: dict[str, Any]) -> bytes:
        async with self._exchange("POST", endpoint, body) as response:
            return await self._read(response)

    async def _stream(self, endpoint: str, body: dict[str, Any], on_chunk: Callable[[bytes], None]) -> StreamedAnswer:
        hide_usage = False
        if endpoint in _STREAMS_WITH_USAGE:
            # without it a stream does not tell what it cost
            asked = body.get("stream_options")
            asked = asked if isinstance(asked, dict) else {}
            hide_usage = not asked.get("include_usage")
            body["stream_options"] = {**asked, "include_usage": True}
        choices = body.get("n")
        answer = StreamedAnswer(choices=choices if isinstance(choices, int) else 1, hide_usage=hide_usage)
        async with self._exchange("POST", endpoint, body) as response:
            async for event in events(self._bytes(response)):
                data = event_data(event)
                if data is not None:
                    self._raise_if_failed(data)
                if answer.add(event, data):
                    on_chunk(event)
        if not answer.ended:
            raise ModelUnavailable(f"{self.title} broke off in the middle of its answer.")
        return answer

    def _parse(self, answer: bytes) -> dict[str, Any]:
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ModelUnavailable(f"{self.title} answered with something that is no JSON object.")
        self._raise_if_failed(document)
        return document

    def _raise_if_failed(self, document: dict[str, Any]) -> None:
        code = usage.reported_failure(document)
        if code is not None:
            raise ModelUnavailable(f"{self.title} reported a failure in its answer ({code}).")

    @asynccontextmanager
    async def _exchange(
        self, method: str, endpoint: str, body: dict[str, Any] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """A request whose answer is good so far; what goes wrong inside the block is sorted too."""
        if not self.base_url:
            raise own_refusal("No model endpoint is configured: set OMIUM_LLM_BASE_URL.", "no_model_endpoint")
        # escapes keep what is no UTF-8 (half of a surrogate pair) sendable
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            request = self._client.build_request(
                method, f"{self.base_url}/{endpoint}", content=content, headers={"content-type": JSON_TYPE}
            )
            if self._endpoint is not None:
                await self._endpoint.judge(request.url)
            response = await self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    self._raise_for(response, await self._read(response))
                yield response
            finally:
                await response.aclose()
        except httpx.InvalidURL:
            raise own_refusal(f"The address cannot be used: {self._correct()}.", "no_model_endpoint") from None
        except SSRFProtectionError as error:
            raise own_refusal(str(refusal(error)), "address_refused") from None
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ModelUnavailable(f"{self.title} did not answer: {reason}.") from None

    async def _read(self, response: httpx.Response) -> bytes:
        return b"".join([chunk async for chunk in self._bytes(response)])

    async def _bytes(self, response: httpx.Response) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in response.aiter_bytes():
            length += len(chunk)
            if length > LONGEST_ANSWER:
                raise own_refusal(f"The model's answer is longer than {LONGEST_ANSWER} bytes.", "answer_too_long")
            yield chunk

    def _raise_for(self, response: httpx.Response, body: bytes) -> None:
        status = response.status_code
        if status in RETRYABLE_STATUSES or status >= 500:
            raise ModelUnavailable(
                f"{self.title} answered {status}.",
                retry_after=_seconds(response.headers.get("retry-after")),
            )
        if response.has_redirect_location:
            # followed, it would take the key to an address that nobody configured
            raise own_refusal(f"The model endpoint redirects: {self._correct()}.", "redirected", by=self.title)
        if self._endpoint is not None:
            # some services send back the key that they refuse
            body = self._endpoint.hidden(body.decode(errors="replace")).encode()
        raise Refusal(status, body, response.headers.get("content-type", JSON_TYPE), self.title)

    def _correct(self) -> str:
        return self._endpoint.correct if self._endpoint else "correct OMIUM_LLM_BASE_URL"


def rejection(refused: Refusal) -> ModelRejected:
    """The refusal as a reason for a step to fail."""
    try:
        message = json.loads(refused.body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = "no reason given"
    by = refused.by or "The model endpoint"
    return ModelRejected(f"{by} refused a call with {refused.status}: {str(message)[:500]}")


def own_refusal(message: str, code: str, *, status: int = 400, by: str = "") -> Refusal:
    """A refusal in our own words, in the shape that clients know."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
    return Refusal(status, json.dumps(body).encode(), JSON_TYPE, by)


def _seconds(retry_after: str | None) -> float | None:
    """How long an endpoint asks to wait; it may say so in seconds or as a date."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (date.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE) if math.isfinite(seconds) else None
