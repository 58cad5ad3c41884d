"""Kill the worker while call k of an AutoGen team is at the model: the run ends by itself, and no answered call is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.autogen.teams import agent, condition, team
from tests.crash.test_worker import kill_at
from tests.support.platform import Platform

TEAM: dict[str, Any] = {
    "name": "team under fire",
    "framework": "autogen",
    "workflow_definition": team(
        "RoundRobinGroupChat",
        agent("counter", tools=["calculator", "note_order"], max_tool_iterations=4),
        agent("critic"),
        termination_condition=condition("TextMentionTermination", text="APPROVE"),
    ),
}
CALLS = 6


def rules(folder: Path) -> list[dict[str, Any]]:
    """Three calls and two tools in the first turn; the critic sends the counter back once."""
    order = {"item": "apples", "amount": 3, "folder": str(folder)}
    return [
        {
            "when": {"tool": "calculator", "not_called": "calculator"},
            "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
        },
        {
            "when": {"tool": "note_order", "not_called": "note_order"},
            "reply": {"tool_calls": [{"name": "note_order", "arguments": order}]},
        },
        {"when": {"system": "counter", "last": "Again"}, "reply": {"content": "42, once more."}},
        {"when": {"system": "counter"}, "reply": {"content": "It is 42."}},
        {"when": {"system": "critic", "last": "once more"}, "reply": {"content": "APPROVE"}},
        {"when": {"system": "critic"}, "reply": {"content": "Again!"}},
    ]


# the worker dies under steered runs of one framework in a quick run too
pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("call", range(1, CALLS + 1))
def test_team(platform: Platform, call: int, tmp_path: Path) -> None:
    execution = kill_at(platform, call, TEAM, {"task": f"Count the apples {call}"}, rules(tmp_path), CALLS)
    assert execution["outputs"]["raw"] == "APPROVE"
    assert len(execution["agents"]) == 4
    assert execution["agents"][0]["tool_calls"] == 2
    assert len((tmp_path / "orders.txt").read_text().splitlines()) == 1
