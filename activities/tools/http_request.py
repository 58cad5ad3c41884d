"""The tool `http_request`: one HTTP request to the public internet, and to nothing else.

`guarded.py` judges the addresses; every redirect is judged like the first request.
"""

from __future__ import annotations

import json as jsonlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import httpx
from pydantic import Field

from activities.adapters.base import JsonObject, ToolFailed
from activities.tools.guarded import AddressRefused as AddressRefused
from activities.tools.guarded import Guard

MAX_BODY_BYTES = 256 * 1024
MAX_REDIRECTS = 5
_MAX_URL = 8_000
#: Response headers that tell an agent something.
_SHOWN_HEADERS = frozenset(
    {"content-type", "content-length", "date", "etag", "last-modified", "link", "location", "retry-after"}
)
#: Headers that belong to the connection, or that would make one host answer for another.
_REFUSED_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect"}
    | {"keep-alive", "proxy-authorization", "proxy-connection", "accept-encoding"}
)
#: What goes along to another origin; everything else may hold a secret that is meant for the first one.
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "content-length", "host", "user-agent"}
)

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_READS = ("GET", "HEAD", "OPTIONS")


def only_reads(arguments: JsonObject) -> bool:
    """Whether a request changes nothing, by what its method promises."""
    return arguments.get("method", "GET") in _READS


class HttpTool:
    """Holds what the operator allows; `http_request` is the tool."""

    def __init__(self, allow_private: Sequence[str]) -> None:
        self._guard = Guard(allow_private)

    async def http_request(
        self,
        url: Annotated[str, Field(description="Address, beginning with http:// or https://", max_length=_MAX_URL)],
        idempotency_key: str,
        method: Method = "GET",
        headers: Annotated[dict[str, str] | None, Field(description="Headers of the request")] = None,
        body: Annotated[str | None, Field(description="Body of the request as text")] = None,
        json: Annotated[Any, Field(description="Body of the request as JSON data; not together with body")] = None,
        timeout: Annotated[float, Field(description="Seconds for the whole request", gt=0, le=120)] = 30.0,
    ) -> JsonObject:
        """Sends an HTTP request to a public address and returns status, headers and body. Bodies are cut at 256 KB."""
        if body is not None and json is not None:
            raise ToolFailed("Give either body or json, not both.")
        request = _request(url, method, headers or {}, body, json)
        if method != "GET":
            request.headers.setdefault("Idempotency-Key", idempotency_key)
        async with self._guard.bounded(request.url.host, timeout) as client:
            return await self._follow(client, request)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str], timeout: float) -> int:
        """Sends `content` once and follows nothing. Returns the status.

        Raises `AddressRefused` for what may not be reached, `ToolFailed` when no answer came; neither names more than the host.
        """
        request = httpx.Request("POST", url, headers=dict(headers), content=content)
        async with self._guard.bounded(request.url.host, timeout) as client:
            await self._guard.judge(request.url)
            response = await client.send(request, stream=True, follow_redirects=False)
            await response.aclose()
            return response.status_code

    async def _follow(self, client: httpx.AsyncClient, request: httpx.Request) -> JsonObject:
        """Redirects are followed here, because httpx reads the whole body of each and sends every header on."""
        for _ in range(MAX_REDIRECTS + 1):
            await self._guard.judge(request.url)
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.next_request is None:
                    return await _answer(response)
                request = _redirected(request, response.next_request)
            finally:
                await response.aclose()
        raise ToolFailed(f"More than {MAX_REDIRECTS} redirects; the last one led to {request.url}.")


def _request(url: str, method: str, headers: Mapping[str, str], body: str | None, json: Any) -> httpx.Request:
    refused = sorted(name for name in headers if name.lower() in _REFUSED_HEADERS)
    if refused:
        raise ToolFailed(f"The header {refused[0]!r} cannot be set.")
    try:
        content = body if json is None else jsonlib.dumps(json)
        request = httpx.Request(method, url, headers=dict(headers), content=content)
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError) as error:
        raise ToolFailed(f"The request cannot be built: {error}") from error
    # Compressed, a small answer could unpack to any size.
    request.headers["Accept-Encoding"] = "identity"
    request.headers.setdefault("User-Agent", "omium")
    request.headers.setdefault("Accept", "*/*")
    if json is not None:
        request.headers.setdefault("Content-Type", "application/json")
    return request


def _redirected(before: httpx.Request, after: httpx.Request) -> httpx.Request:
    if (before.url.scheme, before.url.host, before.url.port) != (after.url.scheme, after.url.host, after.url.port):
        for name in [name for name in after.headers if name.lower() not in _HARMLESS_HEADERS]:
            del after.headers[name]
    return after


async def _answer(response: httpx.Response) -> JsonObject:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            break
    body = _unpacked(bytes(content), response.headers.get("content-encoding", "identity").lower())
    answer: JsonObject = {
        "status": response.status_code,
        "headers": {name: value for name, value in response.headers.items() if name in _SHOWN_HEADERS},
        "body": _text(body[:MAX_BODY_BYTES], response.charset_encoding),
    }
    if len(body) > MAX_BODY_BYTES:
        answer["truncated"] = True
    return answer


def _unpacked(content: bytes, encoding: str) -> bytes:
    """At most one byte more than is kept; some servers compress although they were asked not to."""
    if encoding in ("", "identity"):
        return content
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ToolFailed(f"The server answered in the encoding {encoding!r}, which was not asked for.")
    try:
        # 32 + 15: the format (gzip or zlib) is told by the first bytes.
        return zlib.decompressobj(wbits=47).decompress(content, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise ToolFailed(f"The server's answer cannot be unpacked: {error}") from error


def _text(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8", errors="replace")
    except LookupError:
        return content.decode("utf-8", errors="replace")
