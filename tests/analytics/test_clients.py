"""The SDK and the command line, before the API in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import uvicorn
from fastapi import FastAPI
from omium import AsyncOmiumClient
from omium.errors import OmiumError
from typer.testing import Result

from models.database import Database
from models.tables.base import now
from tests.analytics.runs import MadeRun, MadeStep, add_workflow, write
from tests.api.conftest import KeyMaker
from tests.sdk.command_line import run


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve([listening]))
    # who comes before it serves waits in the queue of the socket
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def key(
    address: str, database: Database, tenant: UUID, key_of: KeyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Of a tenant with a run of today that failed and one that did not; the command line knows it."""
    workflow = await add_workflow(database, tenant, "news")
    for status, failures in (("completed", []), ("failed", ["timeout"])):
        steps = [MadeStep(timedelta(0), "large", 1, 10, 10**6, size=2000)]
        made = MadeRun(workflow, "langgraph", status, now(), timedelta(seconds=2), failures, steps)
        await write(database, tenant, made)
    key = await key_of(tenant, "read")
    for name in [name for name in os.environ if name.startswith("OMIUM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMIUM_CONFIG_FILE", str(tmp_path / "config.toml"))
    monkeypatch.setenv("OMIUM_BASE_URL", address)
    monkeypatch.setenv("OMIUM_API_KEY", key)
    return key


async def cli(*arguments: str) -> Result:
    """Beside the API, which is in this thread."""
    done = await asyncio.to_thread(run, *arguments)
    assert done.exit_code == 0, done.output
    return done


async def test_sdk(address: str, key: str) -> None:
    async with AsyncOmiumClient(key, address) as client:
        runs = (await client.analytics.executions(group_by="workflow"))["analytics"]
        assert (runs["total_executions"], runs["success_rate"]) == (2, 0.5)
        assert [group["workflow_name"] for group in runs["by_workflow"]] == ["news"]
        assert (await client.analytics.usage())["analytics"]["tokens"] == 20
        assert (await client.analytics.costs())["analytics"]["charges"] == 0
        assert (await client.analytics.failures())["analytics"]["by_type"] == {"timeout": 1}
        assert (await client.analytics.checkpoints())["analytics"]["total_bytes"] == 4000
        file = io.BytesIO()
        assert await client.analytics.report(file, "executions", "csv") == len(file.getvalue())
        assert file.getvalue().startswith(b"date,total,successful,failed")
        with pytest.raises(OmiumError, match="start_date"):
            await client.analytics.usage(start_date="yesterday")


@pytest.mark.usefixtures("key")
async def test_usage() -> None:
    shown = await cli("usage", "--period", "week")
    totals = [line.split()[:6] for line in shown.stdout.splitlines() if "total" in line]
    assert totals == [["total", "2", "2", "2", "0", "20"]]
    # the plot, without colours, as nobody looks at a terminal
    assert "█" in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads((await cli("usage", "--period", "day", "--json")).stdout)["analytics"]
    assert (told["executions"], told["period"]["group_by"]) == (2, "hour")
    assert "█" not in (await cli("usage", "--group-by", "workflow", "--no-plot")).stdout
    assert "Nothing" not in (await cli("usage", "--from", "2020-01-01", "--to", "2020-01-02")).stdout
    unknown = await asyncio.to_thread(run, "usage", "--timezone", "Mars/Olympus")
    assert (unknown.exit_code, "timezone: is not the IANA name" in unknown.output) == (1, True)


@pytest.mark.usefixtures("key")
async def test_analytics(tmp_path: Path) -> None:
    shown = (await cli("analytics", "executions", "--group-by", "model")).stdout
    assert "50.0%" in shown
    assert "timeout" in shown
    assert "Credits" in (await cli("analytics", "costs")).stdout
    assert "timeout 1" in (await cli("analytics", "failures", "--group-by", "week")).stdout
    assert "4.0 kB" in (await cli("analytics", "checkpoints")).stdout
    file = tmp_path / "usage.json"
    await cli("analytics", "report", "usage", "--format", "json", "-o", str(file))
    assert json.loads(file.read_bytes())["analytics"]["executions"] == 2
    assert (await cli("analytics", "report", "executions")).stdout.startswith("date,total")
