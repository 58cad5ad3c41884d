"""`/auth`: sign-up, sign-in, refresh, sign-out, switching tenant; who is asking. What has no caller yet is open."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api.auth.authenticator import bearer_token
from api.auth.principal import Principal
from api.deps import PersonSessions, Process, Sender, SignIn, SignUp, caller_of
from api.schemas.auth import (
    AcceptRequest,
    ExchangeRequest,
    Jwks,
    LoginRequest,
    LogoutRequest,
    MeView,
    OAuthStarted,
    RefreshRequest,
    RegisterRequest,
    SessionList,
    SignedInAnswer,
    SwitchRequest,
    TokenAnswer,
    Told,
)
from api.schemas.common import PageQuery, Text, listing
from api.services.sessions import SignedIn
from omium_core.errors import NotAuthenticated, TokenExpired

router = APIRouter(prefix="/auth", tags=["auth"])
keys = APIRouter(prefix="/.well-known", tags=["auth"])

DEVICE_COOKIE, OAUTH_COOKIE = "omium_device", "omium_oauth"
_DEVICE_SECONDS, _OAUTH_SECONDS = 365 * 86_400, 600
_PATH = "/api/v1/auth"
_CONFIRM = "A mail was sent to the address. What it says completes this."

Device = Annotated[str | None, Cookie(alias=DEVICE_COOKIE, max_length=200, include_in_schema=False)]
Self = Annotated[Principal, caller_of("account:self")]
Later: dict[int | str, dict[str, Any]] = {202: {"model": Told, "description": "A mail must be answered first"}}


@router.post("/register", status_code=201, response_model=SignedInAnswer, responses=Later)
async def register(body: RegisterRequest, people: SignUp, origin: Sender, request: Request, response: Response) -> Any:
    """A new person with a new tenant, whose owner they are, signed in.

    Where addresses have to be confirmed first the answer is 202, and the same for an address that has an account already.
    """
    return _answer(await people.register(body, origin), request, response)


@router.post("/login", response_model=SignedInAnswer)
async def login(
    body: LoginRequest, people: SignIn, origin: Sender, request: Request, response: Response, device: Device = None
) -> Any:
    """Whether the address, the password or the code is wrong is not told."""
    return _answer(await people.login(body, device, origin), request, response)


@router.post("/exchange", response_model=SignedInAnswer)
async def exchange(body: ExchangeRequest, people: SignIn, origin: Sender, request: Request, response: Response) -> Any:
    """Tokens of ours for an access token of the identity provider, whose signature its published keys verify."""
    return _answer(await people.exchange(body, origin), request, response)


@router.post("/refresh", response_model=TokenAnswer)
async def refresh(body: RefreshRequest, sessions: PersonSessions, origin: Sender) -> Any:
    """The next pair. A refresh token works once: one that comes a second time ends the session, whoever sends it."""
    return vars(await sessions.refresh(body.refresh_token, origin))


@router.post("/logout", status_code=204)
async def logout(
    sessions: PersonSessions, process: Process, request: Request, origin: Sender, body: LogoutRequest | None = None
) -> Response:
    """Ends the session of the access token in the header, or of the refresh token in the body if there is none, or it is over."""
    token = bearer_token(request.scope["headers"])
    refresh_token = body.refresh_token if body is not None else None
    caller = None
    if token is not None:
        try:
            caller = await process.people.authenticator.authenticate(token)
        except TokenExpired:
            if refresh_token is None:
                raise
    if caller is None:
        if refresh_token is None:
            raise NotAuthenticated("Send the access token as Authorization: Bearer, or refresh_token in the body.")
        caller = await sessions.principal_of_refresh(refresh_token)
    await sessions.end(caller, None, everywhere=body is not None and body.everywhere, origin=origin)
    return Response(status_code=204)


@router.post("/accept-invitation", status_code=201, response_model=SignedInAnswer, responses=Later)
async def accept_invitation(
    body: AcceptRequest, people: SignUp, process: Process, origin: Sender, request: Request, response: Response
) -> Any:
    """Joins the tenant of an invitation, once. See the body for who needs a password."""
    token = bearer_token(request.scope["headers"])
    caller = await process.people.authenticator.authenticate(token) if token is not None else None
    return _answer(await people.accept(body, caller, origin), request, response)


@router.get("/oauth/callback", response_model=SignedInAnswer)
async def oauth_callback(
    people: SignIn,
    origin: Sender,
    request: Request,
    response: Response,
    state: Annotated[Text, Query(max_length=200)] = "",
    code: Annotated[Text, Query(max_length=2000)] = "",
    verifier: Annotated[str | None, Cookie(alias=OAUTH_COOKIE, max_length=300, include_in_schema=False)] = None,
) -> Any:
    """Where the other site sends the browser back, which must be the one that left, within ten minutes, once."""
    response.delete_cookie(OAUTH_COOKIE, path=_PATH)
    if not code:
        raise NotAuthenticated("The other site did not complete the sign-in. Begin again.")
    return _answer(await people.finish_oauth(code, state, verifier, origin), request, response)


@router.get(
    "/oauth/{provider}",
    response_model=OAuthStarted,
    responses={303: {"description": "Off to the other site"}},
)
async def oauth(
    provider: Annotated[Text, Path(max_length=50)],
    people: SignIn,
    request: Request,
    redirect: Annotated[
        bool, Query(description="false answers the address instead of sending the browser there")
    ] = True,
) -> Response:
    """Signs in with `google` or `github`. To be opened by a browser, which keeps a cookie until it comes back."""
    journey = await people.start_oauth(provider)
    answer: Response = RedirectResponse(journey.url, 303) if redirect else JSONResponse({"url": journey.url})
    _keep(answer, request, OAUTH_COOKIE, journey.cookie, _OAUTH_SECONDS)
    return answer


@router.get("/me", response_model=MeView)
async def me(people: SignIn, caller: Self) -> Any:
    """Who is asking, what they may do, and to which tenants they belong."""
    found = await people.me(caller)
    user, account = found.user, found.account
    person = user.model_dump() if user is not None else {}
    fields = ("id", "email", "first_name", "last_name", "full_name", "avatar_url", "last_login_at", "created_at")
    return {
        **{name: person.get(name) for name in fields},
        "email_verified": account is not None and account.email_verified_at is not None,
        "mfa_enabled": account is not None and account.mfa_enabled,
        "tenant_id": caller.tenant_id,
        "user": person or None,
        "api_key": {**found.key.model_dump(), "prefix": found.key.key_prefix} if found.key else None,
        "tenant": found.tenant.model_dump(),
        "roles": list(found.roles),
        "permissions": sorted(caller.permissions),
        "tenants": [
            {
                **entry.tenant.model_dump(include={"id", "name", "slug"}),
                "user_id": entry.user.id,
                "roles": list(entry.roles),
                "current": entry.tenant.id == caller.tenant_id,
            }
            for entry in found.memberships
        ],
    }


@router.post("/switch-tenant", response_model=SignedInAnswer)
async def switch_tenant(
    body: SwitchRequest, sessions: PersonSessions, caller: Self, origin: Sender, request: Request, response: Response
) -> Any:
    """Tokens for another tenant that the person belongs to. Those in use stay good."""
    return _answer(await sessions.switch(caller, body.tenant_id, origin), request, response)


@router.get("/sessions", response_model=SessionList)
async def list_sessions(
    sessions: PersonSessions, caller: Self, page: Annotated[PageQuery, Depends()]
) -> dict[str, Any]:
    """Where the person is signed in to this tenant."""
    found = await sessions.list(caller, page.as_page())
    rows = [{**row.model_dump(), "current": row.id == caller.session_id} for row in found.rows]
    return listing("sessions", rows, found, page)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, sessions: PersonSessions, caller: Self, origin: Sender) -> Response:
    """Signs the person out somewhere else."""
    await sessions.end(caller, session_id, origin=origin)
    return Response(status_code=204)


@keys.get("/jwks.json", response_model=Jwks)
async def jwks(process: Process, response: Response) -> Any:
    """The public keys that verify access tokens."""
    ring = await process.people.tokens.keys.ring()
    response.headers["cache-control"] = "public, max-age=60"
    return {"keys": list(ring.published)}


def _answer(signed_in: SignedIn | None, request: Request, response: Response) -> Any:
    if signed_in is None:
        return JSONResponse({"message": _CONFIRM}, 202)
    keep_device(response, request, signed_in.device)
    return {
        **vars(signed_in.tokens),
        "user": signed_in.user.model_dump(),
        "tenant": signed_in.tenant.model_dump(),
    }


def keep_device(response: Response, request: Request, device: str) -> None:
    """The browser is known again: guesses elsewhere do not slow this one down."""
    _keep(response, request, DEVICE_COOKIE, device, _DEVICE_SECONDS)


def _keep(response: Response, request: Request, name: str, value: str, seconds: int) -> None:
    # lax and not strict: the browser comes back from the other site by a link
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, path=_PATH, secure=secure, httponly=True, samesite="lax")
