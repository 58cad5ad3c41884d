"""One platform for all end-to-end tests; each test uses workflows and executions of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omium_core.settings import FRAMEWORKS
from tests.support.platform import Platform, running_platform

AGENTS = Path(__file__).parent / "agents"


@pytest.fixture(scope="package")
def _platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    env = {
        "OMIUM_FRAMEWORKS": ",".join(FRAMEWORKS),
        "OMIUM_AGENT_PATH": str(AGENTS),
        "OMIUM_AGENT_MODULES": "user_graphs",
        "OMIUM_TOOL_MODULES": "user_tools",
        "OMIUM_MODEL_PRICES": '{"test-model": {"input": 1, "output": 2}}',
    }
    with running_platform(tmp_path_factory.mktemp("platform") / "data", env=env) as platform:
        yield platform


@pytest.fixture
def platform(_platform: Platform) -> Platform:
    """The platform, with a model that answers by default rules."""
    _platform.model.set_script([])
    return _platform
