"""The Web UI behind the API's sign-in, on a real Temporal server: who sees what of whose runs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from temporalio.client import Client

from api.auth.cookies import SessionCookies
from api.temporal_ui.proxy import TemporalUi
from models.database import Database
from models.keys import hash_key
from models.tables.base import new_id
from omium_core.settings import Settings
from tests.api.conftest import Caller, KeyMaker
from tests.codec.conftest import CANARY, Ports, Run
from tests.support.loopback import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/temporal/api/v1/namespaces/default"
HERE = {"Sec-Fetch-Site": "same-origin", "Origin": "http://api"}


def twice(text: str) -> str:
    """As the Web UI writes a segment."""
    return quote(quote(text, safe=""), safe="")


@pytest_asyncio.fixture(loop_scope="module")
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers={"Accept": "text/html"}) as client:
        yield client


async def sign_in(browser: httpx.AsyncClient, key: str, **fields: str) -> httpx.Response:
    return await browser.post("/sign-in", data={"api_key": key, **fields}, headers=HERE)


async def listed(browser: httpx.AsyncClient, **params: str) -> list[str]:
    answer = await browser.get(f"{API}/workflows", params=params)
    assert answer.status_code == 200, answer.text
    return [entry["execution"]["workflowId"] for entry in answer.json()["executions"]]


@pytest_asyncio.fixture(loop_scope="module")
async def signed_in(browser: httpx.AsyncClient, key_of: KeyMaker, run: Run) -> httpx.AsyncClient:
    assert (await sign_in(browser, await key_of(run.tenant, "write"))).status_code == 303
    return browser


# --- signing in and out


async def test_page_wants_a_sign_in_and_leads_back(browser: httpx.AsyncClient, key_of: KeyMaker, run: Run) -> None:
    place = f"/temporal/namespaces/default/workflows/{quote(run.id, safe='')}?a=b"
    asked = await browser.get(place)
    assert asked.status_code == 303
    assert asked.headers["location"] == f"/sign-in?next={quote(place, safe='')}"
    form = await browser.get(asked.headers["location"])
    assert "API key" in form.text
    assert quote(run.id, safe="") in form.text
    assert "script" not in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert not {"src=", "http:", "https:"} & set(form.text.split())

    answer = await sign_in(browser, await key_of(run.tenant, "read"), next=place)
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"))
    page = await browser.get(place)
    assert page.status_code == 200
    assert "/temporal/_app/" in page.text
    assert "set-cookie" not in page.headers


async def test_wrong_key_gets_the_form_again(browser: httpx.AsyncClient) -> None:
    for key in ("", "wrong", "x" * 5000, "ключ", "a\r\nb: c"):
        answer = await sign_in(browser, key)
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "place", ["https://evil.example.com", "//evil.example.com", "/temporal//../x\\y", "/api/v1", "x"]
)
async def test_sign_in_leads_nowhere_else(browser: httpx.AsyncClient, key_of: KeyMaker, run: Run, place: str) -> None:
    answer = await sign_in(browser, await key_of(run.tenant, "read"), next=place)
    assert answer.headers["location"] == "/temporal/"


async def test_next_is_written_into_the_form_as_text(browser: httpx.AsyncClient) -> None:
    form = await browser.get("/sign-in", params={"next": '/temporal/"><script>alert(1)</script>'})
    assert "<script" not in form.text


async def test_cookie_is_sealed_and_changed_ones_count_for_nothing(
    browser: httpx.AsyncClient, key_of: KeyMaker, run: Run
) -> None:
    key = await key_of(run.tenant, "read")
    await sign_in(browser, key)
    value = browser.cookies["omium_session"]
    assert key not in value
    assert key.encode() not in base64.urlsafe_b64decode(value)
    changed = value[:40] + ("A" if value[40] != "A" else "B") + value[41:]
    for other in (changed, "", "x", "a" * 3000):
        browser.cookies.clear()
        answer = await browser.get(f"{API}/workflows", headers={"Cookie": f"omium_session={other}"})
        assert answer.status_code == 401


async def test_revoked_key_ends_the_session(
    signed_in: httpx.AsyncClient, database: Database, settings: Settings, key_of: KeyMaker, run: Run
) -> None:
    key = await key_of(run.tenant, "read")
    await sign_in(signed_in, key)
    assert await listed(signed_in)
    async with database.transaction(run.tenant) as session:
        await session.execute(
            text("UPDATE api_keys SET is_active = false WHERE key_hash = :hash"),
            {"hash": hash_key(settings.api_key_pepper.get_secret_value(), key)},
        )
    await asyncio.sleep(1.0)
    assert (await signed_in.get(f"{API}/workflows")).status_code == 401
    assert (await signed_in.get("/temporal/")).headers["location"].startswith("/sign-in")


async def test_people_sign_in_with_their_password(browser: httpx.AsyncClient) -> None:
    email, password = f"person-{new_id().hex}@example.com", "correct horse battery"
    body = {"email": email, "password": password, "tenant_name": "Acme"}
    assert (await browser.post("/api/v1/auth/register", json=body)).status_code == 201
    for wrong in ({"password": "wrong"}, {"password": ""}, {"email": "x", "password": password}):
        answer = await browser.post("/sign-in", data={"email": email, **wrong}, headers=HERE)
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
    answer = await browser.post("/sign-in", data={"email": email, "password": password}, headers=HERE)
    assert answer.status_code == 303
    assert await listed(browser) == []
    kept = dict(browser.cookies)
    await browser.post("/sign-out", headers=HERE)
    # the session is over, not only the cookie gone
    await asyncio.sleep(1.0)
    cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
    assert (await browser.get(f"{API}/workflows", headers={"Cookie": cookie})).status_code == 401


async def test_sign_out_ends_it(signed_in: httpx.AsyncClient) -> None:
    assert "Sign out" in (await signed_in.get("/sign-out")).text
    assert (await signed_in.post("/sign-out", headers=HERE)).status_code == 303
    assert (await signed_in.get(f"{API}/workflows")).status_code == 401


async def test_session_is_over_after_its_time(app: FastAPI, browser: httpx.AsyncClient, run: Run) -> None:
    sessions: SessionCookies = app.state.sessions
    old = sessions._fernet.encrypt_at_time(json.dumps(["x-api-key", "k"]).encode(), 0).decode()
    assert (await browser.get(f"{API}/workflows", headers={"Cookie": f"omium_session={old}"})).status_code == 401


# --- pages of other origins


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-site", "Origin": "http://api:9999"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"},
        {"Origin": "http://api:9999"},
        {"Origin": "null"},
    ],
)
async def test_pages_of_other_origins_cannot_act(
    signed_in: httpx.AsyncClient, key_of: KeyMaker, run: Run, headers: dict[str, str]
) -> None:
    for path in (
        f"{API}/workflows/{twice(run.id)}/signal/pause",
        f"{API}/workflows/{twice(run.id)}/cancel",
        "/api/v1/temporal/codec/decode",
    ):
        answer = await signed_in.post(path, json={"payloads": []}, headers=headers)
        assert answer.status_code == 403, path
    assert (await signed_in.post("/sign-out", headers=headers)).status_code == 403
    key = await key_of(run.tenant, "read")
    assert (await signed_in.post("/sign-in", data={"api_key": key}, headers=headers)).status_code == 403


async def test_link_from_elsewhere_asks_once_more(browser: httpx.AsyncClient) -> None:
    """The browser keeps the cookie back from a link on another site; the page that it gets reloads itself."""
    answer = await browser.get("/temporal/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


async def test_cookie_opens_nothing_else_of_the_api(signed_in: httpx.AsyncClient) -> None:
    assert (await signed_in.get("/api/v1/executions")).status_code == 401
    assert (
        await signed_in.post("/api/v1/temporal/codec/decode", json={"payloads": []}, headers=HERE)
    ).status_code == 200


# --- whose runs


async def test_list_and_count_know_the_tenants_runs_only(
    signed_in: httpx.AsyncClient, run: Run, foreign: Run, temporal_ui: Ports
) -> None:
    client = await Client.connect(temporal_ui.address)
    await seen(client, foreign)
    await seen(client, run)
    for query in (
        "",
        "ExecutionStatus = 'Running'",
        f"Tenant = '{foreign.tenant}' OR WorkflowType = 'AgentRun'",
        "WorkflowType = 'AgentRun'",
    ):
        assert set(await listed(signed_in, query=query)) <= {run.id}
    assert await listed(signed_in) == [run.id]
    assert await listed(signed_in, query=f"Tenant = '{foreign.tenant}'") == []
    for typed in ("1=1) OR (1=1", "a = 'x' -- ", "'"):
        assert (await signed_in.get(f"{API}/workflows", params={"query": typed})).status_code == 422
    counted = await signed_in.get(f"{API}/workflow-count", params={"query": "GROUP BY ExecutionStatus"})
    assert counted.json()["count"] == "1"


async def seen(client: Client, run: Run) -> None:
    """Returns when lists show the run."""
    async with asyncio.timeout(60):
        while not [found async for found in client.list_workflows(f"Tenant = '{run.tenant}'")]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "path", ["", "/history", "/history-reverse", "/run/{run}/history.json", "?execution.workflowId={own}"]
)
async def test_run_of_another_tenant_is_nowhere(
    signed_in: httpx.AsyncClient, run: Run, foreign: Run, path: str
) -> None:
    path = path.replace("{run}", str(run.execution)).replace("{own}", run.id)
    for shape in (
        twice(foreign.id),
        quote(foreign.id, safe=""),
        twice(f"{run.tenant}/../{foreign.id}"),
        twice(run.id) + "%252e",
    ):
        answer = await signed_in.get(f"{API}/workflows/{shape}{path}")
        assert answer.status_code in (400, 404), answer.text
        assert str(foreign.execution) not in answer.text
    assert (await signed_in.get(f"{API}/workflows/{twice(run.id)}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/batch-operations"),
        ("GET", "/activities"),
        ("GET", "/activity-count"),
        ("GET", "/workers"),
        ("GET", "/archived-workflows"),
        ("GET", "/worker-deployments"),
        ("GET", "/nexus-operations"),
        ("GET", "/task-queues/other"),
        ("POST", "/workflows"),
        ("POST", "/batch-operations/x"),
        ("POST", "/schedules/x"),
        ("GET", "/../kube/workflows"),
        ("GET", "%2f..%2fkube/workflows"),
    ],
)
async def test_what_belongs_to_all_is_nowhere(signed_in: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await signed_in.request(method, f"{API}{path}", headers=HERE)).status_code in (400, 404)
    assert (await signed_in.get("/temporal/api/v1/namespaces/other/workflows")).status_code == 404
    assert (await signed_in.get("/temporal/api/v1/nexus/endpoints")).status_code == 404


async def test_namespaces_are_ours_alone(signed_in: httpx.AsyncClient) -> None:
    told = (await signed_in.get("/temporal/api/v1/namespaces")).json()
    assert [entry["namespaceInfo"]["name"] for entry in told["namespaces"]] == ["default"]
    for path in ("cluster-info", "system-info", "namespaces/default", "namespaces/default/search-attributes"):
        assert (await signed_in.get(f"/temporal/api/v1/{path}")).status_code == 200
    assert (await signed_in.get(f"{API}/task-queues/omium-flow", params={"taskQueueType": "1"})).json() == {
        "pollers": []
    }


# --- what can be read and done


def summary_of(history: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = history["history"]["events"][0]["userMetadata"]["summary"]
    return payload


async def test_values_are_decoded_for_who_may_see_them(browser: httpx.AsyncClient, key_of: KeyMaker, run: Run) -> None:
    for permissions, may in ((None, True), (["execution:read"], False)):
        await sign_in(browser, await key_of(run.tenant, "read", permissions=permissions))
        settings = (await browser.get("/temporal/api/v1/settings")).json()
        assert settings["Codec"]["Endpoint"] == ("http://api/api/v1/temporal/codec" if may else "")
        history = await browser.get(f"{API}/workflows/{twice(run.id)}/history")
        assert CANARY not in history.text
        sealed = summary_of(history.json())
        opened = await browser.post("/api/v1/temporal/codec/decode", json={"payloads": [sealed]}, headers=HERE)
        if may:
            assert base64.b64decode(opened.json()["payloads"][0]["data"]) == f'"summary {CANARY}"'.encode()
        else:
            assert opened.status_code == 403


async def test_commands_need_their_permissions_and_are_noted(
    browser: httpx.AsyncClient, as_caller: Caller, key_of: KeyMaker, run: Run, foreign: Run, temporal_ui: Ports
) -> None:
    pause = f"{API}/workflows/{twice(run.id)}/signal/pause"
    body = {"workflowExecution": {"workflowId": foreign.id}, "input": {"payloads": []}, "identity": "somebody"}
    await sign_in(browser, await key_of(run.tenant, "read"))
    settings = (await browser.get("/temporal/api/v1/settings")).json()
    assert settings["DisableWriteActions"]
    refused = await browser.post(pause, json=body, headers=HERE)
    assert (refused.status_code, refused.json()["error"]["details"]) == (403, {"permission": "execution:pause"})

    await sign_in(browser, await key_of(run.tenant, "write"))
    assert not (await browser.get("/temporal/api/v1/settings")).json()["DisableWriteActions"]
    assert (await browser.post(pause, json=body, headers=HERE)).status_code == 200
    approve = f"{API}/workflows/{twice(run.id)}/signal/approve"
    assert (await browser.post(approve, json=body, headers=HERE)).status_code == 200
    assert (await browser.post(f"{API}/workflows/{twice(run.id)}/cancel", json={}, headers=HERE)).status_code == 200
    client = await Client.connect(temporal_ui.address)
    told = (await client.get_workflow_handle(run.id).fetch_history()).to_json()
    assert "WORKFLOW_EXECUTION_SIGNALED" in told
    assert "WORKFLOW_EXECUTION_CANCEL_REQUESTED" in told
    assert "somebody" not in told
    assert "SIGNALED" not in (await client.get_workflow_handle(foreign.id).fetch_history()).to_json()

    async with as_caller(await key_of(run.tenant, "admin")) as admin:
        noted = (await admin.get("/api/v1/audit-logs")).json()
    assert [(entry["action"], entry["status"]) for entry in noted["audit_logs"][:4]] == [
        ("execution.cancel", "success"),
        ("approval.answer", "success"),
        ("execution.pause", "success"),
        ("execution.pause", "denied"),
    ]

    for what in ("terminate", "reset", "pause", "unpause", "signal/anything", "update/anything"):
        answer = await browser.post(f"{API}/workflows/{twice(run.id)}/{what}", json={}, headers=HERE)
        assert answer.status_code == 403, what
    theirs = f"{API}/workflows/{twice(foreign.id)}/signal/pause"
    assert (await browser.post(theirs, json=body, headers=HERE)).status_code == 404


async def test_files_and_notes_come_through(signed_in: httpx.AsyncClient, browser: httpx.AsyncClient) -> None:
    page = (await signed_in.get("/temporal")).text
    script = page.partition('href="')[2].partition('"')[0]
    file = await signed_in.get(script)
    assert file.headers["content-type"].startswith("text/javascript")
    assert "immutable" in file.headers["cache-control"]
    note = await signed_in.get("/temporal/render", params={"content": "# canary <script>x</script>"})
    assert "<h1" in note.text
    assert "sandbox" in note.headers["content-security-policy"]
    browser.cookies.clear()
    assert (await browser.get(script)).status_code == 401
    assert (await browser.get("/temporal/render")).status_code == 401


async def test_ui_that_is_away_is_told(app: FastAPI, signed_in: httpx.AsyncClient) -> None:
    there, away = app.state.temporal_ui, TemporalUi(f"http://127.0.0.1:{free_port()}", "default")
    app.state.temporal_ui = away
    answer = await signed_in.get(f"{API}/workflows")
    app.state.temporal_ui = there
    await away.close()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_port_of_the_ui_itself_shows_no_values(run: Run, temporal_ui: Ports) -> None:
    async with httpx.AsyncClient(trust_env=False) as direct:
        history = await direct.get(f"{temporal_ui.ui}{API}/workflows/{twice(run.id)}/history")
        settings = await direct.get(f"{temporal_ui.ui}/temporal/api/v1/settings")
    assert history.status_code == 200
    assert CANARY not in history.text
    assert not any(CANARY.encode() in base64.b64decode(summary_of(history.json())["data"]) for _ in "1")
    assert settings.json()["Codec"]["Endpoint"] == ""
