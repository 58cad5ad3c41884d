"""A running API for each test, and an environment in which no setting of this machine is seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from omium import OmiumClient

from tests.sdk.fake_api import API_KEY, ApiServer, FakeApi


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OMIUM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMIUM_CONFIG_FILE", str(tmp_path / "settings" / "config.toml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ApiServer]:
    server = ApiServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: ApiServer) -> ApiServer:
    shared_server.api = FakeApi()
    shared_server.start()
    return shared_server


@pytest.fixture
def api(server: ApiServer) -> FakeApi:
    return server.api


@pytest.fixture
def client(server: ApiServer) -> Iterator[OmiumClient]:
    with OmiumClient(API_KEY, server.url, max_retries=2) as client:
        yield client


@pytest.fixture
def configured(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """The API, as the command line finds it through the environment."""
    monkeypatch.setenv("OMIUM_API_KEY", API_KEY)
    monkeypatch.setenv("OMIUM_BASE_URL", server.url)
    return server
