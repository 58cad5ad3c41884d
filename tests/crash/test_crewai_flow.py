"""Kill the worker while call k of a looping CrewAI flow is at the model: its one step goes on, and no answered call is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.test_worker import kill_at
from tests.crewai.flows import LOOP, LOOP_CALLS, LOOP_RULES
from tests.support.platform import Platform

FLOW: dict[str, Any] = {"name": "flow under fire", "framework": "crewai", "workflow_definition": LOOP}


# the worker dies under steered runs of one framework in a quick run too
pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("call", range(1, LOOP_CALLS + 1))
def test_flow(platform: Platform, call: int) -> None:
    execution = kill_at(platform, call, FLOW, {"topic": f"rain {call}"}, LOOP_RULES, LOOP_CALLS)
    assert execution["outputs"]["raw"] == "second draft: 24"
    (step,) = execution["agents"]
    assert (step["name"], step["status"], step["tool_calls"]) == ("flow · Poems", "completed", 1)
