"""`/temporal`: Temporal's Web UI for who has signed in, as much of it as belongs to the caller's tenant."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.auth.cookies import session_credential
from api.auth.principal import Principal
from api.deps import Process, TemporalUiRules
from api.temporal_ui import pages
from api.temporal_ui.proxy import PUBLIC_PATH, TemporalUi, is_file
from api.temporal_ui.rules import Asked, segments_of
from omium_core.errors import MalformedRequest, NotAuthenticated, NotFound, NotPermitted

router = APIRouter(include_in_schema=False)

_API = f"{PUBLIC_PATH}/api/v1/"


def _ui(request: Request) -> TemporalUi:
    ui: TemporalUi | None = request.app.state.temporal_ui
    if ui is None:
        raise NotFound("The Temporal Web UI is not shown here: OMIUM_TEMPORAL_UI_UPSTREAM names none.")
    return ui


async def _viewer(request: Request) -> Principal:
    """Who asks, who must be allowed to look at executions."""
    headers = session_credential(request.scope) or request.scope["headers"]
    caller: Principal = await request.app.state.authenticator.authenticate(headers)
    if not caller.may("execution:read"):
        raise NotPermitted("This needs the permission execution:read.", permission="execution:read")
    return caller


Viewer = Annotated[Principal, Depends(_viewer)]


@router.get(_API + "{path:path}")
@router.post(_API + "{path:path}")
async def call(request: Request, service: TemporalUiRules, process: Process, caller: Viewer) -> Response:
    """One question of the page to Temporal."""
    ui = _ui(request)
    await process.limits.check(caller, request.scope["path"])
    raw = request.scope["raw_path"].decode("ascii", errors="replace").partition("?")[0].removeprefix(_API)
    if raw == "settings":
        return await ui.settings(caller, f"{request.url.scheme}://{request.url.netloc}")
    asked = Asked(request.method, segments_of(raw), dict(request.query_params), await _object(request))
    return await ui.call(await service.judge(caller, asked), caller.tenant_id)


@router.get(PUBLIC_PATH)
@router.get(PUBLIC_PATH + "/{path:path}")
async def show(request: Request, path: str = "") -> Response:
    """A file of the page, or the page."""
    ui = _ui(request)
    is_page = path != "render" and not is_file(path)
    try:
        await _viewer(request)
    except NotAuthenticated:
        if not is_page:
            raise
        return _to_sign_in(request)
    except NotPermitted as error:
        if not is_page:
            raise
        return HTMLResponse(pages.refused(error.message), 403, headers=pages.HEADERS)
    if path == "render":
        return await ui.note(dict(request.query_params))
    return await ui.page() if is_page else await ui.file(path, request.headers)


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(pages.again(), headers={"cache-control": "no-store"})
    raw = request.scope["raw_path"].decode("ascii", errors="replace").partition("?")[0]
    query = request.scope["query_string"].decode("latin-1")
    place = f"{raw}?{query}" if query else raw
    return RedirectResponse(f"/sign-in?next={quote(place, safe='')}", 303, headers={"cache-control": "no-store"})


async def _object(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        given = json.loads(body) if body else {}
    except ValueError:
        raise MalformedRequest("The body is no valid JSON.") from None
    if not isinstance(given, dict):
        raise MalformedRequest("The body must be an object.")
    return given
