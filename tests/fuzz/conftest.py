"""One server for the fuzzers, with a Temporal that no worker listens to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.world import Server, running_api
from tests.support.database import PostgresServer
from tests.support.temporal import running_temporal


@pytest.fixture(scope="package")
def server(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzz")
    with running_temporal(folder / "temporal") as temporal, running_api(postgres.url, temporal, folder) as server:
        yield server
