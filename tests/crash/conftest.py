"""Crash tests: real processes killed with SIGKILL. The full matrix runs with `make test-all`, a seeded sample otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omium_core.settings import FRAMEWORKS
from tests.support.platform import Platform, running_platform

# its assertions are to tell what they found
pytest.register_assert_rewrite("tests.crash.verdict")

AGENTS = Path(__file__).parents[1] / "e2e" / "agents"


@pytest.fixture(scope="package")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    # each death is followed by a start, and most of that is loading frameworks
    served = FRAMEWORKS if request.config.getoption("--all") else ("langgraph", "crewai")
    env = {
        "OMIUM_FRAMEWORKS": ",".join(served),
        "OMIUM_AGENT_PATH": str(AGENTS),
        "OMIUM_AGENT_MODULES": "user_graphs",
        "OMIUM_TOOL_MODULES": "user_tools",
    }
    with running_platform(tmp_path_factory.mktemp("crash") / "data", env=env) as platform:
        yield platform
