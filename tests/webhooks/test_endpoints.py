"""Endpoints over the API: what is refused, and what is shown of a secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from activities.webhooks.catalogue import CATALOGUE
from models.database import Database
from omium_core.settings import Settings
from tests.support.tenants import add_key, add_tenant

URL = "https://hooks.example.com/omium?token=1"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"http_allow_private": (), "max_webhooks": 3, "temporal_address": "127.0.0.1:1"})


@pytest.fixture
async def other(app: FastAPI, database: Database, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another tenant."""
    key = await add_key(database, await add_tenant(database), settings.api_key_pepper.get_secret_value(), "admin")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api/api/v1", headers={"X-API-Key": key}
    ) as client:
        yield client


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://example.com"}, "url"),
    ({"url": "https://"}, "url"),
    ({"url": "https://me:secret@example.com"}, "url"),
    ({"url": "http://127.0.0.1/x"}, "url"),
    ({"url": "http://localhost/x"}, "url"),
    ({"url": "http://0x7f000001/"}, "url"),
    ({"url": "http://2130706433/"}, "url"),
    ({"url": "http://[::1]/"}, "url"),
    ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
    ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
    ({"url": "https://example.com/\x00"}, "url"),
    ({"url": "https://example.com:0/"}, "url"),
    ({"url": "https://example.com:65536/"}, "url"),
    ({"url": "https://a%00b.example.com/"}, "url"),
    ({"url": f"https://{'a' * 300}.com"}, "url"),
    ({"url": URL, "events": []}, "events"),
    ({"url": URL, "events": ["execution.completed", "execution.finished"]}, "events[1]"),
    ({"url": URL, "events": ["nothing.*"]}, "events[0]"),
    ({"url": URL, "description": "\ud800"}, "description"),
    ({"url": URL, "secret": "mine"}, "secret"),
]


async def test_refused(http: httpx.AsyncClient) -> None:
    for body, path in REFUSED:
        answer = await http.post("/webhooks", content=json.dumps(body))
        assert answer.status_code == 422, (body, answer.text)
        assert path in [problem["path"] for problem in answer.json()["error"]["details"]["errors"]], body


async def test_secret_is_shown_once(http: httpx.AsyncClient) -> None:
    made = (await http.post("/webhooks", json={"url": URL, "events": ["execution.*"]})).json()
    assert made["secret"].startswith("whsec_")
    for answer in (
        await http.get(f"/webhooks/{made['id']}"),
        await http.get("/webhooks"),
        await http.patch(f"/webhooks/{made['id']}", json={"events": ["*"]}),
    ):
        assert answer.status_code == 200
        assert made["secret"] not in answer.text
    shown = (await http.get(f"/webhooks/{made['id']}")).json()
    assert (shown["url"], shown["events"], shown["enabled"]) == (URL, ["*"], True)


async def test_switched_off_what_waits_counts_as_failed(http: httpx.AsyncClient) -> None:
    made = (await http.post("/webhooks", json={"url": URL})).json()
    assert (await http.post(f"/webhooks/{made['id']}/test")).status_code == 202, "Temporal is away: it waits"
    await http.patch(f"/webhooks/{made['id']}", json={"enabled": False})
    [row] = (await http.get(f"/webhooks/{made['id']}/deliveries")).json()["deliveries"]
    assert (row["status"], row["last_error"]) == ("failed", "The endpoint was switched off.")


async def test_there_is_a_most(http: httpx.AsyncClient, settings: Settings) -> None:
    answers = [await http.post("/webhooks", json={"url": URL}) for _ in range(settings.max_webhooks + 1)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 409]
    ids = [answer.json()["id"] for answer in answers[:3]]
    assert (await http.delete(f"/webhooks/{ids[0]}")).status_code == 204
    assert (await http.get(f"/webhooks/{ids[0]}")).json()["error"]["code"] == "WEBHOOK_NOT_FOUND"
    assert [row["id"] for row in (await http.get("/webhooks")).json()["webhooks"]] == ids[:0:-1]


async def test_another_tenant_finds_nothing(http: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    made = (await http.post("/webhooks", json={"url": URL})).json()
    delivery = (await http.post(f"/webhooks/{made['id']}/test")).json()["delivery"]
    path = f"/webhooks/{made['id']}"
    theirs = (await other.post("/webhooks", json={"url": URL})).json()
    answers = [
        await other.get(path),
        await other.patch(path, json={"enabled": False}),
        await other.delete(path),
        await other.post(f"{path}/test"),
        await other.post(f"{path}/rotate-secret"),
        await other.get(f"{path}/deliveries"),
        await other.get(f"{path}/deliveries/{delivery['id']}"),
        await other.post(f"{path}/deliveries/{delivery['id']}/redeliver"),
        await other.post(f"/webhooks/{theirs['id']}/deliveries/{delivery['id']}/redeliver"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await other.get("/webhooks")).json()["total"] == 1


async def test_catalogue_is_listed(http: httpx.AsyncClient) -> None:
    names = [event["name"] for event in (await http.get("/webhooks/events")).json()["events"]]
    assert names == sorted(CATALOGUE)
    assert {"execution.completed", "execution.failed", "approval.requested", "budget.exceeded"} <= set(names)
