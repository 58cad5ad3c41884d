"""The model provider behind the gateway: any OpenAI-compatible endpoint.

Adds the provider's key, reads the usage out of the answer, prices it, and sorts what goes wrong into two kinds: the
endpoint is away (429, 5xx, no connection: worth another try later) or it refuses the request (400, 401 ...: it is not).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

import httpx

from activities.adapters.base import ModelRejected, ModelUnavailable
from activities.gateway.journal import Answer
from omium_core.settings import Settings

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
#: One US dollar per million tokens is this many millionths of a credit per token (a credit is a cent).
MICROCREDITS_PER_DOLLAR_PER_MILLION = 100
SSE = "text/event-stream"


@dataclass
class Refusal(Exception):
    """An error answer that the framework should see as the provider gave it."""

    status: int
    body: bytes
    content_type: str


class ModelProvider:
    """Sends requests to the endpoint of the settings. Lives on the gateway's event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.base_url = (settings.llm_base_url or "").rstrip("/")
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.llm_timeout, connect=min(10.0, settings.llm_timeout)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def models(self) -> httpx.Response:
        return await self._send(httpx.Request("GET", f"{self.base_url}/models", headers=self._client.headers))

    async def ask(self, endpoint: str, request: dict[str, Any], on_chunk: Callable[[bytes], None] | None) -> Answer:
        """One call. With `on_chunk` the answer is a stream, given out event by event except for its end.

        Raises `ModelUnavailable` (naming the endpoint) or `Refusal`.
        """
        body = dict(request)
        if self._settings.llm_force_model and self._settings.llm_model:
            body["model"] = self._settings.llm_model
        hide_usage = False
        if body.get("stream") and endpoint == "chat/completions":
            # without it a stream does not tell what it cost
            asked = body.get("stream_options") or {}
            hide_usage = not asked.get("include_usage")
            body["stream_options"] = {**asked, "include_usage": True}
        http = self._client.build_request("POST", f"{self.base_url}/{endpoint}", json=body)
        if body.get("stream"):
            content, model, usage = await self._stream(http, on_chunk or (lambda _chunk: None), hide_usage)
            content_type = SSE
        else:
            response = await self._send(http)
            content, content_type = response.content, "application/json"
            try:
                document = response.json()
            except ValueError:
                raise ModelUnavailable(
                    f"The model endpoint {self.base_url} answered with something that is no JSON."
                ) from None
            model, usage = document.get("model"), document.get("usage")
        name = str(model or body.get("model") or "unknown")
        tokens = _tokens(usage)
        return Answer(content, content_type, name, *tokens, cost=self._price(str(body.get("model")), name, *tokens))

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        if not self.base_url:
            raise Refusal(
                400,
                _error("No model endpoint is configured: set OMIUM_LLM_BASE_URL.", "no_model_endpoint"),
                "application/json",
            )
        try:
            response = await self._client.send(request, stream=stream)
            if response.is_error:
                await response.aread()
        except httpx.HTTPError as error:
            raise self._away(error) from None
        if response.is_error:
            self._raise_for(response)
        return response

    async def _stream(
        self, request: httpx.Request, on_chunk: Callable[[bytes], None], hide_usage: bool
    ) -> tuple[bytes, str | None, Any]:
        response = await self._send(request, stream=True)
        kept: list[bytes] = []
        model: str | None = None
        usage: Any = None
        ended = False
        try:
            async for event in _events(response.aiter_lines()):
                data = _data(event)
                if data is None:
                    ended = ended or b"[DONE]" in event
                    kept.append(event)
                    continue
                nested = data.get("response")
                inner = nested if isinstance(nested, dict) else data
                model = inner.get("model") or model
                usage = inner.get("usage") or usage
                ended = ended or _is_end(data)
                if hide_usage and data.get("usage") and not data.get("choices"):
                    continue
                kept.append(event)
                on_chunk(event)
        except httpx.HTTPError as error:
            raise self._away(error) from None
        finally:
            await response.aclose()
        if not ended:
            raise ModelUnavailable(f"The model endpoint {self.base_url} broke off in the middle of its answer.")
        return b"".join(kept), model, usage

    def _away(self, error: httpx.HTTPError) -> ModelUnavailable:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        return ModelUnavailable(f"The model endpoint {self.base_url} did not answer ({reason}).")

    def _raise_for(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in RETRYABLE_STATUSES or status >= 500:
            raise ModelUnavailable(
                f"The model endpoint {self.base_url} answered {status}.",
                retry_after=_seconds(response.headers.get("retry-after")),
            )
        raise Refusal(status, response.content, response.headers.get("content-type", "application/json"))

    def rejection(self, refusal: Refusal) -> ModelRejected:
        """The refusal as a reason for a step to fail."""
        try:
            message = json.loads(refusal.body)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = "no reason given"
        return ModelRejected(
            f"The model endpoint {self.base_url} refused a call with {refusal.status}: {str(message)[:500]}"
        )

    def _price(self, asked: str, answered: str, input_tokens: int, output_tokens: int) -> int:
        prices = self._settings.model_prices
        price = prices.get(asked) or prices.get(answered)
        if price is None:
            return 0
        cost = (price.input * input_tokens + price.output * output_tokens) * MICROCREDITS_PER_DOLLAR_PER_MILLION
        return int(Decimal(cost).to_integral_value(ROUND_CEILING))


def _error(message: str, code: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}).encode()


def _tokens(usage: Any) -> tuple[int, int]:
    """Input and output tokens; the two APIs name them differently."""
    if not isinstance(usage, dict):
        return 0, 0
    given = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    made = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    return int(given), int(made)


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None


async def _events(lines: Any) -> Any:
    """Server-sent events, each with its closing blank line."""
    event: list[str] = []
    async for line in lines:
        if line:
            event.append(line)
        elif event:
            yield ("\n".join(event) + "\n\n").encode()
            event = []
    if event:
        yield ("\n".join(event) + "\n\n").encode()


def _data(event: bytes) -> dict[str, Any] | None:
    """The JSON of an event, or None for `[DONE]` and comments."""
    lines: Iterable[bytes] = (line for line in event.splitlines() if line.startswith(b"data:"))
    text = b"\n".join(line[5:].strip() for line in lines)
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _is_end(data: dict[str, Any]) -> bool:
    if str(data.get("type", "")) in ("response.completed", "response.failed", "response.incomplete"):
        return True
    return any(choice.get("finish_reason") for choice in data.get("choices") or [])
