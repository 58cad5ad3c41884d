"""What a run does when something outside of it fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.loopback import free_port
from tests.support.platform import Platform, sample

ONE_CALL: dict[str, Any] = {
    "name": "one call",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [
            {"id": "first", "type": "template", "template": "about {{ topic }}", "output": "prompt"},
            {"id": "ask", "type": "llm", "prompt": "{{ prompt }}", "output": "answer"},
        ],
        "edges": [{"from": "START", "to": "first"}, {"from": "first", "to": "ask"}, {"from": "ask", "to": "END"}],
        "state": {"topic": {"type": "string"}, "prompt": {"type": "string"}, "answer": {"type": "string"}},
    },
}
ONE_CREW_CALL: dict[str, Any] = {
    "name": "one crew call",
    "framework": "crewai",
    "workflow_definition": {
        "agents": {"writer": {"role": "Writer", "goal": "Write", "backstory": "Short."}},
        "tasks": [
            {"description": "Write on {topic}", "expected_output": "A line", "agent": "writer"},
            {"description": "Shorten", "expected_output": "A word", "agent": "writer"},
        ],
    },
}
BOTH = pytest.mark.parametrize(
    "workflow",
    [pytest.param(ONE_CALL, id="langgraph"), pytest.param(ONE_CREW_CALL, id="crewai", marks=pytest.mark.thorough)],
)


@BOTH
@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_endpoint_is_tried_again_by_temporal_alone(
    platform: Platform, workflow: dict[str, Any], status: int
) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": {"error": {"status": status}}, "times": 2}])
    execution = platform.run(workflow, {"topic": f"busy {status}"})
    wanted = 3 if workflow is ONE_CALL else 4
    assert len(platform.model.calls) - seen == wanted
    assert max(agent["attempt"] for agent in execution["agents"]) == 3


@BOTH
def test_dropped_connection_is_tried_again(platform: Platform, workflow: dict[str, Any]) -> None:
    platform.model.set_script([{"reply": {"disconnect": True}, "times": 1}])
    execution = platform.run(workflow, {"topic": "dropped"})
    assert max(agent["attempt"] for agent in execution["agents"]) == 2


@BOTH
@pytest.mark.parametrize("status", [400, 401])
def test_refused_call_is_not_tried_again(platform: Platform, workflow: dict[str, Any], status: int) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": {"error": {"status": status, "message": "no such key"}}}])
    execution = platform.finish(platform.start(workflow, {"topic": f"refused {status}"}))
    assert execution["status"] == "failed"
    assert len(platform.model.calls) - seen == 1
    failure = platform.http.get("/failures", params={"execution_id": execution["id"]}).json()["failures"][0]
    assert failure["failure_type"] == "model_rejected"
    assert str(status) in failure["error_message"]
    assert "no such key" in failure["error_message"]


@BOTH
def test_endpoint_that_stays_away_fails_the_run_which_can_be_taken_up_again(
    platform: Platform, workflow: dict[str, Any]
) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": {"error": {"status": 503}}, "times": 5}])
    execution = platform.finish(platform.start(workflow, {"topic": "away"}))
    assert execution["status"] == "failed"
    assert platform.model.base_url in execution["error_message"]
    assert len(platform.model.calls) - seen == 5
    failures = platform.http.get("/failures", params={"execution_id": execution["id"], "status": "unresolved"}).json()
    assert failures["failures"][0]["failure_type"] == "model_unavailable"
    assert failures["failures"][0]["is_recoverable"] is True
    assert failures["pagination"]["total"] == 1

    answer = platform.http.post(f"/executions/{execution['id']}/retry")
    assert answer.status_code == 200, answer.text
    again = platform.finish(execution["id"])
    assert again["status"] == "completed"
    assert again["retry_count"] == 1
    assert [agent["status"] for agent in again["agents"]] == ["completed"] * 2
    open_failures = platform.http.get("/failures", params={"execution_id": execution["id"], "status": "unresolved"})
    assert open_failures.json()["failures"] == []
    refused = platform.http.post(f"/executions/{execution['id']}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "EXECUTION_CANNOT_RETRY")


def test_error_in_a_users_graph_is_told_with_its_trace(platform: Platform) -> None:
    workflow = {"name": "broken", "framework": "langgraph", "workflow_definition": {"entrypoint": "user_graphs:broken"}}
    execution = platform.finish(platform.start(workflow, {"topic": "x"}))
    assert execution["status"] == "failed"
    failure = platform.http.get("/failures", params={"execution_id": execution["id"]}).json()["failures"][0]
    assert failure["failure_type"] == "agent_error"
    assert failure["error_message"] == "KeyError: 'no such thing'"
    assert "user_graphs.py" in failure["stack_trace"]


def test_error_in_an_operators_tool_is_told_with_its_trace(platform: Platform) -> None:
    definition = {
        "nodes": [
            {"id": "greet", "type": "template", "template": "hello", "output": "text"},
            {"id": "look", "type": "tool", "tool": "look_up", "args": {"item": "rum"}, "output": "text"},
        ],
        "edges": [{"from": "START", "to": "greet"}, {"from": "greet", "to": "look"}],
        "state": {"text": {"type": "string"}},
    }
    workflow = {"name": "look", "framework": "langgraph", "workflow_definition": definition}
    execution = platform.finish(platform.start(workflow, {}))
    assert (execution["status"], execution["error"]) == ("failed", "A tool failed: KeyError: 'rum'")
    assert execution["progress"] == {"current_step": 1, "total_steps": 2, "percentage": 50.0}
    failure = platform.http.get("/failures", params={"execution_id": execution["id"]}).json()["failures"][0]
    assert (failure["failure_type"], failure["error_message"]) == ("tool_invocation", "A tool failed: KeyError: 'rum'")
    assert failure["stack_trace"].startswith("Traceback (most recent call last)")
    assert "user_tools.py" in failure["stack_trace"]
    analysis = platform.http.post(f"/failures/{failure['id']}/analyze").json()["analysis"]
    assert "rum" in analysis["root_cause"]


def test_failing_tool_is_tried_again_and_its_call_not_journaled(platform: Platform) -> None:
    port = free_port()
    definition = {
        "nodes": [
            {
                "id": "fetch",
                "type": "tool",
                "tool": "http_request",
                "args": {"url": f"http://127.0.0.1:{port}/"},
                "output": "page",
            }
        ],
        "edges": [{"from": "START", "to": "fetch"}, {"from": "fetch", "to": "END"}],
        "state": {"page": {"type": "object"}},
    }
    workflow = {"name": "fetch", "framework": "langgraph", "workflow_definition": definition}
    execution = platform.finish(platform.start(workflow, {}))
    assert execution["status"] == "failed"
    assert execution["agents"][0]["attempt"] == 5
    failure = platform.http.get("/failures", params={"execution_id": execution["id"]}).json()["failures"][0]
    assert failure["failure_type"] == "tool_invocation"


def test_loop_that_never_ends_is_ended(platform: Platform) -> None:
    definition = {
        "nodes": [{"id": "spin", "type": "template", "template": "again", "output": "text"}],
        "edges": [
            {"from": "START", "to": "spin"},
            {"from": "spin", "to": "spin", "when": "text == 'again'"},
            {"from": "spin", "to": "END", "when": "text != 'again'"},
        ],
        "state": {"text": {"type": "string"}},
        "max_steps": 5,
    }
    workflow = {"name": "spin", "framework": "langgraph", "workflow_definition": definition}
    execution = platform.finish(platform.start(workflow, {}))
    assert execution["status"] == "failed"
    assert execution["checkpoint_count"] == 5
    assert "5 steps" in execution["error_message"]


def test_models_named_by_nobody_are_the_settings(platform: Platform) -> None:
    seen = len(platform.model.calls)
    named = {**ONE_CALL, "workflow_definition": {**ONE_CALL["workflow_definition"]}}
    nodes = [dict(node) for node in named["workflow_definition"]["nodes"]]
    nodes[1]["model"] = "vendor/special-model"
    named["workflow_definition"]["nodes"] = nodes
    platform.run(ONE_CALL, {"topic": "x"})
    platform.run(named, {"topic": "x"})
    platform.run(ONE_CREW_CALL, {"topic": "x"})
    crew = sample("crew_with_tool")
    assert crew["framework"] == "crewai"
    assert [call.body["model"] for call in platform.model.calls[seen:]] == [
        "test-model",
        "vendor/special-model",
        "test-model",
        "test-model",
    ]
