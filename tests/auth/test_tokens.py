"""Tokens that somebody made up, altered, kept too long, or took from elsewhere."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from sqlalchemy import delete

from models.database import Database
from models.signing import KeyRing, SigningKeys
from models.tables import SigningKey
from omium_core.settings import Settings
from tests.auth.conftest import SignUp, client_of, running
from tests.auth.test_sign_in import gone

Forge = Callable[[dict[str, Any], dict[str, Any], KeyRing], str]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


def hs256_with(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    head = raw({**header, "alg": "HS256"}, claims).rpartition(".")[0]
    return f"{head}.{b64(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def signed(claims: dict[str, Any], header: dict[str, Any], ring: KeyRing, **changes: Any) -> str:
    found = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(found, ring.signer, algorithm="ES256", headers=header)


def pem(ring: KeyRing) -> bytes:
    return ring.signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def der(ring: KeyRing) -> bytes:
    return ring.signer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


NOW = int(time.time())
FORGERIES: dict[str, Forge] = {
    "no algorithm": lambda claims, header, ring: raw({**header, "alg": "none"}, claims),
    "NoNe": lambda claims, header, ring: raw({**header, "alg": "NoNe"}, claims),
    "HS256 with the public key as PEM": lambda claims, header, ring: hs256_with(pem(ring), header, claims),
    "HS256 with the public key as DER": lambda claims, header, ring: hs256_with(der(ring), header, claims),
    "HS256 with the published key": lambda claims, header, ring: hs256_with(
        json.dumps(ring.published[-1]).encode(), header, claims
    ),
    "HS256 with nothing": lambda claims, header, ring: hs256_with(b"", header, claims),
    "another issuer": lambda claims, header, ring: signed(claims, header, ring, iss="https://elsewhere.example"),
    "no issuer": lambda claims, header, ring: signed(claims, header, ring, iss=None),
    "another audience": lambda claims, header, ring: signed(claims, header, ring, aud="other"),
    "several audiences": lambda claims, header, ring: signed(claims, header, ring, aud=["omium", "other"]),
    "from the future": lambda claims, header, ring: signed(claims, header, ring, iat=NOW + 600, exp=NOW + 4200),
    "not before later": lambda claims, header, ring: signed(claims, header, ring, nbf=NOW + 600),
    "another type": lambda claims, header, ring: signed(claims, header, ring, typ="refresh"),
    "no type": lambda claims, header, ring: signed(claims, header, ring, typ=None),
    "no end": lambda claims, header, ring: signed(claims, header, ring, exp=None),
    "no id": lambda claims, header, ring: signed(claims, header, ring, jti=None),
    "another session": lambda claims, header, ring: signed(claims, header, ring, sid=str(uuid4())),
    "a session that is no id": lambda claims, header, ring: signed(claims, header, ring, sid="x' OR 1=1"),
    "another person": lambda claims, header, ring: signed(claims, header, ring, sub=str(uuid4())),
    "another tenant": lambda claims, header, ring: signed(claims, header, ring, tenant_id=str(uuid4())),
    "another kind of header": lambda claims, header, ring: signed(claims, {**header, "typ": "at+jwt"}, ring),
    "unknown key id": lambda claims, header, ring: signed(claims, {**header, "kid": str(uuid4())}, ring),
    "key id that is a path": lambda claims, header, ring: signed(claims, {**header, "kid": "../../dev/null"}, ring),
    "no key id": lambda claims, header, ring: jwt.encode(claims, ring.signer, algorithm="ES256"),
    "key in the header": lambda claims, header, ring: own_key(claims, header, jwk=True),
    "another key under this key's id": lambda claims, header, ring: own_key(claims, header),
    "RS256 under this key's id": lambda claims, header, ring: jwt.encode(
        claims, rsa.generate_private_key(65537, 2048), algorithm="RS256", headers=header
    ),
    "cut off": lambda claims, header, ring: signed(claims, header, ring)[:-10],
    "without its signature": lambda claims, header, ring: signed(claims, header, ring).rpartition(".")[0] + ".",
    "four parts": lambda claims, header, ring: signed(claims, header, ring) + ".x",
    "dots": lambda claims, header, ring: "..",
    "far too long": lambda claims, header, ring: signed(claims, header, ring, padding="x" * 20_000),
    "a list": lambda claims, header, ring: raw(header, [claims]),  # type: ignore[arg-type]
}


def own_key(claims: dict[str, Any], header: dict[str, Any], *, jwk: bool = False) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    extra = {"jwk": json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))} if jwk else {}
    return jwt.encode(claims, key, algorithm="ES256", headers={**header, **extra})


async def test_forged_tokens_open_nothing(app: FastAPI, sign_up: SignUp) -> None:
    person = await sign_up()
    ring = await app.state.wiring.people.tokens.keys.ring()
    claims = jwt.decode(person.token, options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(person.token)["kid"]}
    async with client_of(app, signed(claims, header, ring)) as client:
        assert (await client.get("/auth/me")).status_code == 200
    for name, forge in FORGERIES.items():
        async with client_of(app, forge(claims, header, ring)) as client:
            answer = await client.get("/auth/me")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTH_INVALID_CREDENTIALS"), name


async def test_expired_token_has_a_code_of_its_own(app: FastAPI, sign_up: SignUp) -> None:
    person = await sign_up()
    ring = await app.state.wiring.people.tokens.keys.ring()
    claims = jwt.decode(person.token, options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(person.token)["kid"]}
    async with client_of(app, signed(claims, header, ring, iat=NOW - 7200, exp=NOW - 3600)) as client:
        for answer in (await client.get("/auth/me"), await client.post("/auth/logout")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTH_TOKEN_EXPIRED")
        body = {"refresh_token": person.answer["refresh_token"]}
        assert (await client.post("/auth/logout", json=body)).status_code == 204, "who comes late may still sign out"
    assert (await person.http.get("/auth/me")).status_code == 401


async def test_a_token_that_was_verified_still_ends(settings: Settings) -> None:
    brief = settings.model_copy(update={"access_token_seconds": 1})
    async with running(brief) as app, client_of(app) as http:
        body = {"email": f"{uuid4()}@example.com", "password": "correct horse battery"}
        token = (await http.post("/auth/register", json=body)).json()["access_token"]
        async with client_of(app, token) as client:
            assert (await client.get("/auth/me")).status_code == 200
            await gone(client, "/auth/me", seconds=10)


async def test_processes_agree_on_the_first_key_and_on_rotation(
    app: FastAPI, settings: Settings, sign_up: SignUp
) -> None:
    person = await sign_up()
    async with running(settings) as other, client_of(other, person.token) as elsewhere:
        assert (await elsewhere.get("/auth/me")).status_code == 200
        before = jwt.get_unverified_header(person.token)["kid"]
        await app.state.wiring.people.tokens.keys.rotate()
        answer = await elsewhere.post("/auth/refresh", json={"refresh_token": person.answer["refresh_token"]})
        fresh = answer.json()["access_token"]
        async with client_of(app, fresh) as client:
            assert (await client.get("/auth/me")).status_code == 200
        # what the old key signed is good until it is over, and its public half is published so long
        assert (await elsewhere.get("/auth/me")).status_code == 200
        published = (await elsewhere.get("http://api/.well-known/jwks.json")).json()["keys"]
        assert before in {key["kid"] for key in published}
        await app.state.wiring.people.tokens.keys.rotate(revoke=True)
        await gone(elsewhere, "/auth/me", seconds=4)
        published = (await elsewhere.get("http://api/.well-known/jwks.json")).json()["keys"]
        assert len(published) == 1


async def test_many_processes_that_start_at_once_make_one_key(settings: Settings, database: Database) -> None:
    async with database.system() as session:
        await session.execute(delete(SigningKey))
    async with running(settings) as one, running(settings) as two, running(settings) as three:
        rings = await asyncio.gather(*(app.state.wiring.people.tokens.keys.ring() for app in (one, two, three)))
    assert len({ring.signer_id for ring in rings}) == 1


async def test_old_keys_are_rotated_away(database: Database) -> None:
    async def ring() -> KeyRing:
        return await SigningKeys(database, database.keys.wrapper, token_seconds=3600, key_days=30).ring()

    async def age(key_id: str, **by: int) -> None:
        async with database.system() as session:
            key = await session.get_one(SigningKey, UUID(key_id))
            key.created_at -= timedelta(**by)
            session.add(key)

    async with database.system() as session:
        await session.execute(delete(SigningKey))
    old = (await ring()).signer_id
    await age(old, days=31)
    meanwhile = await ring()
    (new,) = meanwhile.verifiers.keys() - {old}
    assert meanwhile.signer_id == old, "a key is published before it signs"
    await age(new, seconds=6)
    after = await ring()
    assert (after.signer_id, set(after.verifiers)) == (new, {old, new})


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer x", "Basic YTpi", "Bearer a.b.c d"])
async def test_odd_headers(http: httpx.AsyncClient, header: str) -> None:
    answer = await http.get("/auth/me", headers={"authorization": header})
    assert answer.status_code == 401
