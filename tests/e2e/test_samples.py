"""The sample runs of both frameworks, from the request to the result."""

from __future__ import annotations

from typing import Any

from tests.support.platform import Platform, sample

CALCULATION = {
    "when": {"tool": "calculator", "not_called": "calculator"},
    "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "12*25*8"}}]},
}


def reviewer(score: int, times: int | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "when": {"system": "strict reviewer"},
        "reply": {"json": {"score": score, "advice": "Shorter."}},
    }
    return rule if times is None else {**rule, "times": times}


def test_graph_with_loop_condition_and_fan_out(platform: Platform) -> None:
    platform.model.set_script([reviewer(3, times=1), reviewer(9)])
    execution = platform.run(sample("graph_review"), {"topic": "durable execution"})
    assert execution["outputs"]["rounds"] == 1
    assert execution["outputs"]["article"].startswith("# durable execution")
    assert len(execution["outputs"]["notes"]) == 3
    names = [agent["name"] for agent in execution["agents"]]
    assert names == ["research ×3", "write", "judge", "again", "write", "judge", "measure", "publish"]
    assert [agent["llm_calls"] for agent in execution["agents"]] == [3, 1, 1, 0, 1, 1, 0, 0]
    assert [agent["tool_calls"] for agent in execution["agents"]] == [0, 0, 0, 0, 0, 0, 1, 0]
    assert {agent["status"] for agent in execution["agents"]} == {"completed"}
    assert execution["progress"] == {"current_step": 8, "total_steps": 8, "percentage": 100.0}
    assert execution["checkpoint_count"] == 8
    assert execution["current_checkpoint"] == "step_8_publish"
    assert execution["credits_used"] > 0


def test_crew_with_a_tool(platform: Platform) -> None:
    platform.model.set_script([CALCULATION])
    inputs = {"item": "Postgres hosting", "seats": 12, "monthly_price": 25}
    execution = platform.run(sample("crew_with_tool"), inputs)
    assert [agent["llm_calls"] for agent in execution["agents"]] == [2, 1]
    assert [agent["tool_calls"] for agent in execution["agents"]] == [1, 0]
    assert execution["outputs"]["raw"]
    assert len(execution["outputs"]["tasks_output"]) == 2
    told = [
        message["content"]
        for call in platform.model.calls
        for message in call.body["messages"]
        if message["role"] == "tool"
    ]
    assert "2400" in told[-1]


def test_hierarchical_crew(platform: Platform) -> None:
    workflow = sample("crew_hierarchical")
    properties = workflow["input_schema"]["properties"]
    inputs = {
        name: {"string": "durable agents", "integer": 3, "number": 3}[kind["type"]] for name, kind in properties.items()
    }
    execution = platform.run(workflow, inputs)
    assert len(execution["agents"]) == len(workflow["workflow_definition"]["tasks"])
    assert execution["outputs"]["raw"]


def test_graph_in_code_whose_clients_know_nothing_of_us(platform: Platform) -> None:
    seen = len(platform.model.calls)
    for entrypoint in ("research", "compiled", "factory"):
        definition = {"entrypoint": f"user_graphs:{entrypoint}"}
        workflow = {"name": entrypoint, "framework": "langgraph", "workflow_definition": definition}
        execution = platform.run(workflow, {"topic": entrypoint})
        assert len(execution["outputs"]["notes"]) == 7
        assert sorted(agent["llm_calls"] for agent in execution["agents"]) == [1, 1, 6]
    calls = platform.model.calls[seen:]
    assert len(calls) == 24
    assert {call.body["model"] for call in calls} == {"user-model"}
    assert {call.headers["authorization"] for call in calls} == {"Bearer provider-secret"}


def test_outside_of_a_step_no_call_is_let_through(platform: Platform) -> None:
    seen = len(platform.model.calls)
    definition = {"entrypoint": "user_graphs:outside"}
    answer = platform.http.post(
        "/workflows", json={"name": "outside", "framework": "langgraph", "workflow_definition": definition}
    )
    assert answer.status_code == 422
    assert "no running step" in answer.json()["error"]["message"]
    assert len(platform.model.calls) == seen
