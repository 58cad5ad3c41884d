"""An AutoGen team on the real stack, from the request to the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.platform import Platform

EXAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "examples" / "autogen_team.json").read_text())

RULES = [
    {
        "when": {"tool": "calculator", "not_called": "calculator"},
        "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "40*12.5"}}]},
    },
    {"when": {"system": "You write offers", "last": "^500"}, "reply": {"content": "40 chairs for 500."}},
    {"when": {"system": "You write offers"}, "reply": {"content": "40 chairs for 500, on Monday."}},
    {"when": {"system": "You check offers", "last": "Monday"}, "reply": {"content": "APPROVE"}},
    {"when": {"system": "You check offers"}, "reply": {"content": "The delivery is missing."}},
]


def test_a_team_with_a_tool(platform: Platform) -> None:
    platform.model.set_script(RULES)
    execution = platform.run(EXAMPLE, {"task": "40 chairs at 12.5 each, delivered on Monday"})
    names = [agent["name"] for agent in execution["agents"]]
    assert names == ["turn 1 · estimator", "turn 2 · reviewer", "turn 3 · estimator", "turn 4 · reviewer"]
    assert [agent["llm_calls"] for agent in execution["agents"]] == [2, 1, 1, 1]
    assert [agent["tool_calls"] for agent in execution["agents"]] == [1, 0, 0, 0]
    assert execution["outputs"]["raw"] == "APPROVE"
    assert execution["outputs"]["stop_reason"] == "Text 'APPROVE' mentioned"
    said = [message["source"] for message in execution["outputs"]["messages"]]
    assert said == ["user", "estimator", "reviewer", "estimator", "reviewer"]
    assert execution["checkpoint_count"] == 4


def test_a_definition_with_a_provider_that_is_not_allowed(platform: Platform) -> None:
    definition = json.loads(json.dumps(EXAMPLE["workflow_definition"]))
    definition["config"]["participants"][1]["provider"] = "subprocess.Popen"
    answer = platform.http.post("/workflows", json={**EXAMPLE, "workflow_definition": definition})
    assert answer.status_code == 422
    assert "config.participants[1].provider" in answer.text
