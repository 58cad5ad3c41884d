"""Requests to the services: judged addresses, no redirects to elsewhere, bounded time and size, and errors without secrets."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import httpx
from httpx_secure import SSRFProtectionError

from activities.adapters.base import Json, ToolFailed
from activities.connections import reading
from activities.connections.base import RemoteError, RemoteRefused, RemoteUnavailable, Target
from activities.tools.guarded import AddressRefused, Guard, HostNotFound, refusal

#: Bytes of the longest answer that is read.
LONGEST_ANSWER: Final = 8 * 1024 * 1024
MOST_REDIRECTS: Final = 3
#: The longest pause that a service may ask for, in seconds.
LONGEST_PAUSE: Final = 3600.0
#: Statuses by which a service says that it did not take the request.
_NOT_TAKEN: Final = frozenset({408, 425, 429, 503})


class RemoteHttp:
    """JSON over HTTP. Each request judges its address anew, and opens a connection of its own."""

    def __init__(self, guard: Guard, timeout: float) -> None:
        self.guard = guard
        self.timeout = timeout

    async def json(
        self,
        target: Target,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The answer as JSON data; None for an empty one. `path` is below the target's address, its parts quoted.

        Raises `RemoteUnavailable`, `RemoteRefused`.
        """
        url = httpx.URL(target.url.rstrip("/") + path)
        if query:
            url = url.copy_merge_params(dict(query))
        content = None if body is None else json.dumps(body).encode()
        request = httpx.Request(method, url, headers=_headers(headers), content=content)
        if content is not None:
            request.headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self.timeout), self.guard.client(self.timeout) as client:
                return await self._exchange(target, client, request)
        except RemoteError:
            raise
        except SSRFProtectionError as error:
            raise RemoteRefused(str(refusal(error))) from None
        except AddressRefused as error:
            raise RemoteRefused(str(error)) from None
        except (HostNotFound, httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = str(error) if isinstance(error, HostNotFound) else "no connection could be made."
            raise RemoteUnavailable(f"{url.host} cannot be reached: {reason}", arrived=False) from None
        except ToolFailed as error:
            raise RemoteRefused(str(error)) from None
        except (TimeoutError, httpx.TimeoutException):
            raise RemoteUnavailable(
                f"{url.host} did not answer within {self.timeout:g} seconds.", arrived=True
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteUnavailable(f"{url.host} broke off: {type(error).__name__}.", arrived=True) from None

    async def _exchange(self, target: Target, client: httpx.AsyncClient, request: httpx.Request) -> Json:
        for _ in range(MOST_REDIRECTS + 1):
            await self.guard.judge(request.url)
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if not response.has_redirect_location:
                    return self._answer(target, response, await _read(response))
                request = _redirected(request, response)
            finally:
                await response.aclose()
        raise RemoteRefused(f"{request.url.host} redirects more than {MOST_REDIRECTS} times.")

    def _answer(self, target: Target, response: httpx.Response, content: bytes) -> Json:
        host, status = response.request.url.host, response.status_code
        try:
            document = reading.cleaned(json.loads(content)) if content.strip() else None
        except (ValueError, RecursionError):
            document = None if response.is_error else _Garbage
        if response.is_error:
            said = target.hidden(reading.error_of(document) or reading.text_of(document) or "")
            message = f"{host} answered {status}{f': {said}' if said else '.'}"
            if status >= 500 or status in _NOT_TAKEN:
                pause = _seconds(response.headers.get("retry-after"))
                raise RemoteUnavailable(message, arrived=status not in _NOT_TAKEN, retry_after=pause, status=status)
            raise RemoteRefused(message, status)
        if document is _Garbage:
            raise RemoteUnavailable(f"{host} answered with something that is no JSON.", arrived=True, status=status)
        return document


class _Garbage:
    """Stands for an answer that cannot be read."""


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    # compressed, a small answer could unpack to any size
    return {"User-Agent": "omium", "Accept": "application/json", "Accept-Encoding": "identity", **(given or {})}


def _redirected(request: httpx.Request, response: httpx.Response) -> httpx.Request:
    """The request again at the place that a redirect names; refused where the token would go to another service."""
    to = request.url.join(response.headers["location"])
    before = request.url
    if (to.scheme, to.host, to.port) != (before.scheme, before.host, before.port):
        raise RemoteRefused(f"{before.host} redirects to another address: correct the connection's address.")
    status = response.status_code
    if request.method not in ("GET", "HEAD") and status not in (307, 308):
        # 303 says that it was done, and that something about it lies elsewhere
        raise RemoteRefused(
            f"{before.host} answered {status}: correct the connection's address.", status, arrived=status == 303
        )
    return httpx.Request(request.method, to, headers=request.headers, content=request.content)


async def _read(response: httpx.Response) -> bytes:
    """What was answered; of an error that cannot be read, nothing: its status says enough."""
    host, content = response.request.url.host, bytearray()
    unread = ""
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        unread = f"{host} answered compressed, although it was asked not to."
    else:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > LONGEST_ANSWER:
                unread = f"{host} answered with more than {LONGEST_ANSWER} bytes."
                break
    if not unread:
        return bytes(content)
    if response.is_error:
        return b""
    raise RemoteRefused(unread, response.status_code, arrived=True)


def _seconds(retry_after: str | None) -> float | None:
    """How long a service asks to wait; it may say so in seconds or as a date."""
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


def base_url(given: str) -> str:
    """Of a model endpoint: without a closing slash; an address that is only a host means its `/v1`, as everybody's is there."""
    url = given.strip().rstrip("/")
    _, separator, rest = url.partition("://")
    return f"{url}/v1" if separator and "/" not in rest else url


def segment(part: str) -> str:
    """A part of a path that the service or a user named; `RemoteRefused` for dots, which would lead to another path."""
    if not part.strip("."):
        raise RemoteRefused("The service knows no run with this id.", 404)
    return quote(part, safe="")


def bearer(token: str) -> dict[str, str]:
    """The header of a token; none without one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def as_object(document: Any, host: str) -> dict[str, Any]:
    """An answer that must be a JSON object; `RemoteUnavailable` for any other."""
    if not isinstance(document, dict):
        raise RemoteUnavailable(f"{host} answered with something that is no JSON object.", arrived=True)
    return document
