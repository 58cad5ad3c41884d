"""People in a run: approvals and votes on handoffs, over REST, the SDK and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from omium import Conflict, InvalidInput

from tests.support.platform import Platform
from tests.support.stack import wait_until

EXAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "examples" / "langgraph_approval.json").read_text()
)
HANDOFF: dict[str, Any] = {
    "name": "handoff",
    "framework": "langgraph",
    "workflow_definition": {
        "nodes": [
            {"id": "write", "type": "llm", "prompt": "write on {{ topic }}", "output": "draft"},
            {"id": "publish", "type": "template", "template": "Published: {{ draft }}", "output": "published"},
        ],
        "edges": [
            {"from": "START", "to": "write"},
            {"from": "write", "to": "publish"},
            {"from": "publish", "to": "END"},
        ],
        "state": {name: {"type": "string"} for name in ("topic", "draft", "published")},
        "handoffs": [
            {
                "from": "write",
                "to": "publish",
                "voters": ["publish", {"person": "ada"}, {"service": "archive"}],
                "quorum": "all",
            }
        ],
    },
}


def asked(platform: Platform, topic: str) -> tuple[str, dict[str, Any]]:
    """A run that waits for an approval, and the approval."""
    execution_id = platform.start(EXAMPLE, {"topic": topic})
    waiting = platform.wait_for_status(execution_id, ["paused"])
    assert (waiting["reason"], waiting["pending_approvals"]) == ("approval", 1)
    found = platform.client.approvals.list(status="pending", execution_id=execution_id)
    assert found["total"] == 1
    approval: dict[str, Any] = dict(found["approvals"][0])
    return execution_id, approval


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    return error


def test_approve_and_the_same_again(platform: Platform) -> None:
    execution_id, approval = asked(platform, "tea")
    assert approval["title"] == "May this announcement be published?"
    assert platform.client.approvals.get(approval["id"])["question"] is not None
    answer = platform.http.post(f"/approvals/{approval['id']}/approve", json={"comment": "fine"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["approval"]["status"], answer.json()["approval"]["comment"]) == ("approved", "fine")
    assert answer.json()["execution"]["id"] == execution_id
    again = platform.http.post(f"/approvals/{approval['id']}/approve")
    assert (again.status_code, again.json()["approval"]["status"]) == (200, "approved")
    error = refused(platform.http.post(f"/approvals/{approval['id']}/reject"), 409, "APPROVAL_ALREADY_ANSWERED")
    assert error["details"]["status"] == "approved"
    with pytest.raises(Conflict, match="approved already"):
        platform.client.approvals.edit(approval["id"], "other")
    done = platform.finish(execution_id)
    assert (done["status"], done["pending_approvals"]) == ("completed", 0)
    assert done["outputs"]["published"] == done["outputs"]["draft"]


def test_edit_hands_over_a_value(platform: Platform) -> None:
    execution_id, approval = asked(platform, "coffee")
    refused(platform.http.post(f"/approvals/{approval['id']}/edit", json={"value": None}), 422, "INVALID_INPUT")
    refused(platform.http.post(f"/approvals/{approval['id']}/answer", json={"decision": "edit"}), 422, "INVALID_INPUT")
    refused(platform.http.post(f"/approvals/{approval['id']}/answer", json={"decision": "maybe"}), 422, "INVALID_INPUT")
    told = platform.client.approvals.edit(approval["id"], "My own words", comment="clearer")
    assert (told["approval"]["status"], told["approval"]["answer"]) == ("edited", "My own words")
    again = platform.http.post(
        f"/approvals/{approval['id']}/answer", json={"decision": "edit", "value": "My own words"}
    )
    assert again.status_code == 200, again.text
    assert platform.finish(execution_id)["outputs"]["published"] == "My own words"


def test_reject_goes_where_the_definition_says(platform: Platform) -> None:
    execution_id, approval = asked(platform, "milk")
    platform.client.approvals.reject(approval["id"], value="too long")
    wait_until(lambda: platform.get(execution_id)["pending_approvals"] == 1, "the second question")
    questions = platform.client.approvals.list(execution_id=execution_id)["approvals"]
    assert [question["status"] for question in questions] == ["pending", "rejected"]
    platform.client.executions.cancel(execution_id)
    closed = platform.client.approvals.get(questions[0]["id"])
    assert closed["status"] == "cancelled"
    refused(platform.http.post(f"/approvals/{closed['id']}/approve"), 409, "APPROVAL_ALREADY_ANSWERED")


REVIEW: dict[str, Any] = {
    "name": "review",
    "framework": "crewai",
    "workflow_definition": {
        "agents": {"writer": {"role": "Writer", "goal": "Write", "backstory": "Writes"}},
        "tasks": {
            name: {"description": "Write", "expected_output": "A text", "agent": "writer", "human_input": True}
            for name in ("draft #1", "a" * 300)
        },
    },
}


def test_a_task_is_asked_about_until_it_is_right(platform: Platform) -> None:
    execution_id = platform.start(REVIEW, {})

    def answer(decision: str, value: str | None = None) -> str:
        wait_until(lambda: platform.get(execution_id)["pending_approvals"] == 1, "a question")
        (question,) = platform.client.approvals.list(execution_id=execution_id, status="pending")["approvals"]
        getattr(platform.client.approvals, decision)(question["id"], **({} if value is None else {"value": value}))
        return str(question["interrupt_id"])

    assert answer("reject", "shorter") == "draft #1"
    assert answer("reject", "longer") == "draft #1#2"
    assert answer("reject") == "draft #1#3"
    assert platform.finish(execution_id)["status"] == "failed"
    platform.client.executions.retry(execution_id)
    # what was refused is asked again, from the first question on
    assert answer("approve") == "draft #1"
    assert answer("approve").startswith("a" * 190)
    done = platform.finish(execution_id)
    assert (done["status"], [agent["llm_calls"] for agent in done["agents"]]) == ("completed", [3, 1])


def test_a_pause_goes_before_a_question(platform: Platform) -> None:
    execution_id, approval = asked(platform, "juice")
    paused = platform.http.post(f"/executions/{execution_id}/pause")
    assert (paused.status_code, paused.json()["execution"]["reason"]) == (200, "operator")
    platform.client.approvals.approve(approval["id"])
    assert platform.wait_for_status(execution_id, ["paused"])["reason"] == "operator"
    platform.client.executions.resume(execution_id)
    assert platform.finish(execution_id)["status"] == "completed"


def test_a_retry_asks_again(platform: Platform) -> None:
    execution_id, approval = asked(platform, "wine")
    platform.client.executions.cancel(execution_id)
    platform.client.executions.retry(execution_id)
    wait_until(lambda: platform.get(execution_id)["pending_approvals"] == 1, "the same question")
    questions = platform.client.approvals.list(execution_id=execution_id)["approvals"]
    assert [question["status"] for question in questions] == ["pending", "cancelled"]
    assert questions[1]["id"] == approval["id"]
    platform.client.approvals.approve(questions[0]["id"])
    assert platform.finish(execution_id)["status"] == "completed"


@pytest.mark.thorough
def test_answer_from_the_command_line(platform: Platform) -> None:
    execution_id, approval = asked(platform, "water")
    environment = {"OMIUM_API_KEY": platform.stack["api_key"], "OMIUM_BASE_URL": platform.stack["api_url"]}

    def omium(*arguments: str) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("omium")), *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    listed = omium("approvals", "list", "--status", "pending", "--execution-id", execution_id)
    assert [found["id"] for found in listed["approvals"]] == [approval["id"]]
    assert omium("approvals", "approve", approval["id"], "--comment", "go")["approval"]["status"] == "approved"
    platform.finish(execution_id)
    first = omium("checkpoints", "list", "--execution-id", execution_id)["checkpoints"][-1]
    planned = omium("checkpoints", "rollback", first["id"], "--dry-run")["plan"]
    assert [fallen["id"] for fallen in planned["approvals"]] == [approval["id"]]
    done = omium("checkpoints", "rollback", first["id"], "--edit", "values.draft=Ours", "--resume")
    assert done["rollback"]["edits"] == {"values": {"draft": "Ours"}}
    waiting = platform.wait_for_status(execution_id, ["paused"])
    assert (waiting["reason"], waiting["lineage"]) == ("approval", 1)
    assert omium("executions", "cancel", execution_id)["execution"]["status"] == "cancelled"


def test_votes_on_a_handoff(platform: Platform) -> None:
    execution_id = platform.start(HANDOFF, {"topic": "votes"})
    waiting = platform.wait_for_status(execution_id, ["paused"])
    assert waiting["reason"] == "consensus"
    log = platform.client.consensus.get(execution_id)
    assert (log["current_term"], log["leader"], log["total"]) == (1, "write", 1)
    assert log["leader_agent_id"] == waiting["agents"][0]["id"]
    entry = log["logs"][0]
    assert (entry["sender"], entry["receivers"], entry["status"]) == ("write", ["publish"], "open")
    steps = {agent["name"]: agent["id"] for agent in waiting["agents"]}
    assert (entry["sender_agent_id"], entry["receiver_agent_id"]) == (steps["write"], steps["publish"])
    assert [(ack["voter"], ack["agent_id"]) for ack in entry["acks"]] == [("publish", steps["publish"])]
    with pytest.raises(InvalidInput) as caught:
        platform.client.consensus.acknowledge(entry["id"], "mallory")
    assert [problem.path for problem in caught.value.problems] == ["agent_id"]
    vote = platform.http.post(f"/consensus/{entry['id']}/acknowledge", json={"voter": "ada", "accept": True})
    assert vote.status_code == 200, vote.text
    told = {name: vote.json()[name] for name in ("success", "total_acks", "acks_required", "consensus_reached")}
    assert told == {"success": True, "total_acks": 2, "acks_required": 3, "consensus_reached": False}
    stale = platform.client.consensus.acknowledge(entry["id"], "archive", payload_hash="0" * 64)
    assert (stale["success"], stale["total_acks"]) == (False, 2)
    last = platform.client.consensus.acknowledge(entry["id"], "archive", payload_hash=entry["payload_hash"])
    assert (last["success"], last["consensus_reached"]) == (True, True)
    assert platform.finish(execution_id)["status"] == "completed"
    again = platform.client.consensus.acknowledge(entry["id"], "ada")
    assert (again["success"], again["total_acks"]) == (True, 3)
    with pytest.raises(Conflict, match="committed"):
        platform.client.consensus.acknowledge(entry["id"], "ada", valid=False)
    closed = platform.client.consensus.get(execution_id)["logs"][0]
    assert (closed["status"], closed["consensus_reached"], len(closed["acks"])) == ("committed", True, 3)
