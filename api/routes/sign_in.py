"""`/sign-in` and `/sign-out`: pages for people who open the Temporal Web UI with a browser."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.auth.cookies import SessionCookies, check_same_origin
from api.deps import Process
from api.services.browser_sessions import BrowserSessions
from api.temporal_ui import pages
from omium_core.errors import OmiumError

router = APIRouter(include_in_schema=False)

_HOME = "/temporal/"
#: Where a sign-in may lead: a place of ours, so that no link to the sign-in page leads elsewhere.
_PLACE = re.compile(r"/temporal(?:/[A-Za-z0-9/_.~%+-]*)?(?:\?[A-Za-z0-9/_.~%+&=-]*)?")


@router.get("/sign-in")
async def show(request: Request, process: Process) -> Response:
    return _form(_place(request.query_params.get("next", "")), process)


@router.post("/sign-in")
async def sign_in(request: Request, process: Process) -> Response:
    """Sets the cookie of a session, and leads to where the browser wanted to go."""
    check_same_origin(request.scope)
    fields = {name: values[0] for name, values in parse_qs((await request.body()).decode(errors="replace")).items()}
    place = _place(fields.get("next", ""))
    sessions = BrowserSessions(process, request.app.state)
    try:
        header, value = await sessions.begin(fields, request.state.origin)
    except OmiumError as error:
        if error.status >= 500:
            raise
        return _form(place, process, error.message, error.status)
    cookies: SessionCookies = request.app.state.sessions
    return RedirectResponse(place, 303, headers={"set-cookie": cookies.issue(header, value, request.scope["scheme"])})


@router.get("/sign-out")
async def ask() -> Response:
    return HTMLResponse(pages.sign_out(), headers=pages.HEADERS)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    check_same_origin(request.scope)
    cookies: SessionCookies = request.app.state.sessions
    return RedirectResponse("/sign-in", 303, headers={"set-cookie": cookies.clear(request.scope["scheme"])})


def _form(place: str, process: Process, problem: str = "", status: int = 200) -> Response:
    page = pages.sign_in(place, problem, with_password=BrowserSessions.takes_passwords(process))
    return HTMLResponse(page, status, headers=pages.HEADERS)


def _place(wanted: str) -> str:
    return wanted if _PLACE.fullmatch(wanted) else _HOME
