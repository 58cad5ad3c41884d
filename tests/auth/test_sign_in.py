"""Signing up, in and out; the family of refresh tokens; who is asking."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlmodel import col

from api.auth.permissions import ALL
from models.database import Database
from models.tables import Account, Tenant, User
from omium_core.settings import Settings
from tests.auth.conftest import PASSWORD, SignUp, an_email, client_of, running
from tests.auth.mailbox import Mailbox


async def test_registering_makes_tenant_owner_and_tokens(http: httpx.AsyncClient) -> None:
    email = an_email()
    answer = await http.post(
        "/auth/register",
        json={
            "email": f"  {email.upper()} ",
            "password": PASSWORD,
            "first_name": "John",
            "last_name": "Doe",
            "tenant_name": "Größe & Söhne 株式会社",
        },
    )
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"user", "tenant", "access_token", "refresh_token", "expires_in"}
    assert body["user"] == {
        "id": body["user"]["id"],
        "email": email,
        "first_name": "John",
        "last_name": "Doe",
        "tenant_id": body["tenant"]["id"],
    }
    assert body["tenant"]["slug"].startswith("grosse-sohne")
    assert body["expires_in"] == 3600
    me = (await http.get("/auth/me", headers={"authorization": f"Bearer {body['access_token']}"})).json()
    assert (me["email"], me["roles"], me["email_verified"]) == (email, ["owner"], False)
    assert set(me["permissions"]) == ALL
    assert [(entry["id"], entry["current"]) for entry in me["tenants"]] == [(body["tenant"]["id"], True)]
    held = await http.get("/roles", headers={"authorization": f"Bearer {body['access_token']}"})
    assert {role["name"] for role in held.json()["roles"]} == {
        "owner",
        "admin",
        "developer",
        "operator",
        "billing",
        "viewer",
    }


async def test_claims_are_those_of_the_design(sign_up: SignUp, http: httpx.AsyncClient, settings: Settings) -> None:
    person = await sign_up()
    jwks = (await http.get("http://api/.well-known/jwks.json")).json()
    kid = jwt.get_unverified_header(person.token)["kid"]
    key = jwt.PyJWKSet.from_dict(jwks)[kid]
    claims = jwt.decode(
        person.token, key, algorithms=["ES256"], audience=settings.token_audience, issuer=settings.public_url
    )
    assert (claims["sub"], claims["tenant_id"]) == (str(person.user_id), str(person.tenant_id))
    assert (claims["email"], claims["roles"], claims["typ"]) == (person.email, ["owner"], "access")
    assert claims["exp"] - claims["iat"] == 3600
    assert "execution:create" in claims["permissions"]
    assert all("d" not in key for key in jwks["keys"])


async def test_login_tells_nothing_about_what_is_wrong(sign_up: SignUp, http: httpx.AsyncClient) -> None:
    person = await sign_up()
    answers = []
    for email, password in ((person.email, "wrong password"), (an_email(), PASSWORD), ("no address", PASSWORD)):
        answer = await http.post("/auth/login", json={"email": email, "password": password})
        error = answer.json()["error"]
        answers.append((answer.status_code, error["code"], error["message"], error["details"]))
    assert len(set(map(str, answers))) == 1
    assert answers[0][:2] == (401, "AUTH_INVALID_CREDENTIALS")
    answer = await http.post("/auth/login", json={"email": person.email.upper(), "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(person.user_id)


async def test_refresh_rotates_and_a_used_token_ends_the_family(
    sign_up: SignUp, app: FastAPI, http: httpx.AsyncClient
) -> None:
    person = await sign_up()
    first = person.answer["refresh_token"]
    second = (await http.post("/auth/refresh", json={"refresh_token": first})).json()
    assert set(second) == {"access_token", "refresh_token", "expires_in"}
    async with client_of(app, second["access_token"]) as client:
        assert (await client.get("/auth/me")).status_code == 200
        replayed = await http.post("/auth/refresh", json={"refresh_token": first})
        assert (replayed.status_code, replayed.json()["error"]["code"]) == (401, "AUTH_TOKEN_REUSED")
        # the thief's tokens and the owner's are over, whoever was which
        assert (await http.post("/auth/refresh", json={"refresh_token": second["refresh_token"]})).status_code == 401
        assert (await client.get("/auth/me")).status_code == 401
    other = await http.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    assert other.status_code == 200


async def test_of_many_refreshes_at_once_one_wins_and_the_family_ends(sign_up: SignUp, http: httpx.AsyncClient) -> None:
    token = (await sign_up()).answer["refresh_token"]
    answers = await asyncio.gather(*(http.post("/auth/refresh", json={"refresh_token": token}) for _ in range(8)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.status_code for answer in answers} == {200, 401}
    again = await http.post("/auth/refresh", json={"refresh_token": won[0].json()["refresh_token"]})
    assert again.status_code == 401


async def test_made_up_refresh_tokens_harm_nobody(sign_up: SignUp, http: httpx.AsyncClient) -> None:
    person = await sign_up()
    token: str = person.answer["refresh_token"]
    others = {token[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"} - {
        token
    }
    for bad in (*others, token[:-4], token + "AAAA", token + "!", f"{token[:20]}%{token[20:]}", "omr_", "x", "omr_ü"):
        assert (await http.post("/auth/refresh", json={"refresh_token": bad})).status_code == 401
    assert (await http.post("/auth/refresh", json={"refresh_token": token})).status_code == 200


async def test_logout_ends_the_session_on_every_process(
    sign_up: SignUp, settings: Settings, http: httpx.AsyncClient
) -> None:
    person = await sign_up()
    async with running(settings) as other, client_of(other, person.token) as elsewhere:
        assert (await elsewhere.get("/auth/me")).status_code == 200
        assert (await person.http.post("/auth/logout")).status_code == 204
        assert (await person.http.get("/auth/me")).status_code == 401
        await gone(elsewhere, "/auth/me")
    again = await http.post("/auth/refresh", json={"refresh_token": person.answer["refresh_token"]})
    assert again.status_code == 401


async def test_logout_with_the_refresh_token(sign_up: SignUp, http: httpx.AsyncClient) -> None:
    person = await sign_up()
    body = {"refresh_token": person.answer["refresh_token"]}
    assert (await http.post("/auth/logout", json=body)).status_code == 204
    assert (await person.http.get("/auth/me")).status_code == 401
    assert (await http.post("/auth/logout", json=body)).status_code == 401
    assert (await http.post("/auth/logout")).status_code == 401


async def test_sessions_are_listed_and_ended_one_by_one(sign_up: SignUp, app: FastAPI) -> None:
    person = await sign_up()
    async with client_of(app, address="203.0.113.9") as client:
        other = (await client.post("/auth/login", json={"email": person.email, "password": PASSWORD})).json()
    sessions = (await person.http.get("/auth/sessions")).json()["sessions"]
    assert [(entry["current"], entry["address"]) for entry in sessions] == [(False, "203.0.113.9"), (True, "127.0.0.1")]
    assert (await person.http.delete(f"/auth/sessions/{sessions[0]['id']}")).status_code == 204
    async with client_of(app, other["access_token"]) as client:
        await gone(client, "/auth/me")
    assert (await person.http.get("/auth/me")).status_code == 200
    stranger = await sign_up()
    answer = await stranger.http.delete(f"/auth/sessions/{sessions[1]['id']}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "SESSION_NOT_FOUND")


async def test_of_a_thousand_sign_ups_of_one_address_one_wins(app: FastAPI, database: Database) -> None:
    email = an_email()
    body = {"email": email, "password": PASSWORD, "tenant_name": f"Crowd {email[:20]}"}
    async with client_of(app) as client:
        # a thousand clients in the same loop leave no time to connect to the database for the first time
        assert (await client.get("/.well-known/jwks.json")).status_code == 200
        answers = await asyncio.gather(*(client.post("/auth/register", json=body) for _ in range(1000)))
    codes = [answer.status_code for answer in answers]
    assert sorted(set(codes)) == [201, 409], next((told.text for told in answers if told.status_code >= 500), None)
    assert codes.count(201) == 1
    lost = next(answer for answer in answers if answer.status_code == 409).json()["error"]
    assert lost["code"] == "AUTH_EMAIL_UNAVAILABLE"
    async with database.system() as session:
        counts = [
            (await session.execute(select(func.count()).select_from(table).where(condition))).scalar_one()
            for table, condition in (
                (Account, col(Account.email) == email),
                (User, col(User.email) == email),
                (Tenant, col(Tenant.name) == body["tenant_name"]),
            )
        ]
    assert counts == [1, 1, 1]


async def test_two_processes_register_one_address_once(app: FastAPI, settings: Settings) -> None:
    email = an_email()
    body = {"email": email, "password": PASSWORD}
    async with running(settings) as other, client_of(app) as here, client_of(other) as there:
        answers = await asyncio.gather(*(client.post("/auth/register", json=body) for client in (here, there) * 10))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(409)) == (1, 19)


async def test_slugs_are_free_and_not_reserved(sign_up: SignUp) -> None:
    name = f"Twin {an_email()[:30]}"
    slugs = [(await sign_up(tenant_name=name)).answer["tenant"]["slug"] for _ in range(2)]
    assert slugs[1] == f"{slugs[0]}-2"
    assert (await sign_up(tenant_name="Admin")).answer["tenant"]["slug"].startswith("admin-")
    assert (await sign_up(tenant_name="日本")).answer["tenant"]["slug"].startswith("tenant-")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a\r\nBcc: x@example.com@example.com"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "aaaaaaaaaaaaaa"}, "password"),
        ({"tenant_name": ""}, "tenant_name"),
        ({"tenant_name": " \n"}, "tenant_name"),
        ({"tenant_name": "Acme\u202e"}, "tenant_name"),
        ({"first_name": " "}, "first_name"),
        ({"first_name": "x" * 101}, "first_name"),
        ({"role": "owner"}, "role"),
    ],
)
async def test_bad_fields_are_named(http: httpx.AsyncClient, fields: dict[str, Any], path: str) -> None:
    answer = await http.post("/auth/register", json={"email": an_email(), "password": PASSWORD, **fields})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["errors"][0]["path"] == path


async def test_where_addresses_are_confirmed_first_no_answer_tells_which_are_known(
    settings: Settings, mailbox: Mailbox
) -> None:
    strict = settings.model_copy(update={"require_verified_email": True})
    email = an_email()
    async with running(strict) as app, client_of(app) as client:
        answers = [
            await client.post("/auth/register", json={"email": email, "password": password})
            for password in (PASSWORD, "another long password")
        ]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        assert "set-cookie" not in answers[0].headers
        token = await mailbox.token_to(email, "Confirm")
        await mailbox.mail_to(email, "You have an account")
        login = {"email": email, "password": PASSWORD}
        for _ in range(7):
            early = await client.post("/auth/login", json=login)
            assert (early.status_code, early.json()["error"]["code"]) == (403, "AUTH_EMAIL_NOT_VERIFIED")
        assert (await client.post("/auth/verify-email", json={"token": token})).status_code == 200
        assert (await client.post("/auth/verify-email", json={"token": token})).status_code == 401
        assert (await client.post("/auth/login", json=login)).status_code == 200


async def test_closed_installation_takes_nobody(settings: Settings) -> None:
    closed = settings.model_copy(update={"sign_up": "invited"})
    async with running(closed) as app, client_of(app) as client:
        answer = await client.post("/auth/register", json={"email": an_email(), "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AUTH_SIGN_UP_CLOSED")


async def test_closed_tenant_lets_nobody_in(sign_up: SignUp, http: httpx.AsyncClient, database: Database) -> None:
    person = await sign_up()
    assert (await person.http.get("/auth/me")).status_code == 200
    async with database.system() as session:
        tenant = (await session.execute(select(Tenant).where(col(Tenant.id) == person.tenant_id))).scalar_one()
        tenant.deleted_at = tenant.created_at
        session.add(tenant)
    await gone(person.http, "/auth/me")
    assert (await http.post("/auth/refresh", json={"refresh_token": person.answer["refresh_token"]})).status_code == 401
    answer = await http.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    assert answer.status_code == 403


async def gone(client: httpx.AsyncClient, path: str, *, status: int = 401, seconds: float = 2.0) -> None:
    """Waits until a path answers so; it must to each request that is sent after the time that is promised."""
    loop = asyncio.get_running_loop()
    sent = loop.time()
    end = sent + seconds
    while (answer := await client.get(path)).status_code != status:
        assert sent < end, answer.status_code
        await asyncio.sleep(0.05)
        sent = loop.time()
