"""Kill the worker while call k of a handoff is at the model: the run ends by itself, and no answered call is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash.test_worker import kill_at
from tests.semantic_kernel.support import agent, calling
from tests.support.platform import Platform

DESK: dict[str, Any] = {
    "name": "desk under fire",
    "framework": "semantic_kernel",
    "workflow_definition": {
        "agents": [
            agent("clerk", "You serve.", tools=["calculator", "note_order"]),
            agent("checker", "You check."),
        ],
        "orchestration": {"type": "handoff", "handoffs": {"clerk": ["checker"], "checker": ["clerk"]}},
    },
}
CALLS = 4


def rules(folder: Path) -> list[dict[str, Any]]:
    """Two calls with two tools and a handover in the first turn; the checker hands back once."""
    order = {"item": "apples", "amount": 3, "folder": str(folder)}
    both = [
        {"name": "calculator", "arguments": {"expression": "6*7"}},
        {"name": "note_order", "arguments": order},
    ]
    return [
        {"when": {"system": "serve", "not_called": "note_order"}, "reply": {"tool_calls": both}},
        {"when": {"system": "serve", "not_called": "Handoff-transfer_to_checker"}, "reply": calling("Handoff-transfer_to_checker")},
        {"when": {"system": "serve"}, "reply": {"content": "42 apples."}},
        {"when": {"system": "check"}, "reply": calling("Handoff-transfer_to_clerk")},
    ]  # fmt: skip


# the worker dies under steered runs of one framework in a quick run too
pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("call", range(1, CALLS + 1))
def test_handoff(platform: Platform, call: int, tmp_path: Path) -> None:
    execution = kill_at(platform, call, DESK, {"task": f"Count the apples {call}"}, rules(tmp_path), CALLS)
    assert execution["outputs"]["raw"] == "42 apples."
    assert [agent["name"] for agent in execution["agents"]] == ["clerk", "checker", "round 2 · clerk"]
    assert execution["agents"][0]["tool_calls"] == 2
    assert len((tmp_path / "orders.txt").read_text().splitlines()) == 1
