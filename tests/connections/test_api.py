"""`/external-connections` over HTTP, on a real database, with the services' double behind it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models.database import Database
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.api.conftest import app as app
from tests.api.conftest import as_caller as as_caller
from tests.api.conftest import database as database
from tests.api.conftest import http as http
from tests.api.conftest import key_of as key_of
from tests.api.conftest import tenant as tenant
from tests.connections.doubles import TOKEN, Double, Odd
from tests.support.database import PostgresServer
from tests.support.tenants import add_tenant

PATH = "/api/v1/external-connections"


@pytest.fixture
def settings(postgres: PostgresServer, tmp_path: Any) -> Settings:
    return Settings(
        database_url=postgres.url,
        temporal_address="127.0.0.1:1",
        store_path=tmp_path,
        http_allow_private="127.0.0.1",
        connection_timeout=2.0,
    )


@pytest.fixture
def crew(double: Double) -> dict[str, Any]:
    return {"connection_name": "Research Crew", "crew_url": double.url, "bearer_token": TOKEN}


@pytest.fixture
async def made(http: httpx.AsyncClient, crew: dict[str, Any]) -> str:
    """Path of a connection to a crew."""
    answer = await http.post(f"{PATH}/crewai", json=crew)
    assert answer.status_code == 201, answer.text
    return f"{PATH}/{answer.json()['id']}"


async def test_the_printed_calls(http: httpx.AsyncClient, double: Double, made: str) -> None:
    listed = (await http.get(PATH, params={"connection_type": "crewai_aop"})).json()
    [one] = listed["connections"]
    assert listed["total"] == 1
    assert one.items() >= {"connection_type": "crewai_aop", "connection_name": "Research Crew"}.items()
    assert one.items() >= {"crew_url": double.url, "is_active": True, "token_hint": TOKEN[-4:]}.items()
    assert (await http.get(PATH, params={"connection_type": "langgraph_cloud"})).json()["connections"] == []
    started = await http.post(f"{made}/execute", json={"inputs": {"topic": "AI trends 2025"}})
    assert started.status_code == 200
    assert started.json() == {"kickoff_id": "kick-1", "status": "RUNNING", "message": "Crew execution started"}
    assert double.requests("POST", "/kickoff")[0].body["inputs"] == {"topic": "AI trends 2025"}
    status = (await http.get(f"{made}/status/kick-1")).json()
    assert (status["status"], status["output"], status["token_usage"]) == ("RUNNING", None, None)
    double.finish({"status": "completed", "result": {"output": "Agents."}, "token_usage": 1500})
    status = (await http.get(f"{made}/status/kick-1")).json()
    assert (status["status"], status["output"], status["token_usage"]) == ("COMPLETE", "Agents.", 1500)
    double.finish({"status": "Simmering"})
    assert (await http.get(f"{made}/status/kick-1")).json()["status"] == "Simmering"
    double.script["GET /status/kick-1"].append(Odd(body=b'{"status": "ok", "result": {"raw": "a\\ud800", "n": 1e999}}'))
    status = (await http.get(f"{made}/status/kick-1")).json()
    assert (status["status"], status["output"], status["output_json"]) == ("COMPLETE", "a?", {"raw": "a?", "n": None})
    assert (await http.get(f"{made}/inputs")).json() == {"inputs": ["topic", "depth"], "input_schema": None}


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/langgraph", {"deployment_url": "", "api_key": TOKEN, "assistant_id": "agent"}, "langgraph_cloud"),
        ("/autogen", {"studio_url": "", "bearer_token": TOKEN, "team_id": 7}, "autogen_studio"),
        ("/model-provider", {"base_url": "", "api_key": TOKEN, "models": ["own-model"]}, "model_provider"),
        ("", {"connection_type": "crewai_aop", "url": "", "bearer_token": TOKEN}, "crewai_aop"),
        (
            "",
            {"connection_type": "model_provider", "base_url": "", "api_key": TOKEN, "default": True},
            "model_provider",
        ),
    ],
)
async def test_all_types(http: httpx.AsyncClient, double: Double, path: str, body: Any, kind: str) -> None:
    sent = {name: value or double.url for name, value in body.items()}
    made = await http.post(PATH + path, json={"connection_name": "One", **sent})
    assert made.status_code == 201, made.text
    assert made.json()["connection_type"] == kind
    tried = await http.post(f"{PATH}/{made.json()['id']}/test")
    assert tried.status_code == 200
    assert tried.json()["ok"], tried.text
    assert (await http.get(f"{PATH}/{made.json()['id']}")).json()["last_synced_at"] is not None


async def test_nothing_gives_the_token_away(
    http: httpx.AsyncClient, double: Double, made: str, database: Database, tenant: UUID, caplog: Any
) -> None:
    double.token = "another-one"
    answers = [
        await http.get(made),
        await http.get(PATH),
        await http.post(f"{made}/test"),
        await http.post(f"{made}/execute", json={"inputs": {}}),
        await http.get(f"{made}/status/kick-1"),
        await http.get(f"{made}/inputs"),
        await http.patch(made, json={"connection_name": "Renamed"}),
        await http.patch(made, json={"bearer_token": f"{TOKEN} with blanks"}),
    ]
    assert not any(TOKEN in answer.text for answer in answers)
    assert answers[2].json() | {"latency_ms": 0} == {
        "ok": False,
        "message": "127.0.0.1 answered 401: The token *** is not valid.",
        "remote_status": 401,
        "latency_ms": 0,
    }
    assert [answer.status_code for answer in answers[3:6]] == [424, 424, 424]
    assert answers[3].json()["error"]["details"]["remote_status"] == 401
    assert TOKEN not in caplog.text
    async with database.transaction(tenant) as session:
        stored: list[str] = []
        for table in ("external_workflow_connections", "audit_logs", "external_kickoffs"):
            stored += (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
    assert stored
    assert not any(TOKEN in row for row in stored)


async def test_changing(http: httpx.AsyncClient, double: Double, made: str) -> None:
    changed = await http.patch(made, json={"connection_name": "Renamed", "metadata": {"meta": {"team": "blue"}}})
    assert changed.status_code == 200
    assert (changed.json()["connection_name"], changed.json()["metadata"]) == ("Renamed", {"meta": {"team": "blue"}})
    moved = await http.patch(made, json={"crew_url": "https://elsewhere.example"})
    assert moved.status_code == 422
    assert moved.json()["error"]["details"]["errors"][0]["path"] == "bearer_token"
    assert (await http.patch(made, json={"crew_url": f"{double.url}/sub"})).status_code == 200
    assert (await http.patch(made, json={"is_active": False})).status_code == 200
    assert (await http.post(f"{made}/execute", json={"inputs": {}})).status_code == 409
    assert (await http.delete(made)).status_code == 204
    assert (await http.get(made)).status_code == 404
    assert (await http.delete(made)).json()["error"]["code"] == "CONNECTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"crew_url": "http://169.254.169.254/"}, "crew_url"),
        ({"crew_url": "http://2852039166/"}, "crew_url"),
        ({"crew_url": "http://[::ffff:10.0.0.1]/"}, "crew_url"),
        ({"crew_url": "http://u:p@127.0.0.1/"}, "crew_url"),
        ({"crew_url": "ftp://127.0.0.1/"}, "crew_url"),
        ({"crew_url": "https://a.example/?x=1"}, "crew_url"),
        ({"crew_url": "https://a.example/#x"}, "crew_url"),
        ({"crew_url": "not an address"}, "crew_url"),
        ({"crew_url": ""}, "crew_url"),
        ({"bearer_token": "two words"}, "bearer_token"),
        ({"bearer_token": "a\r\nX-Evil: 1"}, "bearer_token"),
        ({"bearer_token": ""}, "bearer_token"),
        ({"connection_name": ""}, "connection_name"),
        ({"connection_name": "a\x00b"}, "connection_name"),
        ({"metadata": {"meta": "text"}}, "metadata.meta"),
        ({"metadata": {"x": "\ud800"}}, "metadata.x"),
        ({"crew_urll": "x"}, "crew_urll"),
    ],
)
async def test_what_is_refused(http: httpx.AsyncClient, crew: dict[str, Any], change: Any, path: str) -> None:
    answer = await http.post(f"{PATH}/crewai", content=json.dumps({**crew, **change}))
    assert answer.status_code == 422, answer.text
    assert [one["path"] for one in answer.json()["error"]["details"]["errors"]] == [path]
    assert TOKEN not in answer.text


async def test_fields_of_another_type(http: httpx.AsyncClient, crew: dict[str, Any]) -> None:
    body = {**crew, "connection_type": "crewai_aop", "team_id": 7}
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 422
    assert [one["path"] for one in answer.json()["error"]["details"]["errors"]] == ["team_id"]


async def test_a_key_starts_one_run(http: httpx.AsyncClient, double: Double, made: str) -> None:
    headers = {"Idempotency-Key": str(new_id())}
    answers = [await http.post(f"{made}/execute", json={"inputs": {"a": 1}}, headers=headers) for _ in range(3)]
    assert [answer.json()["kickoff_id"] for answer in answers] == ["kick-1"] * 3
    other = await http.post(f"{made}/execute", json={"inputs": {"a": 2}}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len(double.crews) == 1


async def test_a_key_whose_answer_was_lost_starts_nothing_more(
    http: httpx.AsyncClient, double: Double, made: str
) -> None:
    headers = {"Idempotency-Key": str(new_id())}
    double.script["POST /kickoff"].append(Odd(after=True, status=502))
    lost = await http.post(f"{made}/execute", json={}, headers=headers)
    assert (lost.status_code, lost.json()["error"]["details"]) == (424, {"remote_status": 502})
    assert (await http.post(f"{made}/execute", json={}, headers=headers)).status_code == 409
    assert len(double.crews) == 1
    refused = {"Idempotency-Key": str(new_id())}
    double.script["POST /kickoff"].append(Odd(429, headers={"retry-after": "9"}))
    busy = await http.post(f"{made}/execute", json={}, headers=refused)
    assert (busy.status_code, busy.headers["retry-after"]) == (424, "10")
    assert (await http.post(f"{made}/execute", json={}, headers=refused)).status_code == 200


async def test_a_graph_that_asks_a_person_has_failed(http: httpx.AsyncClient, double: Double) -> None:
    body = {"connection_name": "Graph", "deployment_url": double.url, "api_key": TOKEN}
    made = f"{PATH}/{(await http.post(f'{PATH}/langgraph', json=body)).json()['id']}"
    double.at_once = {"messages": []}
    kickoff = (await http.post(f"{made}/execute", json={})).json()["kickoff_id"]
    next(iter(double.threads.values()))["next"] = ["review"]
    status = (await http.get(f"{made}/status/{kickoff}")).json()
    assert (status["status"], status["remote_status"], status["output"]) == ("FAILED", "success", None)


async def test_runs_that_nobody_knows(http: httpx.AsyncClient, double: Double, made: str) -> None:
    for kickoff_id in ("nothing", "..%2finputs", "%2e%2e", "a" * 300, "a%00b"):
        answer = await http.get(f"{made}/status/{kickoff_id}")
        assert answer.status_code in (400, 404), (kickoff_id, answer.text)
    assert double.requests("GET", "/inputs") == []


async def test_who_may_only_read(
    as_caller: Any, key_of: Any, tenant: UUID, double: Double, http: httpx.AsyncClient, made: str, app: Any
) -> None:
    double.at_once = {"status": "completed", "result": "secret tea", "token_usage": 5}
    await http.post(f"{made}/execute", json={})
    async with as_caller(await key_of(tenant, "read")) as reader:
        assert (await reader.get(f"{made}/status/kick-1")).json()["output"] == "secret tea"
        for method, path in (("POST", f"{made}/execute"), ("POST", f"{made}/test"), ("DELETE", made)):
            assert (await reader.request(method, path, json={} if method == "POST" else None)).status_code == 403


async def test_the_connections_of_others(
    as_caller: Any, key_of: Any, database: Database, double: Double, made: str
) -> None:
    async with as_caller(await key_of(await add_tenant(database), "read", "write")) as stranger:
        for method, path, body in (
            ("GET", made, None),
            ("PATCH", made, {"connection_name": "Mine"}),
            ("DELETE", made, None),
            ("POST", f"{made}/test", {}),
            ("POST", f"{made}/execute", {"inputs": {}}),
            ("GET", f"{made}/inputs", None),
            ("GET", f"{made}/status/kick-1", None),
        ):
            answer = await stranger.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "CONNECTION_NOT_FOUND")
        assert (await stranger.get(PATH)).json()["connections"] == []
    assert double.asked == []
