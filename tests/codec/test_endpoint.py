"""`/temporal/codec`, as the Web UI and the `temporal` command line call it."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from temporalio.client import Client

from models.database import Database
from tests.api.conftest import Caller, KeyMaker
from tests.codec.conftest import CANARY, Ports, Run, serving
from tests.support.loopback import tool
from tests.support.tenants import add_tenant

pytestmark = pytest.mark.asyncio(loop_scope="module")

DECODE, ENCODE = "/api/v1/temporal/codec/decode", "/api/v1/temporal/codec/encode"
PLAIN = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": base64.b64encode(b'"x"').decode()}


@pytest_asyncio.fixture(loop_scope="module")
async def http(as_caller: Caller, key_of: KeyMaker, run: Run) -> AsyncIterator[httpx.AsyncClient]:
    async with as_caller(await key_of(run.tenant, "read")) as client:
        yield client


async def test_what_was_sealed_is_opened(http: httpx.AsyncClient) -> None:
    sealed = (await http.post(ENCODE, json={"payloads": [PLAIN]}, headers={"X-Namespace": "default"})).json()
    assert base64.b64decode(sealed["payloads"][0]["metadata"]["encoding"]) == b"binary/encrypted"
    assert (await http.post(DECODE, json=sealed)).json() == {"payloads": [PLAIN]}


async def test_other_payloads_come_back_as_they_are(
    http: httpx.AsyncClient, as_caller: Caller, key_of: KeyMaker, database: Database
) -> None:
    async with as_caller(await key_of(await add_tenant(database), "read")) as other:
        theirs = (await other.post(ENCODE, json={"payloads": [PLAIN]})).json()["payloads"]
    broken = {"metadata": {"encoding": base64.b64encode(b"binary/encrypted").decode()}, "data": "AQID"}
    given = {"payloads": [*theirs, PLAIN, broken]}
    assert (await http.post(DECODE, json=given)).json() == given


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"payloads": [{"metadata": {}, "data": "not base64!"}]}, "payloads[0].data"),
        ({"payloads": [{"metadata": {"encoding": "%"}}]}, "payloads[0].metadata.encoding"),
        ({"payloads": "x"}, "payloads"),
        ({}, "payloads"),
        ([], ""),
    ],
)
async def test_nonsense_is_told(http: httpx.AsyncClient, body: Any, path: str) -> None:
    answer = await http.post(DECODE, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["errors"][0]["path"] == path


async def test_who_may_not_see_payloads_gets_none(as_caller: Caller, key_of: KeyMaker, run: Run) -> None:
    async with as_caller(None) as nobody:
        assert (await nobody.post(DECODE, json={"payloads": [PLAIN]})).status_code == 401
    key = await key_of(run.tenant, "read", permissions=["execution:read"])
    async with as_caller(key) as blind:
        answer = await blind.post(DECODE, json={"payloads": [PLAIN]})
    assert (answer.status_code, answer.json()["error"]["details"]["permission"]) == (403, "payload:read")


async def test_command_line_shows_what_its_key_opens(
    app: FastAPI, key_of: KeyMaker, run: Run, foreign: Run, temporal_ui: Ports
) -> None:
    key = await key_of(run.tenant, "read")
    async with serving(app) as url:

        async def show(shown: Run, *options: str) -> str:
            command = [tool("temporal"), "workflow", "show", "--workflow-id", shown.id, "--output", "json"]
            whole = [*command, "--address", temporal_ui.address, *options]
            done = await asyncio.to_thread(subprocess.run, whole, capture_output=True, text=True, check=True)
            return str(done.stdout)

        codec = ("--codec-endpoint", f"{url}/api/v1/temporal/codec", "--codec-auth", f"Bearer {key}")
        held = base64.b64encode(f'{{"prompt":"{CANARY}"}}'.encode()).decode()
        assert held in await show(run, *codec)
        assert held not in await show(run)
        assert held not in await show(foreign, *codec)


async def test_command_line_seals_its_signals(app: FastAPI, key_of: KeyMaker, run: Run, temporal_ui: Ports) -> None:
    key = await key_of(run.tenant, "write")
    async with serving(app) as url:
        codec = ("--codec-endpoint", f"{url}/api/v1/temporal/codec", "--codec-auth", f"Bearer {key}")
        for options in (codec, ()):
            command = [tool("temporal"), "workflow", "signal", "--workflow-id", run.id, "--name", "pause"]
            whole = [*command, "--input", '{"id": "x"}', "--address", temporal_ui.address, *options]
            await asyncio.to_thread(subprocess.run, whole, capture_output=True, check=True)
    client = await Client.connect(temporal_ui.address)
    events = (await client.get_workflow_handle(run.id).fetch_history()).events
    sent = [
        event.workflow_execution_signaled_event_attributes.input.payloads[0].metadata["encoding"]
        for event in events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert sent == [b"binary/encrypted", b"json/plain"]
