"""Supabase as the identity provider: its real client, before a double of its server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from pydantic import SecretStr

from omium_core.settings import Settings
from tests.auth.conftest import PASSWORD, an_email, client_of, running
from tests.auth.gotrue import Double, serve
from tests.support.loopback import free_port


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    server = serve(double)
    yield double
    server.shutdown()
    server.server_close()


@pytest.fixture
async def app(settings: Settings, double: Double) -> AsyncIterator[FastAPI]:
    chosen = settings.model_copy(
        update={
            "identity_provider": "supabase",
            "supabase_url": double.url,
            "supabase_key": SecretStr("sb_publishable_test"),
            "public_url": "http://api",
        }
    )
    async with running(chosen) as app:
        yield app


async def test_password(app: FastAPI, http: httpx.AsyncClient, double: Double) -> None:
    email = an_email()
    made = await http.post("/auth/register", json={"email": email, "password": PASSWORD, "tenant_name": "Acme"})
    assert made.status_code == 201, made.text
    again = await http.post("/auth/register", json={"email": email, "password": PASSWORD})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "AUTH_EMAIL_UNAVAILABLE")
    wrong = await http.post("/auth/login", json={"email": email, "password": "wrong password"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "AUTH_INVALID_CREDENTIALS")
    right = await http.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert right.json()["user"]["id"] == made.json()["user"]["id"]
    async with client_of(app, right.json()["access_token"]) as client:
        me = (await client.get("/auth/me")).json()
        assert (me["email"], me["email_verified"], me["roles"]) == (email, True, ["owner"])
        # codes are the provider's affair
        answer = await client.post("/auth/mfa/enroll", json={"password": PASSWORD})
        assert answer.json()["error"]["code"] == "AUTH_NOT_SUPPORTED"


async def test_somebody_known_there_is_made_known_here_at_the_first_sign_in(
    http: httpx.AsyncClient, double: Double
) -> None:
    email = an_email()
    double.add(email, PASSWORD)
    users = [
        (await http.post("/auth/login", json={"email": email, "password": PASSWORD})).json()["user"] for _ in range(2)
    ]
    assert users[0]["id"] == users[1]["id"]
    assert (users[0]["first_name"], users[0]["last_name"]) == ("Grace", "Hopper")


async def test_mail_must_be_answered_first(http: httpx.AsyncClient, double: Double) -> None:
    double.confirm_first = True
    person = {"email": an_email(), "password": PASSWORD}
    answer = await http.post("/auth/register", json={**person, "tenant_name": "Acme Rockets"})
    assert answer.status_code == 202
    double.users[person["email"]]["user"]["email_confirmed_at"] = "2026-01-01T00:00:00Z"
    entered = (await http.post("/auth/login", json=person)).json()
    assert entered["tenant"]["name"] == "Acme Rockets", "what was wished for outlives the mail"


@pytest.mark.parametrize("provider", ["google", "github"])
async def test_other_sites(app: FastAPI, double: Double, provider: str) -> None:
    email = an_email()
    double.add(email, provider=provider)
    async with client_of(app) as browser, client_of(app) as thief:
        left = await browser.get(f"/auth/oauth/{provider}")
        assert left.status_code == 303
        address = left.headers["location"]
        assert address.startswith(f"{double.url}/auth/v1/authorize?")
        back = parse_qs(urlsplit(address).query)["redirect_to"][0]
        state = parse_qs(urlsplit(back).query)["state"][0]
        returning = {"code": double.begin(address, email, provider), "state": state}
        # another browser, and another state, are turned away and use nothing up
        assert (await thief.get("/auth/oauth/callback", params=returning)).status_code == 401
        wrong = await browser.get("/auth/oauth/callback", params={**returning, "state": "x"})
        assert wrong.status_code == 401
        # the answer to that took the cookie away
        browser.cookies.update(left.cookies)
        arrived = await browser.get("/auth/oauth/callback", params=returning)
        assert arrived.status_code == 200, arrived.text
        assert arrived.json()["user"]["email"] == email
        browser.cookies.update(left.cookies)
        assert (await browser.get("/auth/oauth/callback", params=returning)).status_code == 401
        unknown = await browser.get("/auth/oauth/myspace")
        assert unknown.json()["error"]["code"] == "AUTH_NOT_SUPPORTED"
        assert (await browser.get("/auth/oauth/callback", params={"error": "access_denied"})).status_code == 401


async def test_its_tokens_are_verified(http: httpx.AsyncClient, double: Double) -> None:
    email = an_email()
    user = double.add(email)
    good = await http.post("/auth/exchange", json={"access_token": double.token(user)})
    assert good.status_code == 200, good.text
    assert good.json()["user"]["email"] == email
    stranger = rsa.generate_private_key(65537, 2048)
    claims = jwt.decode(double.token(user), options={"verify_signature": False})
    secret = "a secret that is long enough for the purpose"
    forged = {
        "another key": jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "k1"}),
        "unknown key": jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "k2"}),
        "shared secret": jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "k1"}),
        "nothing": jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"}),
        "another issuer": double.token(user, iss="https://elsewhere.example/auth/v1"),
        "another audience": double.token(user, aud="anon"),
        "over": double.token(user, exp=1),
        "no text": "x",
    }
    for name, token in forged.items():
        answer = await http.post("/auth/exchange", json={"access_token": token})
        assert answer.status_code == 401, name


async def test_an_address_without_proof_takes_nobodys_account(http: httpx.AsyncClient, double: Double) -> None:
    email = an_email()
    first = double.add(email)
    assert (await http.post("/auth/exchange", json={"access_token": double.token(first)})).status_code == 200
    # the same address again, as somebody else there
    impostor = double.add(email, confirmed=False)
    answer = await http.post("/auth/exchange", json={"access_token": double.token(impostor)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "AUTH_EMAIL_UNAVAILABLE")


async def test_provider_that_is_away(settings: Settings) -> None:
    where = f"http://127.0.0.1:{free_port()}"
    lost = settings.model_copy(
        update={"identity_provider": "supabase", "supabase_url": where, "supabase_key": SecretStr("key")}
    )
    async with running(lost) as app, client_of(app) as client:
        login = {"email": an_email(), "password": PASSWORD}
        answers = [await client.post("/auth/login", json=login) for _ in range(7)]
    for answer in answers:
        told = (answer.status_code, answer.json()["error"]["code"])
        assert told == (503, "SERVICE_UNAVAILABLE"), "what nobody judged is no wrong guess"
