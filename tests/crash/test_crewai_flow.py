"""Kill the worker while call k of a looping CrewAI flow is at the model: its one step goes on, and no answered call is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.test_worker import deaths, kill_at
from tests.crewai.flows import LOOP, LOOP_CALLS, LOOP_RULES
from tests.support.platform import Platform

FLOW: dict[str, Any] = {"name": "flow under fire", "framework": "crewai", "workflow_definition": LOOP}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "call" in metafunc.fixturenames:
        metafunc.parametrize("call", deaths(metafunc.config, "crewai_flow", LOOP_CALLS))


def test_flow(platform: Platform, call: int) -> None:
    execution = kill_at(platform, call, FLOW, {"topic": f"rain {call}"}, LOOP_RULES, LOOP_CALLS)
    assert execution["outputs"]["raw"] == "second draft: 24"
    (step,) = execution["agents"]
    assert (step["name"], step["status"], step["tool_calls"]) == ("flow · Poems", "completed", 1)
