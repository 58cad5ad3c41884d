"""What both clients do alike: prepare a request for httpx, read the answer, say what is tried again."""

from __future__ import annotations

import json
from typing import Any

import httpx
from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from omium.calls import Request
from omium.config import Connection, is_loopback
from omium.errors import (
    AuthenticationError,
    ConfigurationError,
    Conflict,
    InvalidArgument,
    InvalidInput,
    NotFound,
    OmiumAPIError,
    OmiumConnectionError,
)

#: What a proxy or a restarting server answers: nobody did the work, or nobody knows.
TRANSIENT_STATUSES = frozenset({502, 503, 504})

#: Seconds before the first repetition; doubles each time up to the longest.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
#: Whoever is told to come back later than in so many seconds is told so.
LONGEST_WAIT = 60.0

ERRORS_BY_STATUS: dict[int, type[OmiumAPIError]] = {
    400: InvalidInput,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: InvalidInput,
}


def client_options(connection: Connection, timeout: float) -> dict[str, Any]:
    """Arguments of `httpx.Client` and `httpx.AsyncClient`."""
    from omium import __version__

    headers = {"Accept": "application/json", "User-Agent": f"omium-python/{__version__}"}
    if connection.access_token is not None:
        headers["Authorization"] = f"Bearer {connection.access_token}"
    elif connection.api_key is not None:
        headers["X-API-Key"] = connection.api_key
    return {
        "base_url": connection.base_url + "/",
        "headers": headers,
        "timeout": timeout,
        # a proxy of the environment cannot reach this machine's loopback
        "trust_env": not is_loopback(connection.base_url),
    }


def request_arguments(request: Request[Any], connection: Connection) -> dict[str, Any]:
    """Arguments of `httpx.Client.request`.

    Raises:
        ConfigurationError: the request needs a key and there is none.
        InvalidArgument: the body is not JSON.
    """
    if request.needs_key and connection.api_key is None and connection.access_token is None:
        raise ConfigurationError(
            "No API key is set. Set OMIUM_API_KEY, run `omium config set api_key KEY`, or sign in with `omium auth login`; "
            "a local stack started with `omium up` needs neither in the folder where it was started."
        )
    headers: dict[str, str] = {}
    arguments: dict[str, Any] = {"method": request.method, "url": request.path, "headers": headers}
    if query := {name: value for name, value in request.query.items() if value is not None}:
        arguments["params"] = query
    if request.body is not None:
        headers["Content-Type"] = "application/json"
        arguments["content"] = _encode({name: value for name, value in request.body.items() if value is not None})
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = _header_value(request.idempotency_key)
    if request.timeout is not None:
        arguments["timeout"] = request.timeout
    return arguments


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"What was passed cannot be sent as JSON: {error}.") from error


def _header_value(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise InvalidArgument("An idempotency key must be printable ASCII text, and not empty.")
    return key


def read_answer(response: httpx.Response, answers: frozenset[int] = frozenset()) -> Any:
    """The JSON of a 2xx answer, or of a status in `answers`; None where it has no content.

    Raises:
        OmiumAPIError: any other answer, or one that does not come from the API.
    """
    try:
        content = response.json() if response.content else None
    except (ValueError, RecursionError):
        raise _foreign_answer(response) from None
    if response.is_success:
        return content
    error = content.get("error") if isinstance(content, dict) else None
    if response.status_code in answers and isinstance(content, dict) and error is None:
        return content
    if not isinstance(error, dict):
        raise _foreign_answer(response)
    details = error.get("details")
    raise _error_class(response)(
        response.status_code,
        str(error.get("code") or "UNKNOWN"),
        str(error.get("message") or response.reason_phrase),
        details if isinstance(details, dict) else None,
        str(error.get("request_id") or ""),
    )


def _error_class(response: httpx.Response) -> type[OmiumAPIError]:
    return ERRORS_BY_STATUS.get(response.status_code, OmiumAPIError)


def _foreign_answer(response: httpx.Response) -> OmiumAPIError:
    location = response.headers.get("location")
    target = f" and points to {location}" if location else ""
    return _error_class(response)(
        response.status_code,
        "UNEXPECTED_ANSWER",
        f"{response.request.url} answered {response.status_code}{target}, but not as Omium's API does; "
        "check the base URL and what stands between",
    )


def connection_error(error: httpx.RequestError, connection: Connection) -> OmiumConnectionError:
    """One sentence on what happened, and one on what to do."""
    url = connection.base_url
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        happened = f"Cannot reach Omium at {url} ({str(error) or 'no connection in time'})."
    elif isinstance(error, httpx.TimeoutException):
        happened = f"Omium at {url} did not answer in time."
    else:
        happened = f"The connection to Omium at {url} broke before the answer was complete ({error})."
    if is_loopback(url):
        advice = "Is the stack running? `omium status` tells, `omium up` starts it."
    else:
        advice = "Check the network and the address (`omium config show`)."
    return OmiumConnectionError(f"{happened} {advice}")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, OmiumAPIError):
        return error.status_code in TRANSIENT_STATUSES or 0 < _asked_to_wait(error) <= LONGEST_WAIT
    return isinstance(error, OmiumConnectionError)


def _asked_to_wait(error: BaseException | None) -> float:
    """Seconds after which the API will take the request, where it refused it for coming too soon; else 0."""
    if not isinstance(error, OmiumAPIError) or error.code != "RATE_LIMIT_EXCEEDED":
        return 0.0
    seconds = error.details.get("retry_after")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _pause(state: RetryCallState) -> float:
    grows = wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE) + wait_random(0, FIRST_PAUSE)
    return max(grows(state), _asked_to_wait(state.outcome.exception() if state.outcome else None))


def retry_policy(request: Request[Any], max_retries: int) -> dict[str, Any]:
    """Arguments of tenacity's `Retrying` and `AsyncRetrying`."""
    return {
        "stop": stop_after_attempt(1 + max_retries if request.repeatable else 1),
        "wait": _pause,
        "retry": retry_if_exception(is_transient),
        "reraise": True,
    }
