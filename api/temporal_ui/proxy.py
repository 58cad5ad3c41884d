"""Fetches from the Temporal Web UI's own server what a signed-in caller may see."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import httpx
import structlog
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.auth.principal import Principal
from api.temporal_ui.rules import COMMANDS, Call
from omium_core.errors import NotFound, Unavailable
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: Under which path the Web UI is told that it is reached (`--ui-public-path`, TEMPORAL_UI_PUBLIC_PATH).
PUBLIC_PATH = "/temporal"
CODEC_PATH = "/api/v1/temporal/codec"
#: A run is followed by a question that is answered when something happens, within a minute.
_TIMEOUT = httpx.Timeout(10.0, read=90.0)
_FILE = re.compile(
    r"(?:_app|css|codemirror|i18n)/[A-Za-z0-9_./@-]+|(?:favicon|logo|apple|android|banner)[A-Za-z0-9_.-]*"
    r"|site\.webmanifest|Temporal_Logo_Animation\.gif"
)
#: What of an answer is handed on.
_TOLD = ("content-type", "content-encoding", "content-length", "etag", "last-modified", "vary")
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src 'self'; "
    "manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
#: The page frames a part of itself: notes in Markdown.
_PAGE = {"content-security-policy": _POLICY, "x-frame-options": "SAMEORIGIN", "cache-control": "no-store"}


def is_file(path: str) -> bool:
    """Whether a path beneath the public one is a file of the Web UI. All others show the page."""
    return bool(_FILE.fullmatch(path))


class TemporalUi:
    """The Web UI's server. One per process."""

    def __init__(self, upstream: str, namespace: str) -> None:
        self.namespace = namespace
        self._http = httpx.AsyncClient(
            base_url=upstream.rstrip("/"),
            timeout=_TIMEOUT,
            trust_env=False,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=20),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def page(self) -> Response:
        """The one page, which reads from its address what it is to show."""
        answer = await self._get(f"{PUBLIC_PATH}/")
        return Response(answer.content, answer.status_code, headers=_PAGE, media_type="text/html")

    async def note(self, params: Mapping[str, str]) -> Response:
        """A text in Markdown as a page in which nothing runs."""
        kept = {name: params[name] for name in ("content", "theme", "overrideTheme", "compact") if name in params}
        # the server takes the public path off each request, and looks for this page beneath it all the same
        answer = await self._get(PUBLIC_PATH * 2 + "/render", params=kept)
        headers = {"x-frame-options": "SAMEORIGIN"}
        headers["content-security-policy"] = answer.headers.get("content-security-policy", "sandbox")
        return Response(answer.content, answer.status_code, headers=headers, media_type="text/html")

    async def file(self, path: str, headers: Mapping[str, str]) -> Response:
        """A script, a picture or the like (`is_file`)."""
        asked = {"accept-encoding": headers.get("accept-encoding", "identity")}
        request = self._http.build_request("GET", f"{PUBLIC_PATH}/{path}", headers=asked)
        answer = await self._send(request, stream=True)
        told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        if path.startswith("_app/immutable/") and answer.status_code == 200:
            told["cache-control"] = "private, max-age=31536000, immutable"
        return StreamingResponse(
            _bytes(answer), answer.status_code, headers=told, background=BackgroundTask(answer.aclose)
        )

    async def settings(self, caller: Principal, origin: str) -> Response:
        """What the page is told about itself: no buttons for what the caller may not do, a codec for who may read."""
        answer = await self._get(f"{PUBLIC_PATH}/api/v1/settings")
        told = answer.json()
        commands = not any(caller.may(permission) for permission in COMMANDS.values())
        told |= {
            "Auth": {"Enabled": False, "Options": None},
            "DefaultNamespace": self.namespace,
            "ShowTemporalSystemNamespace": False,
            "Codec": {
                "Endpoint": f"{origin}{CODEC_PATH}" if caller.may("payload:read") else "",
                "PassAccessToken": False,
                "IncludeCredentials": True,
            },
            "DisableWriteActions": commands,
            "WorkflowCancelDisabled": not caller.may("execution:cancel"),
            "WorkflowSignalDisabled": commands,
            "WorkflowUpdateDisabled": commands,
        }
        never = ("WorkflowTerminate", "WorkflowReset", "WorkflowPause", "BatchActions", "StartWorkflow")
        told |= {f"{what}Disabled": True for what in (*never, "ActivityCommands")}
        return JSONResponse(told, answer.status_code)

    async def call(self, call: Call, tenant_id: UUID) -> Response:
        """The answer of Temporal, without what belongs to others."""
        request = self._http.build_request(
            "GET" if call.body is None else "POST",
            f"{PUBLIC_PATH}/api/v1{call.path}",
            params=dict(call.params),
            content=None if call.body is None else json.dumps(call.body),
            # that server knows browsers by their cookies; who may ask was decided before
            headers={"content-type": "application/json", "sec-fetch-site": "same-origin"},
        )
        answer = await self._send(request)
        try:
            told = answer.json()
        except ValueError:
            # so it answers for the download of a history that is not there
            raise NotFound("There is nothing here.") from None
        if answer.is_success and call.kept:
            told = _own(call.kept, told, tenant_id)
        return JSONResponse(told, answer.status_code)

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._send(self._http.build_request("GET", path, params=dict(params or {})))

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._http.send(request, stream=stream)
        except httpx.HTTPError as error:
            log.warning("the Temporal Web UI does not answer", error=f"{type(error).__name__}: {error}")
            raise Unavailable("Temporal's Web UI does not answer; try again in a moment.") from error


def open_temporal_ui(settings: Settings) -> TemporalUi | None:
    """The Web UI's server that the settings name, if they name one."""
    if settings.temporal_ui_upstream is None:
        return None
    return TemporalUi(settings.temporal_ui_upstream, settings.temporal_namespace)


async def _bytes(answer: httpx.Response) -> AsyncIterator[bytes]:
    """As they came, compressed or not."""
    async for chunk in answer.aiter_raw():
        yield chunk


def _own(kept: str, told: dict[str, Any], tenant_id: UUID) -> dict[str, Any]:
    """The answer without the entries of others: there should be none, since the filter asked for the tenant's."""
    own = f"{tenant_id}/"
    if kept == "namespaces":
        return {"namespaces": [told]}
    if kept == "pollers":
        # how much waits there tells of everybody's work
        return {"pollers": told.get("pollers", [])}
    return {**told, kept: [entry for entry in told.get(kept, []) if _id_of(kept, entry).startswith(own)]}


def _id_of(kept: str, entry: dict[str, Any]) -> str:
    return str(entry["scheduleId"] if kept == "schedules" else entry["execution"]["workflowId"])
