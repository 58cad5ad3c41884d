"""Policies do their work without a person: each kind on the real platform, with what was done written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.platform import Platform

PROMISE = "result.contains('good')"
GRAPH: dict[str, Any] = {
    "name": "graph",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [
            {"id": "prepare", "type": "template", "template": "about {{ topic }}", "output": "prompt"},
            {"id": "write", "type": "llm", "prompt": "{{ prompt }}", "output": "result"},
        ],
        "edges": [
            {"from": "START", "to": "prepare"},
            {"from": "prepare", "to": "write"},
            {"from": "write", "to": "END"},
        ],
        "state": {"topic": {"type": "string"}, "prompt": {"type": "string"}, "result": {"type": "string"}},
        "checkpoints": [{"step": "write", "postconditions": [PROMISE]}],
    },
}
CREW: dict[str, Any] = {
    "name": "crew",
    "framework": "crewai",
    "workflow_definition": {
        "agents": {"writer": {"role": "Writer", "goal": "Write well", "backstory": "Short."}},
        "tasks": {"write": {"description": "Write on {topic}", "expected_output": "A line", "agent": "writer"}},
        "checkpoints": [{"step": "write", "postconditions": ["output.contains('good')"]}],
    },
}
BOTH = pytest.mark.parametrize(
    "workflow", [pytest.param(GRAPH, id="langgraph"), pytest.param(CREW, id="crewai", marks=pytest.mark.thorough)]
)
WRONG = {"content": "Final Answer: wrong"}
GOOD = {"content": "Final Answer: good"}


def ruled(workflow: dict[str, Any], *actions: Any, **recovery: Any) -> dict[str, Any]:
    """The workflow with a rule for what breaks its promise."""
    rule = {"failure_types": ["validation_error"], "actions": list(actions)}
    policies = {"recovery": {"rules": [rule], **recovery}}
    return {**workflow, "workflow_definition": {**workflow["workflow_definition"], "policies": policies}}


def actions_of(platform: Platform, execution_id: str) -> list[dict[str, Any]]:
    """What was done about the failures of a run, the oldest first."""
    found = platform.http.get(f"/executions/{execution_id}/recovery-actions").json()
    rows: list[dict[str, Any]] = found["recovery_actions"]
    return rows[::-1]


def failures_of(platform: Platform, execution_id: str) -> list[dict[str, Any]]:
    found = platform.http.get("/failures", params={"execution_id": execution_id}).json()
    rows: list[dict[str, Any]] = found["failures"]
    return rows[::-1]


@pytest.fixture
def policy_ids(platform: Platform) -> Iterator[list[str]]:
    """Ids of policies that are taken away after the test: other tests have the same tenant."""
    made: list[str] = []
    yield made
    for policy_id in made:
        platform.http.delete(f"/policies/{policy_id}")


@BOTH
def test_stored_policy_of_a_workflow_retries_with_a_pause(
    platform: Platform, workflow: dict[str, Any], policy_ids: list[str]
) -> None:
    workflow_id = platform.register(workflow)
    for policy_type, config in (
        ("retry", {"max_retries": 0}),
        (
            "recovery",
            {
                "rules": [
                    {
                        "failure_types": ["model_unavailable"],
                        "actions": [{"type": "retry", "times": 2, "delay_seconds": 0.2, "backoff": 2}],
                    }
                ]
            },
        ),
    ):
        body = {"name": "p", "workflow_id": workflow_id, "policy_type": policy_type, "policy_config": config}
        answer = platform.http.post("/policies", json=body)
        assert answer.status_code == 201, answer.text
        policy_ids.append(answer.json()["id"])
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": {"error": {"status": 503}}, "times": 2}, {"reply": GOOD}])

    execution = platform.run(workflow_id, {"topic": "pause"})

    assert len(platform.model.calls) - seen == 3
    assert {(policy["id"], policy["version"]) for policy in execution["policies"]} == {(id_, 1) for id_ in policy_ids}
    done = actions_of(platform, execution["id"])
    assert [(row["action_type"], row["status"], row["success"], row["trigger_type"]) for row in done] == [
        ("retry", "completed", True, "policy")
    ] * 2
    assert [row["action_config"]["delay"] for row in done] == [0.2, 0.2]
    failures = failures_of(platform, execution["id"])
    assert [(row["failure_type"], row["recovery_status"], row["recovery_action"]) for row in failures] == [
        ("model_unavailable", "resolved", "retry")
    ] * 2


@BOTH
def test_broken_promise_is_asked_anew_by_a_retry_policy(platform: Platform, workflow: dict[str, Any]) -> None:
    patient = {**workflow, "workflow_definition": {**workflow["workflow_definition"], "policies": {"max_retries": 2}}}
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": WRONG, "times": 2}, {"reply": GOOD}])

    execution = platform.run(patient, {"topic": "anew"})

    assert len(platform.model.calls) - seen == 3
    assert execution["lineage"] == 2
    done = actions_of(platform, execution["id"])
    assert [(row["action_type"], row["status"], row["action_config"]["redo"]) for row in done] == [
        ("retry", "completed", True)
    ] * 2
    failures = failures_of(platform, execution["id"])
    assert [(row["failure_type"], row["recovery_status"]) for row in failures] == [("validation_error", "resolved")] * 2
    assert "does not hold" in failures[0]["error_message"]


@BOTH
@pytest.mark.parametrize("agent", [None, "write"])
def test_prompt_is_edited(platform: Platform, workflow: dict[str, Any], agent: str | None) -> None:
    action = {"type": "prompt_edit", "new_prompt": "Mind the SOURCE of {{ topic }}.", "append": True}
    if workflow is CREW:
        action["new_prompt"] = "Mind the SOURCE."
    if agent:
        action["agent"] = agent
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"any": "SOURCE"}, "reply": GOOD}, {"reply": WRONG}])

    execution = platform.run(ruled(workflow, action), {"topic": "prompts"})

    calls = platform.model.calls[seen:]
    assert len(calls) == 2
    told = str(calls[1].body)
    assert "prompts" in told, "the old prompt is still there"
    assert told.count("SOURCE") == 1
    assert [(row["action_type"], row["status"]) for row in actions_of(platform, execution["id"])] == [
        ("prompt_edit", "completed")
    ]


@BOTH
def test_prompt_is_replaced(platform: Platform, workflow: dict[str, Any]) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"any": "BETTER"}, "reply": GOOD}, {"reply": WRONG}])
    action = {"type": "prompt_edit", "new_prompt": "A BETTER prompt."}

    platform.run(ruled(workflow, action), {"topic": "replaced"})

    told = str(platform.model.calls[seen + 1].body)
    assert "about replaced" not in told
    assert "Write on" not in told
    assert told.count("BETTER") == 1


@BOTH
def test_another_model_takes_over(platform: Platform, workflow: dict[str, Any]) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"model": "other-model"}, "reply": GOOD}, {"reply": WRONG}])

    execution = platform.run(ruled(workflow, {"type": "model_fallback", "model": "other-model"}), {"topic": "models"})

    assert [call.body["model"] for call in platform.model.calls[seen:]] == ["test-model", "other-model"]
    assert [row["action_type"] for row in actions_of(platform, execution["id"])] == ["model_fallback"]


def test_rolled_back_beyond_the_last_checkpoint(platform: Platform) -> None:
    platform.model.set_script([{"reply": WRONG, "times": 1}, {"reply": GOOD}])
    execution = platform.run(ruled(GRAPH, {"type": "rollback", "steps_back": 1}), {"topic": "back"})
    [rollback] = platform.http.get(f"/executions/{execution['id']}/rollbacks").json()["rollbacks"]
    assert (rollback["trigger_type"], rollback["status"]) == ("policy", "completed")
    assert [agent["lineage"] for agent in execution["agents"]] == [1, 1], "the first step was done again too"
    [action] = actions_of(platform, execution["id"])
    assert (action["action_type"], action["status"], action["success"]) == ("rollback", "completed", True)


def test_policy_of_rollbacks_takes_the_run_back_by_itself(platform: Platform, policy_ids: list[str]) -> None:
    workflow_id = platform.register(GRAPH)
    config = {"on_failure": True, "max_rollbacks": 2}
    body = {"name": "back", "workflow_id": workflow_id, "policy_type": "rollback", "policy_config": config}
    policy_ids.append(platform.http.post("/policies", json=body).json()["id"])
    platform.model.set_script([{"reply": WRONG, "times": 2}, {"reply": GOOD}])
    execution = platform.run(workflow_id, {"topic": "by itself"})
    assert [(row["action_type"], row["status"]) for row in actions_of(platform, execution["id"])] == [
        ("rollback", "completed")
    ] * 2
    assert execution["lineage"] == 2


@BOTH
def test_policy_of_time_ends_an_attempt(platform: Platform, workflow: dict[str, Any], policy_ids: list[str]) -> None:
    workflow_id = platform.register(workflow)
    for policy_type, config in (("timeout", {"timeout_ms": 1500}), ("retry", {"max_retries": 0})):
        body = {"name": "t", "workflow_id": workflow_id, "policy_type": policy_type, "policy_config": config}
        policy_ids.append(platform.http.post("/policies", json=body).json()["id"])
    platform.model.set_script([{"gate": "never", "reply": GOOD, "times": 1}])
    execution = platform.finish(platform.start(workflow_id, {"topic": "time"}))
    platform.model.release("never")
    assert execution["status"] == "failed"
    [failure] = failures_of(platform, execution["id"])
    assert (failure["failure_type"], failure["recovery_status"]) == ("timeout", "pending")
    analysis = platform.http.post(f"/failures/{failure['id']}/analyze").json()["analysis"]
    assert "within" in analysis["root_cause"]


@BOTH
def test_actions_are_taken_in_order_and_bounded(platform: Platform, workflow: dict[str, Any]) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": WRONG}])
    wanted = ruled(workflow, {"type": "retry", "times": 2}, {"type": "model_fallback", "model": "m2"})
    execution = platform.finish(platform.start(wanted, {"topic": "bounded"}))
    assert execution["status"] == "failed"
    assert [call.body["model"] for call in platform.model.calls[seen:]] == ["test-model"] * 3 + ["m2"]
    done = actions_of(platform, execution["id"])
    assert [row["action_type"] for row in done] == ["retry", "retry", "model_fallback"]
    failures = failures_of(platform, execution["id"])
    assert [row["recovery_status"] for row in failures] == ["pending"] * 4


def test_bound_of_the_whole_run(platform: Platform) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([{"reply": WRONG}])
    wanted = ruled(GRAPH, {"type": "retry", "times": 9}, max_actions=2)
    assert platform.finish(platform.start(wanted, {"topic": "few"}))["status"] == "failed"
    assert len(platform.model.calls) - seen == 3


@pytest.mark.parametrize(
    "wanted",
    [
        ruled(GRAPH, {"type": "escalate", "note": "Ask Ada."}),
        ruled(GRAPH, {"type": "retry", "times": 1}, on_exhausted="escalate", max_actions=1),
    ],
    ids=["rule", "exhausted"],
)
def test_person_is_waited_for(platform: Platform, wanted: dict[str, Any]) -> None:
    platform.model.set_script([{"reply": WRONG, "times": 2}, {"reply": GOOD}])
    execution_id = platform.start(wanted, {"topic": "person"})
    execution = platform.wait_for_status(execution_id, ["paused", "failed", "completed"])
    assert (execution["status"], execution["reason"]) == ("paused", "recovery")
    assert failures_of(platform, execution_id)[-1]["recovery_status"] == "escalated"
    assert actions_of(platform, execution_id)[-1]["action_type"] == "escalate"
    # a resume alone is the same step with the kept answers: only a rollback asks anew
    failure_id = failures_of(platform, execution_id)[-1]["id"]
    body = {"action_type": "retry", "action_config": {"redo": True}}
    while platform.get(execution_id)["status"] == "paused":
        answer = platform.http.post(f"/failures/{failure_id}/recover", json=body)
        assert answer.status_code in (200, 202), answer.text
        execution = platform.wait_for_status(execution_id, ["paused", "failed", "completed"])
        failure_id = failures_of(platform, execution_id)[-1]["id"]
    assert execution["status"] == "completed"
    assert {row["recovery_status"] for row in failures_of(platform, execution_id)} == {"resolved"}


def test_run_keeps_the_policies_with_which_it_began(platform: Platform, policy_ids: list[str]) -> None:
    workflow_id = platform.register(GRAPH)
    body = {
        "name": "asks a person",
        "workflow_id": workflow_id,
        "policy_type": "recovery",
        "policy_config": {"rules": [{"failure_types": ["validation_error"], "actions": ["escalate"]}]},
    }
    policy_id = platform.http.post("/policies", json=body).json()["id"]
    policy_ids.append(policy_id)
    platform.model.set_script([{"gate": "answer", "reply": WRONG, "times": 1}, {"reply": GOOD}])
    execution_id = platform.start(workflow_id, {"topic": "kept"})
    platform.model.wait_until_held()
    changed = platform.http.patch(f"/policies/{policy_id}", json={"is_active": False})
    assert changed.json()["version"] == 2
    platform.model.release("answer")
    execution = platform.wait_for_status(execution_id, ["paused", "failed", "completed"])
    assert (execution["status"], execution["reason"]) == ("paused", "recovery")
    assert execution["policies"] == [{"id": policy_id, "version": 1}]
    assert platform.run(workflow_id, {"topic": "after"})["policies"] == []


FLOW: dict[str, Any] = {
    "name": "flow",
    "framework": "flow",
    "workflow_definition": {
        "agents": [
            {"id": "left", "framework": "crewai", "config": {"role": "Left", "goal": "Write", "backstory": "Short."}},
            {
                "id": "right",
                "framework": "langgraph",
                "config": {
                    "nodes": [{"id": "say", "type": "llm", "prompt": "Right on {{ topic }}", "output": "result"}],
                    "edges": [{"from": "START", "to": "say"}, {"from": "say", "to": "END"}],
                    "state": {"topic": {"type": "string"}, "result": {"type": "string"}},
                },
            },
        ],
        "flow": [
            {"step": 1, "agent": "left", "task": "Left on {{ topic }}", "inputs": ["topic"]},
            {
                "step": 2,
                "agent": "right",
                "inputs": ["topic"],
                "outputs": ["result"],
                "postconditions": ["output.result.contains('good')"],
            },
        ],
    },
}


def test_one_branch_of_a_flow_is_mended(platform: Platform) -> None:
    action = {"type": "prompt_edit", "new_prompt": "Mind the SOURCE.", "append": True}
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"any": "SOURCE"}, "reply": GOOD}, {"reply": WRONG}])
    execution = platform.run(ruled(FLOW, action), {"topic": "branches"})
    told = [str(call.body) for call in platform.model.calls[seen:]]
    assert [text for text in told if "SOURCE" in text and "Left on" in text] == []
    assert sum("SOURCE" in text for text in told) == 1
    assert execution["outputs"]["result"] == "Final Answer: good"
    assert [row["status"] for row in actions_of(platform, execution["id"])] == ["completed"]


def test_agents_own_policy_in_a_flow(platform: Platform) -> None:
    definition = FLOW["workflow_definition"]
    left, right = definition["agents"]
    config = {**right["config"], "recovery_policies": {"on_failure": "escalate", "max_retries": 1}}
    own = {**FLOW, "workflow_definition": {**definition, "agents": [left, {**right, "config": config}]}}
    platform.model.set_script([{"reply": WRONG}])
    execution_id = platform.start(own, {"topic": "own policy"})
    execution = platform.wait_for_status(execution_id, ["paused", "failed", "completed"])
    assert (execution["status"], execution["reason"]) == ("paused", "recovery")
    assert [row["action_type"] for row in actions_of(platform, execution_id)] == ["retry", "escalate"]
    assert platform.http.post(f"/executions/{execution_id}/cancel").status_code in (200, 202)
