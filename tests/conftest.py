"""Options and fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.support.database import PostgresServer


#: Folders whose tests share a platform: all of one go to one process, so that none is started twice.
ONE_PLATFORM = ("tests/crash", "tests/e2e", "tests/workflows")


class ByPlatform(LoadScopeScheduling):
    """A file's tests go to one process, and so do those of a folder with one platform."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = file.rpartition("/")[0]
        return folder if folder in ONE_PLATFORM else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlatform | None:
    return ByPlatform(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run exhaustive matrices in full")
    parser.addoption("--seed", type=int, default=20_261_122, help="chooses the sample of the exhaustive matrices")


def pytest_configure(config: pytest.Config) -> None:
    # a traceback in colours with everybody's variables takes seconds of the loop that the tests share
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `thorough` is for `--all`; the report counts it as deselected."""
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_report_header(config: pytest.Config) -> str:
    chosen = "all cases" if config.getoption("--all") else f"a sample with --seed {config.getoption('--seed')}"
    return f"exhaustive matrices: {chosen}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One database server for all tests that need no more than that; who kills it starts it again."""
    # not every test needs a database, or the second that it takes to load what makes one
    from tests.support.database import running_postgres

    with running_postgres(tmp_path_factory.mktemp("postgres") / "data") as server:
        yield server
