"""Schedules and webhooks from the command line, against the API behind a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omium.cli import build_app
from omium.client import OmiumClient
from typer.testing import CliRunner

from tests.fuzz.world import Server, running_api
from tests.support.database import PostgresServer
from tests.support.light import WORKFLOW
from tests.support.tenants import add_key, add_tenant

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def server(
    postgres: PostgresServer, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running_api(postgres.url, temporal_address, tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def key(server: Server) -> str:
    tenant = server.wait(add_tenant(server.database))
    pepper = server.settings.api_key_pepper.get_secret_value()
    made: str = server.wait(add_key(server.database, tenant, pepper, "write"))
    return made


@pytest.fixture
def run(server: Server, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command; gives its JSON, or its text."""
    monkeypatch.setenv("OMIUM_BASE_URL", server.url)
    monkeypatch.setenv("OMIUM_API_KEY", key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run(*args: str, code: int = 0) -> Any:
        done = CliRunner().invoke(build_app(), list(args))
        assert done.exit_code == code, done.output
        return json.loads(done.output) if "--json" in args and done.output else done.output

    return run


def test_schedules(run: Run, server: Server, key: str) -> None:
    with OmiumClient(api_key=key, base_url=server.url) as client:
        workflow = client.workflows.create(**WORKFLOW)["id"]
        cron = ("--cron", "0 9 * * mon-fri", "--cron", "@monthly")
        inputs = ("--inputs", '{"name": "Ada"}')
        more = ("--timezone", "Europe/Berlin", "--overlap", "buffer_one", "--paused")
        made = run("schedules", "create", workflow, "--name", "daily", *cron, *inputs, *more, "--json")
        assert (made["cron"], made["timezone"], made["inputs"]) == (
            ["0 9 * * mon-fri", "@monthly"],
            "Europe/Berlin",
            {"name": "Ada"},
        )
        assert (made["paused"], made["overlap_policy"], made["synced"]) == (True, "buffer_one", True)
        assert "daily" in run("schedules", "list", "--paused")
        assert run("schedules", "update", made["id"], "--interval", "PT15M", "--json")["interval"] == 900
        assert "goes on" in run("schedules", "resume", made["id"])
        assert "is paused" in run("schedules", "pause", made["id"], "--note", "holidays")
        assert "holidays" in run("schedules", "get", made["id"])
        assert "fires now" in run("schedules", "trigger", made["id"])
        assert client.schedules.get(made["id"])["counts"] is not None
        span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:10:00Z")
        assert "fires for these times" in run("schedules", "backfill", made["id"], *span)
        assert run("schedules", "runs", made["id"], "--json")["runs"] == [], "no worker is there"
        assert "minute" in run("schedules", "create", workflow, "--name", "x", "--cron", "60 * * * *", code=1)
        assert "is deleted" in run("schedules", "delete", made["id"])
        assert client.schedules.list()["total"] == 0


def test_webhooks(run: Run, server: Server, key: str) -> None:
    url = "https://hooks.example.com/omium"
    assert "execution.completed" in run("webhooks", "events")
    made = run("webhooks", "create", url, "--event", "execution.*", "--event", "approval.requested", "--json")
    assert made["secret"].startswith("whsec_")
    assert made["secret"] not in run("webhooks", "get", made["id"])
    assert "whsec_" in run("webhooks", "rotate-secret", made["id"])
    assert run("webhooks", "update", made["id"], "--disabled", "--json")["enabled"] is False
    assert "disabled" in run("webhooks", "list")
    sent = run("webhooks", "test", made["id"], "--json")["delivery"]
    assert sent["id"] in json.dumps(run("webhooks", "deliveries", made["id"], "--json"))
    assert "sent again" in run("webhooks", "redeliver", made["id"], sent["id"])
    assert "not a public address" in run("webhooks", "create", "http://10.0.0.1/", code=1)
    assert "is deleted" in run("webhooks", "delete", made["id"])
    with OmiumClient(api_key=key, base_url=server.url) as client:
        assert client.webhooks.list()["webhooks"] == []
