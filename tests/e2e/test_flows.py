"""Flows on a real platform: one run across all four frameworks, branches side by side, and what steers them."""

from __future__ import annotations

from typing import Any

from tests.e2e.test_examples import example
from tests.flow.support import ONBOARDING_RULES
from tests.support.platform import Platform
from tests.support.stack import wait_until

FORK: dict[str, Any] = {
    "name": "two branches",
    "framework": "flow",
    "workflow_definition": {
        "agents": [
            {
                "id": name,
                "framework": "langgraph",
                "config": {
                    "state": {"topic": {"type": "string"}, "plan": {"type": "string"}, "text": {"type": "string"}},
                    "nodes": [
                        {"id": "plan", "type": "template", "template": f"{name} plans", "output": "plan"},
                        {"id": "write", "type": "llm", "prompt": f"{name} writes on {{{{ topic }}}}", "output": "text"},
                    ],
                    "edges": [
                        {"from": "START", "to": "plan"},
                        {"from": "plan", "to": "write"},
                        {"from": "write", "to": "END"},
                    ],
                },
            }
            for name in ("left", "right", "last")
        ],
        "flow": [
            {"step": "l", "agent": "left", "inputs": ["topic"], "outputs": {"a": "text"}, "depends_on": []},
            {"step": "r", "agent": "right", "inputs": ["topic"], "outputs": {"b": "text"}, "depends_on": []},
            {
                "step": "j",
                "agent": "last",
                "inputs": {"topic": "a"},
                "outputs": {"c": "text"},
                "depends_on": ["l", "r"],
            },
        ],
    },
}
ANSWERS = [
    {"when": {"any": f"{name} writes"}, "reply": {"content": f"by {name}"}} for name in ("left", "right", "last")
]


def held(name: str, gate: str) -> dict[str, Any]:
    return {"when": {"any": f"{name} writes"}, "reply": {"content": f"by {name}"}, "gate": gate}


def checkpoints(platform: Platform, execution_id: str) -> list[dict[str, Any]]:
    """In the order in which they count."""
    found = platform.http.get("/checkpoints", params={"execution_id": execution_id, "limit": 100}).json()
    listed: list[dict[str, Any]] = found["checkpoints"]
    return sorted(listed, key=lambda row: (row["lineage"], row["checkpoint_number"]))


def test_one_run_crosses_all_frameworks(platform: Platform) -> None:
    platform.model.set_script(ONBOARDING_RULES)
    execution = platform.run(example("flow_onboarding"), {"customer_data": {"name": "Ada", "amount": 20_000}})
    outputs = execution["outputs"]
    assert (outputs["kyc_score"], outputs["credit_score"]) == (0.9, 720)
    assert outputs["letter"] == "Dear Ada, welcome."
    assert {agent["branch"] for agent in execution["agents"]} == {"1", "2", "3", "4"}
    log = platform.http.get(f"/executions/{execution['id']}/consensus").json()["logs"]
    assert [(entry["consensus_reached"], entry["acks_received"]) for entry in log] == [(True, 1)]
    names = [row["checkpoint_name"] for row in checkpoints(platform, execution["id"])]
    assert names[0] == "kyc_validated"
    assert names[-1] == "letter_written"


def test_a_condition_skips_a_branch(platform: Platform) -> None:
    platform.model.set_script(ONBOARDING_RULES)
    execution = platform.run(example("flow_onboarding"), {"customer_data": {"name": "Ada", "amount": 5}})
    assert execution["outputs"]["steps"]["3"] is None
    assert execution["outputs"]["credit_score"] == 720
    assert [agent["status"] for agent in execution["agents"] if agent["branch"] == "3"] == ["skipped"]


def test_rollback_while_branches_run(platform: Platform) -> None:
    """The run goes back as a whole: what the other branch had done after the checkpoint is done again too."""
    seen = len(platform.model.calls)
    platform.model.set_script([held("left", "l1"), held("right", "r1"), *ANSWERS])
    execution_id = platform.start(FORK, {"topic": "tea"})
    platform.model.wait_for_calls(seen + 2)
    first, second = checkpoints(platform, execution_id)
    assert {first["branch"], second["branch"]} == {"l", "r"}
    answer = platform.http.post(f"/checkpoints/{first['id']}/rollback", json={"reason": "early", "resume": True})
    assert answer.status_code == 200, answer.text
    for gate in ("l1", "r1"):
        platform.model.release(gate)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    assert (execution["outputs"]["a"], execution["outputs"]["b"], execution["outputs"]["c"]) == (
        "by left",
        "by right",
        "by last",
    )
    assert execution["lineage"] == 1
    again = [row for row in checkpoints(platform, execution_id) if row["lineage"] == 1]
    assert [row["checkpoint_number"] for row in again] == [2, 3, 4, 5, 6]
    branches = sorted(row["branch"] for row in again)
    assert branches in (["j", "j", "l", "r", "r"], ["j", "j", "l", "l", "r"])


def test_pause_holds_all_branches(platform: Platform) -> None:
    seen = len(platform.model.calls)
    platform.model.set_script([held("left", "l2"), held("right", "r2"), *ANSWERS])
    execution_id = platform.start(FORK, {"topic": "tea"})
    platform.model.wait_for_calls(seen + 2)
    answer = platform.http.post(f"/executions/{execution_id}/pause")
    assert (answer.status_code, answer.json()["pause_requested"]) == (202, True)
    platform.model.release("l2")
    platform.model.release("r2")
    platform.wait_for_status(execution_id, ["paused"])
    assert len(checkpoints(platform, execution_id)) == 4
    assert platform.http.post(f"/executions/{execution_id}/resume").status_code == 200
    assert platform.finish(execution_id)["outputs"]["c"] == "by last"


def test_a_branch_waits_for_a_person_while_the_other_goes_on(platform: Platform) -> None:
    platform.model.set_script(ANSWERS)
    definition = FORK["workflow_definition"]
    asking = {**definition["flow"][0], "approval": {"title": "May the left begin?", "assignee": "ann"}}
    workflow = {**FORK, "workflow_definition": {**definition, "flow": [asking, *definition["flow"][1:]]}}
    execution_id = platform.start(workflow, {"topic": "tea"})
    platform.wait_for_status(execution_id, ["paused"])
    assert [row["branch"] for row in checkpoints(platform, execution_id)] == ["r", "r"]
    approval = platform.http.get("/approvals", params={"execution_id": execution_id}).json()["approvals"][0]
    assert approval["assignee"] == "ann"
    assert platform.http.post(f"/approvals/{approval['id']}/approve").status_code == 200
    assert platform.finish(execution_id)["status"] == "completed"


def test_fork_of_a_flow_from_its_middle(platform: Platform) -> None:
    platform.model.set_script(ANSWERS)
    execution = platform.run(FORK, {"topic": "tea"})
    seen = len(platform.model.calls)
    middle = checkpoints(platform, execution["id"])[3]
    body = {"checkpoint_id": middle["id"], "edits": {"prompts": {"last": "last writes differently on {{ topic }}"}}}
    answer = platform.http.post(f"/executions/{execution['id']}/fork", json=body)
    assert answer.status_code == 201, answer.text
    forked = platform.finish(answer.json()["execution"]["id"])
    assert forked["status"] == "completed", forked
    assert len(platform.model.calls) == seen + 1
    assert "differently" in str(platform.model.calls[-1].body["messages"])
    wait_until(lambda: platform.get(execution["id"])["status"] == "completed", "the original is as it was")
