"""Clients of the model endpoint: one connection pool per event loop, and the meaning of a client's errors."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import httpx
import openai

from activities.adapters.base import ModelEndpoint, ModelRejected, ModelUnavailable, StepError

#: The endpoint is the gateway of this process, which has the time-outs; a step's own time-out ends what hangs.
_TIMEOUT = httpx.Timeout(None, connect=10.0)

#: Refused for now: a later attempt may be answered.
_PASSING = frozenset({408, 409, 425, 429})

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def client_for(endpoint: ModelEndpoint) -> openai.AsyncOpenAI:
    """A client for one step attempt. Retries are the run's business, so it makes none."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        # Making one costs 20 ms (certificates), so the steps of a loop share it.
        limits = httpx.Limits(max_connections=None)
        pool = _pools[loop] = httpx.AsyncClient(timeout=_TIMEOUT, limits=limits, trust_env=False)
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0, http_client=pool, timeout=_TIMEOUT
    )


def step_error(error: BaseException) -> StepError | None:
    """What an error of an OpenAI client means, also one that another library has wrapped; None for any other error."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, StepError):
            return cause
        if isinstance(cause, openai.APIConnectionError):
            return ModelUnavailable(f"The model endpoint did not answer: {cause}")
        if isinstance(cause, openai.APIStatusError):
            return _status_error(cause)
        cause = cause.__cause__
    return None


def _status_error(error: openai.APIStatusError) -> StepError:
    text = f"The model endpoint answered {error.status_code}: {error.message[:300]}"
    if error.status_code in _PASSING or error.status_code >= 500:
        return ModelUnavailable(text, retry_after=_seconds(error.response.headers.get("retry-after")))
    return ModelRejected(text)


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header else None
    except ValueError:
        return None
