"""Answers that are no answers: one envelope for all, an id to ask for, and odd values that are told instead of failing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from models.database import Database
from omium_core.settings import Settings
from tests.support.database import PostgresServer, database_at, running_postgres
from tests.support.tenants import add_execution, add_key, add_tenant


def assert_envelope(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(("name", "told"), [("", "Must not be empty"), ("x" * 300, "Must have at most 255 characters")])
async def test_lengths_of_texts_are_told_in_characters(http: httpx.AsyncClient, name: str, told: str) -> None:
    body = {"name": name, "policy_type": "retry", "policy_config": {"max_retries": 1}}
    answer = await http.post("/api/v1/policies", json=body)
    assert_envelope(answer, 422, "INVALID_INPUT")
    assert answer.json()["error"]["details"]["errors"] == [{"path": "name", "message": told}]


async def test_one_envelope_for_all(http: httpx.AsyncClient, app: FastAPI) -> None:
    assert_envelope(await http.get("/api/v1/nothing"), 404, "NOT_FOUND")
    assert_envelope(await http.get("/nothing"), 404, "NOT_FOUND")
    refused = await http.delete("/api/v1/workflows")
    assert_envelope(refused, 405, "METHOD_NOT_ALLOWED")
    assert refused.headers["allow"]
    assert_envelope(await http.post("/api/v1/workflows", content=b"x" * 10_001), 413, "PAYLOAD_TOO_LARGE")
    assert_envelope(await http.post("/api/v1/workflows", json={"name": 1}), 422, "INVALID_INPUT")
    assert_envelope(await http.post("/api/v1/workflows", content=b"{"), 400, "MALFORMED_REQUEST")
    for body, told in ((b"", "a body is needed"), (b"[]", "Must be a JSON object")):
        answer = await http.post("/api/v1/workflows", content=body)
        assert_envelope(answer, 422, "INVALID_INPUT")
        assert told in answer.json()["error"]["message"]


async def test_what_nobody_foresaw_is_logged_and_not_told(
    http: httpx.AsyncClient, app: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def transaction(self, tenant_id: UUID) -> Any:
            raise ZeroDivisionError("a secret of ours")

    object.__setattr__(app.state.wiring, "database", Broken())
    answer = await http.get("/api/v1/workflows", headers={"X-Request-ID": "asked-here"})
    assert_envelope(answer, 500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    logged = capsys.readouterr()
    assert "a secret of ours" in logged.out + logged.err
    assert "asked-here" in logged.out + logged.err


@pytest.mark.parametrize("given", ["my-own-id", "A.b_c-9", "x" * 128])
async def test_own_request_id_is_kept(http: httpx.AsyncClient, given: str) -> None:
    assert (await http.get("/api/v1/workflows", headers={"X-Request-ID": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", 'quo"te', "new\tline", "ümlaut"])
async def test_request_id_that_is_not_safe_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answer = await http.get("/api/v1/workflows", headers={"X-Request-ID": given.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=99999999999999999999",
        "page=0",
        "per_page=0",
        "offset=-1",
        "cursor=abc",
        "offset=99999999999",
    ],
)
async def test_bounds_of_pages(http: httpx.AsyncClient, query: str) -> None:
    assert_envelope(await http.get(f"/api/v1/executions?{query}"), 422, "INVALID_INPUT")


@pytest.mark.parametrize(
    "when",
    [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0",
    ],
)
async def test_times_of_every_kind_are_understood_or_refused(http: httpx.AsyncClient, when: str) -> None:
    answer = await http.get("/api/v1/executions", params={"created_after": when, "created_before": when})
    assert answer.status_code in (200, 422), answer.text


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b"])
async def test_idempotency_key_that_cannot_be_kept(http: httpx.AsyncClient, key: str) -> None:
    answer = await http.post(
        "/api/v1/executions",
        json={"workflow_id": "01a201e0-0000-7000-8000-000000000000"},
        headers={"Idempotency-Key": key},
    )
    assert_envelope(answer, 422, "INVALID_INPUT")


INPUTS: dict[str, tuple[str, int]] = {
    "a number of 400 digits": ('{"n": ' + "9" * 400 + "}", 201),
    "a number of 5000 digits": ('{"n": ' + "9" * 5000 + "}", 400),
    "a float beyond all": ('{"n": 1e999}', 422),
    "not a number": ('{"n": NaN}', 422),
    "half of a pair": ('{"n": "\\ud83d"}', 422),
    "half of a pair in a key": ('{"\\udc00": 1}', 422),
    "a NUL": ('{"n": "\\u0000"}', 422),
    "all planes": ('{"n": "\\ud83d\\ude00 \\uffff \\u202e \\ufeff"}', 201),
    "deep": ('{"n": ' + "[" * 100 + "]" * 100 + "}", 422),
}


@pytest.mark.parametrize("case", INPUTS)
async def test_odd_inputs(http: httpx.AsyncClient, case: str, database: Database, tenant: UUID) -> None:
    inputs, status = INPUTS[case]
    workflow = await http.post("/api/v1/workflows", json=WORKFLOW)
    assert workflow.status_code == 201, workflow.text
    body = f'{{"workflow_id": "{workflow.json()["id"]}", "inputs": {inputs}}}'
    answer = await http.post("/api/v1/executions", content=body.encode())
    assert answer.status_code == status, answer.text
    if status == 201:
        execution = await http.get(f"/api/v1/executions/{answer.json()['execution']['id']}")
        assert execution.json()["inputs"] == json.loads(inputs)


WORKFLOW = {
    "name": "w",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [{"id": "say", "type": "template", "template": "x", "output": "text"}],
        "edges": [{"from": "START", "to": "say"}, {"from": "say", "to": "END"}],
        "state": {"text": {"type": "string"}, "n": {"type": "any"}},
    },
}


async def test_update_with_the_framework_of_another_definition_is_refused(http: httpx.AsyncClient) -> None:
    workflow = (await http.post("/api/v1/workflows", json=WORKFLOW)).json()
    for change in ({"framework": "crewai"}, {"framework": "none"}, {"framework": ""}):
        assert_envelope(await http.patch(f"/api/v1/workflows/{workflow['id']}", json=change), 422, "INVALID_INPUT")
    assert (await http.get(f"/api/v1/workflows/{workflow['id']}")).json()["version"] == 1


async def test_two_updates_at_once_both_have_their_effect(http: httpx.AsyncClient) -> None:
    url = f"/api/v1/workflows/{(await http.post('/api/v1/workflows', json=WORKFLOW)).json()['id']}"
    changes = [{"name": "renamed"}, {"description": "told"}, {"tags": ["a"]}, {"is_active": False}]
    answers = await asyncio.gather(*(http.patch(url, json=change) for change in changes))
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4, 5]
    found = (await http.get(url)).json()
    assert (found["name"], found["description"], found["tags"], found["is_active"]) == ("renamed", "told", ["a"], False)


async def test_usage_beyond_32_bits_is_told_in_whole_numbers(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    owned = await add_execution(database, tenant)
    found = (await http.get(f"/api/v1/executions/{owned.execution}")).json()
    assert found["agents"][0]["tokens_used"] == 2 * (2**31 - 1)
    assert found["credits_used"] == pytest.approx(2**62 / 10**6)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[PostgresServer]:
    with running_postgres(tmp_path / "data") as server:
        yield server


async def test_database_that_dies_is_told_and_found_again(mortal: PostgresServer, tmp_path: Path) -> None:
    settings = Settings(database_url=mortal.url, store_path=tmp_path / "objects")
    database = database_at(mortal.url)
    key = await add_key(database, await add_tenant(database), settings.api_key_pepper.get_secret_value(), "read")
    await database.close()
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api", headers={"X-API-Key": key}) as client,
    ):
        assert (await client.get("/api/v1/workflows")).status_code == 200
        mortal.kill()
        refused = await client.get("/api/v1/workflows")
        assert_envelope(refused, 503, "SERVICE_UNAVAILABLE")
        assert refused.headers["retry-after"] == "1"
        await asyncio.to_thread(mortal.start)
        answers = [(await client.get("/api/v1/workflows")).status_code for _ in range(3)]
        assert answers[1:] == [200, 200]
