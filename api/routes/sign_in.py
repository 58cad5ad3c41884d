"""`/sign-in` and `/sign-out`: pages for people who open the Temporal Web UI with a browser."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.auth.cookies import SessionCookies, check_same_origin
from api.deps import Process
from api.limits.addresses import limited_by_address
from api.services.browser_sessions import BrowserSessions
from api.temporal_ui import pages
from omium_core.errors import MalformedRequest, OmiumError

router = APIRouter(include_in_schema=False)

_HOME = "/temporal/"
_MOST_FIELDS = 16
#: Where a sign-in may lead: a place of ours, so that no link to the sign-in page leads elsewhere.
_PLACE = re.compile(r"/temporal(?:/[A-Za-z0-9/_.~%+-]*)?(?:\?[A-Za-z0-9/_.~%+&=-]*)?")


def _sessions(request: Request, process: Process) -> BrowserSessions:
    return BrowserSessions(process, request.app.state.authenticator)


Sessions = Annotated[BrowserSessions, Depends(_sessions)]


@router.get("/sign-in")
async def show(request: Request) -> Response:
    return _form(_place(request.query_params.get("next", "")))


@router.post("/sign-in", dependencies=[limited_by_address("sign-in", per_minute=60)])
async def sign_in(request: Request, sessions: Sessions) -> Response:
    """Sets the cookie of a session, and leads to where the browser wanted to go."""
    check_same_origin(request.scope)
    fields = _fields(await request.body())
    place = _place(fields.get("next", ""))
    try:
        header, value = await sessions.begin(fields, request.state.origin)
    except OmiumError as error:
        if error.status >= 500:
            raise
        return _form(place, error.message, error.status)
    cookies: SessionCookies = request.app.state.sessions
    return RedirectResponse(place, 303, headers={"set-cookie": cookies.issue(header, value, request.scope["scheme"])})


@router.get("/sign-out")
async def ask() -> Response:
    return HTMLResponse(pages.sign_out(), headers=pages.HEADERS)


@router.post("/sign-out")
async def sign_out(request: Request, sessions: Sessions) -> Response:
    """Takes the cookie away, and ends the session of a person wherever it is used."""
    check_same_origin(request.scope)
    cookies: SessionCookies = request.app.state.sessions
    credential = cookies.read(request.scope)
    if credential is not None:
        await sessions.end(credential, request.state.origin)
    return RedirectResponse("/sign-in", 303, headers={"set-cookie": cookies.clear(request.scope["scheme"])})


def _fields(body: bytes) -> dict[str, str]:
    try:
        # anybody may send this: millions of fields would keep the process from everybody else
        given = parse_qs(body.decode(errors="replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise MalformedRequest("The form has more fields than the page.") from None
    return {name: values[0] for name, values in given.items()}


def _form(place: str, problem: str = "", status: int = 200) -> Response:
    return HTMLResponse(pages.sign_in(place, problem), status, headers=pages.HEADERS)


def _place(wanted: str) -> str:
    return wanted if _PLACE.fullmatch(wanted) else _HOME
