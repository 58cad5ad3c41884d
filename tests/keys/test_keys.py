"""`/api-keys`: what a key is, what it may be given, and how long it works."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from api.app import create_app
from api.auth.keys import MEMORY_SIZE
from models.database import Database
from models.keys import ENVIRONMENT_NAMES, hash_key, is_genuine, new_key
from models.tables.base import now
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.support.tenants import add_tenant

LOOK = "/api/v1/executions"


async def made(admin: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await admin.post("/api/v1/api-keys", json={"name": "ours", **body})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def status(as_caller: Caller, key: str, path: str = LOOK) -> int:
    async with as_caller(key) as client:
        return (await client.get(path)).status_code


async def test_key_is_shown_once(admin: httpx.AsyncClient, as_caller: Caller, database: Database) -> None:
    created = await made(admin, scopes=["read"])
    key = created["key"]
    assert re.fullmatch(r"omium_dev_[0-9A-Za-z]{32}", key)
    assert key.startswith(created["prefix"])
    assert created.keys() == {"id", "name", "prefix", "key", "scopes", "expires_at"}
    assert (created["name"], created["scopes"], created["expires_at"]) == ("ours", ["read"], None)
    assert await status(as_caller, key) == 200

    shown = await admin.get(f"/api/v1/api-keys/{created['id']}")
    listed = await admin.get("/api/v1/api-keys")
    assert "key" not in shown.json()
    assert shown.json()["created_by"] is None, "keys belong to the tenant: made by a key, it has no person at all"
    assert created["id"] in [entry["id"] for entry in listed.json()["api_keys"]]
    assert listed.json().keys() >= {"total", "limit", "next_cursor", "page", "per_page"}
    assert key not in shown.text + listed.text
    async with database.system() as session:
        stored = (await session.execute(text("SELECT * FROM api_keys WHERE id = :id"), {"id": created["id"]})).one()
    assert key not in str(stored), "only its HMAC is stored"


async def test_key_that_is_sent_twice_counts_for_nobody(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    key = (await made(admin))["key"]
    async with as_caller(None) as client:
        for name, value in (("x-api-key", key), ("authorization", f"Bearer {key}")):
            assert (await client.get(LOOK, headers=[(name, value)])).status_code == 200
            for pair in ((value, "other"), ("other", value), (value, value)):
                answer = await client.get(LOOK, headers=[(name, one) for one in pair])
                assert answer.status_code == 401, "a proxy may have looked at the other one"


async def test_answer_with_a_key_is_not_to_be_stored(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/v1/api-keys", json={"name": "ours"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["scopes"] == ["read", "write"]


#: What is sent, and the field that is wrong in it.
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"scopes": []}, "scopes"),
    ({"scopes": ["root"]}, "scopes[0]"),
    ({"scopes": ["read"], "permissions": ["execution:create"]}, "permissions"),
    ({"permissions": []}, "permissions"),
    ({"permissions": ["fly:high"]}, "permissions"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"expires_at": "soon"}, "expires_at"),
    ({"rate_limit_per_minute": 0}, "rate_limit_per_minute"),
    ({"rate_limit_per_minute": 201}, "rate_limit_per_minute"),
    ({"rate_limit_per_hour": 4001}, "rate_limit_per_hour"),
    ({"name": ""}, "name"),
    ({"name": " \t"}, "name"),
    ({"name": "night\u202ejobs"}, "name"),
    ({"owner": "me"}, "owner"),
]


async def test_what_no_key_can_be(admin: httpx.AsyncClient) -> None:
    for body, field in IMPOSSIBLE:
        answer = await admin.post("/api/v1/api-keys", json={"name": "ours", **body})
        assert answer.status_code == 422, (body, answer.text)
        assert [problem["path"] for problem in answer.json()["error"]["details"]["errors"]] == [field]
    assert (await admin.get("/api/v1/api-keys")).json()["total"] == 1, "only the one that asks"


async def test_nobody_makes_a_key_that_may_do_more_than_himself(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    maker = await made(
        admin, scopes=["admin"], permissions=["api_key:create", "api_key:read", "api_key:update", "execution:read"]
    )
    async with as_caller(maker["key"]) as narrow:
        for body in ({"scopes": ["admin"]}, {"scopes": ["read"]}, {"scopes": ["write"]}):
            answer = await narrow.post("/api/v1/api-keys", json={"name": "more", **body})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
        same = await made(narrow, scopes=["read"], permissions=["execution:read"])
        assert (await narrow.get(f"/api/v1/api-keys/{same['id']}")).json()["permissions"] == ["execution:read"]
        # a new secret of a key that holds more would be that key
        mighty = await made(admin, scopes=["admin"])
        assert (await narrow.post(f"/api/v1/api-keys/{mighty['id']}/rotate")).status_code == 403
    assert await status(as_caller, same["key"]) == 200
    assert await status(as_caller, same["key"], "/api/v1/workflows") == 403
    async with as_caller(same["key"]) as client:
        assert (await client.post("/api/v1/api-keys", json={"name": "more"})).status_code == 403


async def test_key_is_given_less_and_never_more(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    key = await made(admin, scopes=["read", "write"], expires_at=(now() + timedelta(days=2)).isoformat())
    url = f"/api/v1/api-keys/{key['id']}"
    less = await admin.patch(url, json={"name": "reader", "scopes": ["read"], "permissions": ["execution:read"]})
    assert (less.json()["name"], less.json()["permissions"]) == ("reader", ["execution:read"])
    assert await status(as_caller, key["key"]) == 200
    assert await status(as_caller, key["key"], "/api/v1/workflows") == 403
    for more in (
        {"scopes": ["read", "write"], "permissions": ["execution:create"]},
        {"permissions": ["execution:read", "workflow:read"]},
        {"expires_at": (now() + timedelta(days=3)).isoformat()},
    ):
        assert (await admin.patch(url, json=more)).status_code == 422, more
    sooner = (now() + timedelta(days=1)).isoformat()
    assert (await admin.patch(url, json={"expires_at": sooner})).status_code == 200


async def test_rotation_with_overlap(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    old = await made(admin)
    assert await status(as_caller, old["key"]) == 200
    answer = await admin.post(f"/api/v1/api-keys/{old['id']}/rotate", json={"overlap_seconds": 2})
    new = answer.json()
    assert (answer.status_code, new["id"], new["scopes"]) == (200, old["id"], old["scopes"])
    assert new["key"] != old["key"]
    assert new["previous_expires_at"] is not None
    assert await status(as_caller, old["key"]) == await status(as_caller, new["key"]) == 200
    await until_refused(as_caller, old["key"], within=6)
    assert await status(as_caller, new["key"]) == 200


async def test_rotation_without_overlap_and_again(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    first = await made(admin)
    url = f"/api/v1/api-keys/{first['id']}/rotate"
    second = (await admin.post(url, json={"overlap_seconds": 0})).json()
    assert await status(as_caller, first["key"]) == 401
    third = (await admin.post(url)).json()
    fourth = (await admin.post(url, json={"overlap_seconds": 60})).json()
    statuses = [await status(as_caller, made["key"]) for made in (second, third, fourth)]
    assert statuses == [401, 200, 200], "one key overlaps at a time"
    assert (await admin.post(url, json={"overlap_seconds": -1})).status_code == 422


async def test_revoked_key_is_gone(admin: httpx.AsyncClient, as_caller: Caller) -> None:
    key = await made(admin)
    rotated = (await admin.post(f"/api/v1/api-keys/{key['id']}/rotate", json={"overlap_seconds": 600})).json()
    url = f"/api/v1/api-keys/{key['id']}"
    assert await status(as_caller, key["key"]) == await status(as_caller, rotated["key"]) == 200
    assert (await admin.delete(url)).status_code == 204
    assert await status(as_caller, key["key"]) == await status(as_caller, rotated["key"]) == 401
    for answer in (await admin.get(url), await admin.delete(url), await admin.patch(url, json={"name": "back"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "API_KEY_NOT_FOUND")
    listed = (await admin.get("/api/v1/api-keys")).json()
    everything = (await admin.get("/api/v1/api-keys", params={"include_revoked": True})).json()
    assert listed["total"] + 1 == everything["total"]
    assert [entry["id"] for entry in everything["api_keys"] if entry["revoked_at"]] == [key["id"]]


async def until_refused(as_caller: Caller, key: str, *, within: float) -> float:
    """Asks with a key until it is refused: after how many seconds the last request was sent that was taken."""
    began = sent = time.monotonic()
    taken = 0.0
    while await status(as_caller, key) != 401:
        taken = sent - began
        assert taken < within
        await asyncio.sleep(0.02)
        sent = time.monotonic()
    return taken


async def test_revocation_is_heard_by_another_process_within_a_second(
    admin: httpx.AsyncClient, settings: Settings
) -> None:
    key = await made(admin)
    other: FastAPI = create_app(settings)

    def at_other(sent: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(other), base_url="http://api", headers={"X-API-Key": sent or ""}
        )

    async with other.router.lifespan_context(other):
        assert await status(at_other, key["key"]) == 200
        assert (await admin.delete(f"/api/v1/api-keys/{key['id']}")).status_code == 204
        assert await status(at_other, key["key"], "/api/v1/auth/me") == 401, "also while it is remembered"
        assert await until_refused(at_other, key["key"], within=3) <= 1.0


async def test_another_tenants_keys_do_not_exist(
    admin: httpx.AsyncClient, as_caller: Caller, key_of: KeyMaker, database: Database
) -> None:
    key = await made(admin)
    async with as_caller(await key_of(await add_tenant(database), "admin")) as stranger:
        url = f"/api/v1/api-keys/{key['id']}"
        answers = [
            await stranger.get(url),
            await stranger.patch(url, json={"name": "mine"}),
            await stranger.post(f"{url}/rotate"),
            await stranger.delete(url),
        ]
        assert [answer.status_code for answer in answers] == [404] * 4
        assert key["id"] not in (await stranger.get("/api/v1/api-keys?include_revoked=true")).text
    assert await status(as_caller, key["key"]) == 200


async def test_last_use_is_told_at_once_and_written_once(
    admin: httpx.AsyncClient, as_caller: Caller, app: FastAPI, database: Database
) -> None:
    key = await made(admin)
    query = text("SELECT last_used_at, xmin FROM api_keys WHERE id = :id")

    async def stored() -> Any:
        async with database.system() as session:
            return (await session.execute(query, {"id": key["id"]})).one()

    before = await stored()
    for _ in range(5):
        assert await status(as_caller, key["key"]) == 200
    assert (await admin.get(f"/api/v1/api-keys/{key['id']}")).json()["last_used_at"] is not None
    assert await stored() == before, "a request writes nothing"
    await app.state.wiring.metering.flush()
    after = await stored()
    assert (now() - after.last_used_at).total_seconds() < 60
    await app.state.wiring.metering.flush()
    assert await stored() == after, "nothing new, nothing written"


async def test_guesses_are_remembered_apart_and_not_for_ever(
    as_caller: Caller, app: FastAPI, key_of: KeyMaker, settings: Settings
) -> None:
    keys = app.state.wiring.authenticator
    tenant = await add_tenant(app.state.wiring.database)
    valid = await key_of(tenant, "read")
    assert await status(as_caller, "omium_dev_" + "x" * 32) == 401
    assert len(keys._known) == 0, "a guess takes no place of a key"
    assert await status(as_caller, valid) == 200
    assert hash_key(settings.api_key_pepper.get_secret_value(), valid) not in keys._unknown
    assert keys._unknown.maxsize == keys._known.maxsize == MEMORY_SIZE


async def test_many_requests_of_a_key_are_one_look_up(as_caller: Caller, app: FastAPI, key_of: KeyMaker) -> None:
    valid = await key_of(await add_tenant(app.state.wiring.database), "read")
    keys = app.state.wiring.authenticator
    headers = [(b"x-api-key", valid.encode())]
    found = await asyncio.gather(*(keys.authenticate(headers) for _ in range(50)))
    assert len({id(principal) for principal in found}) == 1


def test_a_key_tells_itself_from_what_looks_like_one() -> None:
    key = new_key("prod")
    assert is_genuine(key)
    swapped = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert not is_genuine(swapped)
    assert not is_genuine("omium_prod_" + "a" * 32)
    assert set(ENVIRONMENT_NAMES) == {"production", "development"}
