"""Steering runs over REST and the SDK, on the real platform: pause, resume, cancel, roll back, fork, retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from omium import Conflict, InvalidInput, NotFound

from tests.support.platform import Platform

STEPS = ("plan", "write", "check")
CHAIN: dict[str, Any] = {
    "name": "chain",
    "framework": "langgraph",
    "input_schema": {"properties": {"topic": {"type": "string", "maxLength": 40}}, "additionalProperties": False},
    "workflow_definition": {
        "nodes": [
            {"id": name, "type": "llm", "prompt": f"{name} on {{{{ topic }}}}", "output": f"{name}_out"}
            for name in STEPS
        ],
        "edges": [
            {"from": a, "to": b}
            for a, b in (("START", "plan"), ("plan", "write"), ("write", "check"), ("check", "END"))
        ],
        "state": {name: {"type": "string"} for name in ("topic", *(f"{step}_out" for step in STEPS))},
    },
}


@contextmanager
def held_at(platform: Platform, topic: str, step: str = "write") -> Iterator[str]:
    """A run whose step waits for its model; the answer comes when the block ends."""
    platform.model.set_script([{"when": {"any": f"{step} on {topic}"}, "gate": topic, "times": 1}])
    execution_id = platform.start(CHAIN, {"topic": topic})
    platform.model.wait_until_held(1)
    try:
        yield execution_id
    finally:
        platform.model.release(topic)


def checkpoints(platform: Platform, execution_id: str, **filters: Any) -> list[dict[str, Any]]:
    """The oldest first."""
    found = platform.http.get("/checkpoints", params={"execution_id": execution_id, **filters}).json()
    return list(reversed(found["checkpoints"]))


def asked(platform: Platform, text: str) -> int:
    return sum(text in str(call.body) for call in platform.model.calls)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    return error


def test_a_pause_lets_the_step_end_and_a_resume_goes_on(platform: Platform) -> None:
    with held_at(platform, "soft") as execution_id:
        answer = platform.http.post(f"/executions/{execution_id}/pause", json={"reason": "let me look"})
        assert answer.status_code == 202, answer.text
        told = answer.json()
        assert (told["pause_requested"], told["execution"]["status"]) == (True, "running")
        refused(platform.http.post(f"/executions/{execution_id}/pause"), 409, "EXECUTION_CANNOT_PAUSE")
    paused = platform.wait_for_status(execution_id, ["paused"])
    assert (paused["reason"], paused["current_checkpoint"]) == ("operator", "step_2_write")
    assert paused["paused_at"] is not None
    assert [agent["status"] for agent in paused["agents"]] == ["completed", "completed", "waiting"]
    resumed = platform.http.post(f"/executions/{execution_id}/resume")
    assert resumed.status_code == 200
    assert resumed.json()["message"] == "Execution resumed from checkpoint: step_2_write"
    assert resumed.json()["execution"]["status"] == "running"
    assert resumed.json()["execution"]["resumed_at"] is not None
    assert platform.finish(execution_id)["status"] == "completed"
    assert [asked(platform, f"{step} on soft") for step in STEPS] == [1, 1, 1]


def test_a_hard_pause_stands_still_at_once(platform: Platform) -> None:
    with held_at(platform, "hard") as execution_id:
        answer = platform.http.post(f"/executions/{execution_id}/pause", json={"mode": "hard"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["message"] == "Execution paused successfully"
        assert answer.json()["execution"]["status"] == "paused"
        assert answer.json()["execution"]["paused_at"] is not None
        refused(platform.http.post(f"/executions/{execution_id}/retry"), 409, "EXECUTION_CANNOT_RETRY")
    platform.client.executions.resume(execution_id)
    assert platform.finish(execution_id)["status"] == "completed"
    # the call that was under way was answered and journaled, although its step was cancelled
    assert asked(platform, "write on hard") == 1


def test_a_pause_that_takes_too_long_is_made_a_hard_one(platform: Platform) -> None:
    with held_at(platform, "harder") as execution_id:
        assert platform.http.post(f"/executions/{execution_id}/pause").status_code == 202
        answer = platform.http.post(f"/executions/{execution_id}/pause", json={"mode": "hard"})
        assert (answer.status_code, answer.json()["execution"]["status"]) == (200, "paused")
        again = platform.http.post(f"/executions/{execution_id}/pause", json={"mode": "hard"})
        refused(again, 409, "EXECUTION_CANNOT_PAUSE")
    platform.client.executions.resume(execution_id)
    assert platform.finish(execution_id)["status"] == "completed"


def test_cancel_ends_now_and_the_same_key_says_the_same(platform: Platform) -> None:
    with held_at(platform, "stop") as execution_id:
        keyed = {"Idempotency-Key": f"stop {execution_id}"}
        first = platform.http.post(f"/executions/{execution_id}/cancel", json={"reason": "enough"}, headers=keyed)
        assert first.status_code == 200, first.text
        assert first.json()["message"] == "Execution cancelled successfully"
        assert first.json()["execution"]["status"] == "cancelled"
        assert first.json()["execution"]["cancelled_at"] is not None
        again = platform.http.post(f"/executions/{execution_id}/cancel", json={"reason": "enough"}, headers=keyed)
        assert (again.status_code, again.json()["execution"]["status"]) == (200, "cancelled")
        other = platform.http.post(f"/executions/{execution_id}/cancel", json={"reason": "else"}, headers=keyed)
        refused(other, 409, "IDEMPOTENCY_CONFLICT")
        refused(platform.http.post(f"/executions/{execution_id}/cancel"), 409, "EXECUTION_CANNOT_CANCEL")
    assert platform.client.executions.retry(execution_id)["execution"]["retry_count"] == 1
    assert platform.finish(execution_id)["status"] == "completed"


def test_what_has_ended_does_not_listen(platform: Platform) -> None:
    execution_id = platform.run(CHAIN, {"topic": "ended"})["id"]
    for action in ("pause", "resume", "cancel"):
        error = refused(
            platform.http.post(f"/executions/{execution_id}/{action}"), 409, f"EXECUTION_CANNOT_{action.upper()}"
        )
        assert error["details"]["status"] == "completed"
        with pytest.raises(Conflict, match="completed"):
            getattr(platform.client.executions, action)(execution_id)
    refused(platform.http.post(f"/executions/{execution_id}/retry"), 409, "EXECUTION_CANNOT_RETRY")


@pytest.mark.parametrize("state", ["running", "paused", "completed", "cancelled"])
def test_rollback_from_every_state_with_an_edited_prompt(platform: Platform, state: str) -> None:
    with held_at(platform, state, "check") as execution_id:
        if state == "paused":
            platform.client.executions.pause(execution_id, mode="hard")
        elif state == "cancelled":
            platform.client.executions.cancel(execution_id)
        elif state == "completed":
            platform.model.release(state)
            platform.finish(execution_id)
        first = checkpoints(platform, execution_id)[0]
        answer = platform.http.post(
            f"/checkpoints/{first['id']}/rollback",
            json={"reason": "bad draft", "edits": {"prompts": {"write": "REWRITE {{ topic }}"}}},
        )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["message"] == "Rollback completed successfully"
    assert told["execution"]["status"] == "rolled_back"
    assert told["execution"]["current_checkpoint"] == "step_1_plan"
    assert (told["rollback"]["to_checkpoint_id"], told["rollback"]["status"]) == (first["id"], "completed")
    assert told["rollback"]["edits"] == {"prompts": {"write": "REWRITE {{ topic }}"}}
    assert told["rollback"]["trigger_reason"] == "bad draft"
    waiting = platform.get(execution_id)
    assert (waiting["status"], waiting["lineage"]) == ("rolled_back", 1)
    platform.client.executions.resume(execution_id)
    done = platform.finish(execution_id) if platform.get(execution_id)["status"] != "rolled_back" else {}
    assert done.get("status") == "completed"
    assert [(agent["name"], agent["lineage"]) for agent in done["agents"]] == [("plan", 0), ("write", 1), ("check", 1)]
    # what came before the checkpoint is not done again, what came after it is
    assert asked(platform, f"plan on {state}") == 1
    assert asked(platform, f"REWRITE {state}") == 1


def test_the_history_of_rollbacks_is_a_tree(platform: Platform) -> None:
    execution_id = platform.run(CHAIN, {"topic": "tree"})["id"]
    first, second, _ = checkpoints(platform, execution_id)
    restored = platform.client.executions.restore_from_checkpoint(second["id"], reason="once more")
    assert restored["lineage"] == 1
    platform.finish(execution_id)
    platform.client.checkpoints.rollback(first["id"], resume=True)
    platform.finish(execution_id)
    fork = platform.client.executions.fork(execution_id, first["id"])["execution"]
    history = platform.client.executions.lineage(execution_id)
    assert history["current_lineage"] == 2
    assert history["tree"] == {
        "lineage": 0,
        "current": False,
        "children": [
            {"lineage": 1, "current": False, "children": []},
            {"lineage": 2, "current": True, "children": []},
        ],
    }
    old, left, present = history["lineages"]
    assert [step["name"] for step in old["steps"]] == list(STEPS)
    assert [step["name"] for step in left["steps"]] == ["check"]
    assert [step["status"] for step in left["steps"]] == ["rolled_back"]
    assert (left["reason"], left["checkpoint_name"], left["parent_lineage"]) == ("once more", "step_2_write", 0)
    assert [step["name"] for step in present["steps"]] == ["write", "check"]
    assert [found["execution_id"] for found in old["forks"]] == [fork["id"]]
    listed = platform.http.get(f"/executions/{execution_id}/rollbacks").json()
    assert [row["to_lineage"] for row in listed["rollbacks"]] == [2, 1]
    assert listed["total"] == 2
    # the base of a lineage repeats another state, and is only shown to who asks
    assert {row["kind"] for row in checkpoints(platform, execution_id)} == {"step"}
    assert [row["lineage"] for row in checkpoints(platform, execution_id, kind="base")] == [1, 2]
    assert [row["checkpoint_number"] for row in checkpoints(platform, execution_id, lineage=2)] == [2, 3]


def test_a_dry_run_tells_and_changes_nothing(platform: Platform) -> None:
    execution_id = platform.run(CHAIN, {"topic": "dry"})["id"]
    first = checkpoints(platform, execution_id)[0]
    before, calls = platform.get(execution_id), len(platform.model.calls)
    planned = platform.client.checkpoints.plan_rollback(first["id"], edits={"models": {"*": "other"}})
    assert planned["dry_run"] is True
    assert [step["name"] for step in planned["plan"]["steps"]] == ["write", "check"]
    assert planned["plan"]["spent"]["model_calls"] == 2
    assert planned["plan"]["blocked"] is False
    after = platform.get(execution_id)
    assert after == before
    assert len(platform.model.calls) == calls
    assert platform.http.get(f"/executions/{execution_id}/rollbacks").json()["total"] == 0


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"prompts": {"nobody": "x"}}, "edits.prompts.nobody"),
        ({"prompts": {"write": 3}}, "edits.prompts.write"),
        ({"values": {"no_such_field": 1}}, "edits.values.no_such_field"),
        ({"prmpts": {}}, "edits.prmpts"),
        ({"values": {"topic": "a\x00b"}}, "edits.values.topic"),
        ({"inputs": {"topic": "x" * 41}}, "edits.inputs.topic"),
        ({"inputs": {"colour": "red"}}, "edits.inputs.colour"),
        ([], "edits"),
    ],
)
def test_edits_that_do_not_fit_are_named(platform: Platform, edits: Any, path: str, dry_run: bool) -> None:
    execution_id = platform.run(CHAIN, {"topic": "edits"})["id"]
    first = checkpoints(platform, execution_id)[0]
    body = {"edits": edits, "dry_run": dry_run}
    error = refused(platform.http.post(f"/checkpoints/{first['id']}/rollback", json=body), 422, "INVALID_INPUT")
    assert [problem["path"] for problem in error["details"]["errors"]] == [path]
    if not dry_run:
        body = {"checkpoint_id": first["id"], "edits": edits}
        error = refused(platform.http.post(f"/executions/{execution_id}/fork", json=body), 422, "INVALID_INPUT")
        assert [problem["path"] for problem in error["details"]["errors"]] == [path]
    assert platform.get(execution_id)["status"] == "completed"


def test_a_fork_leaves_the_original_untouched(platform: Platform) -> None:
    original = platform.run(CHAIN, {"topic": "trunk"})
    first = checkpoints(platform, original["id"])[0]
    keyed = {"Idempotency-Key": f"fork {original['id']}"}
    body = {"checkpoint_id": first["id"], "inputs": {"topic": "twig"}, "metadata": {"why": "curious"}}
    answers = [platform.http.post(f"/executions/{original['id']}/fork", json=body, headers=keyed) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    ids = {answer.json()["execution"]["id"] for answer in answers}
    assert len(ids) == 1
    fork = platform.finish(ids.pop())
    assert (fork["status"], fork["outputs"]["topic"]) == ("completed", "twig")
    assert (fork["forked_from"], fork["forked_from_checkpoint"]) == (original["id"], first["id"])
    assert fork["metadata"] == {"why": "curious"}
    assert [asked(platform, f"{step} on twig") for step in STEPS] == [0, 1, 1]
    assert platform.get(original["id"]) == original
    other = {**body, "inputs": {"topic": "other"}}
    answer = platform.http.post(f"/executions/{original['id']}/fork", json=other, headers=keyed)
    refused(answer, 409, "IDEMPOTENCY_CONFLICT")
    stranger = platform.run(CHAIN, {"topic": "stranger"})
    answer = platform.http.post(f"/executions/{stranger['id']}/fork", json=body)
    refused(answer, 404, "CHECKPOINT_NOT_FOUND")


def test_a_fork_takes_no_inputs_that_a_start_would_not_take(platform: Platform) -> None:
    execution_id = platform.run(CHAIN, {"topic": "inputs of a fork"})["id"]
    body = {"checkpoint_id": checkpoints(platform, execution_id)[0]["id"], "inputs": {"topic": "x" * 41}}
    error = refused(platform.http.post(f"/executions/{execution_id}/fork", json=body), 422, "INVALID_INPUT")
    assert [problem["path"] for problem in error["details"]["errors"]] == ["inputs.topic"]


def test_a_name_for_the_present_state(platform: Platform) -> None:
    with held_at(platform, "named") as execution_id:
        named = platform.client.checkpoints.create(execution_id, "before the draft", metadata={"by": "ada"})
        checkpoint = named["checkpoint"]
        assert (checkpoint["kind"], checkpoint["checkpoint_number"], checkpoint["next_step"]) == ("named", 1, "write")
        stands_on = checkpoints(platform, execution_id, kind="step")[0]
        assert checkpoint["checksum"] == stands_on["checksum"]
        answer = platform.http.delete(f"/checkpoints/{stands_on['id']}")
        refused(answer, 409, "CHECKPOINT_IN_USE")
    platform.finish(execution_id)
    with pytest.raises(Conflict, match="already"):
        platform.client.checkpoints.create(execution_id, "before the draft")
    restored = platform.client.executions.restore_from_checkpoint(checkpoint["id"])
    assert restored["lineage"] == 1
    assert platform.finish(execution_id)["status"] == "completed"
    platform.client.checkpoints.delete(checkpoint["id"])
    for path in (f"/checkpoints/{checkpoint['id']}", f"/checkpoints/{checkpoint['id']}/data"):
        refused(platform.http.get(path), 404, "CHECKPOINT_NOT_FOUND")
    with pytest.raises(NotFound):
        platform.client.checkpoints.rollback(checkpoint["id"])
    assert checkpoint["id"] not in [row["id"] for row in checkpoints(platform, execution_id)]


def test_a_state_of_an_operators_own(platform: Platform) -> None:
    execution_id = platform.run(CHAIN, {"topic": "own"})["id"]
    first = checkpoints(platform, execution_id)[1]
    state = platform.client.checkpoints.get_data(first["id"], raw=True)["state"]
    state["values"]["plan_out"] = "my own plan"
    made = platform.client.checkpoints.create(execution_id, "mine", state=state)["checkpoint"]
    shown = platform.client.checkpoints.get_data(made["id"])["state"]
    assert shown["values"]["plan_out"] == "my own plan"
    with pytest.raises(InvalidInput) as caught:
        platform.client.checkpoints.create(execution_id, "not mine", state={"customer": {"id": 1}})
    assert [problem.path for problem in caught.value.problems] == ["state"]


def test_a_run_without_a_checkpoint_has_no_state_to_name(platform: Platform) -> None:
    with held_at(platform, "early", "plan") as execution_id:
        answer = platform.http.post("/checkpoints", json={"execution_id": execution_id, "checkpoint_name": "too early"})
        refused(answer, 409, "CHECKPOINT_CREATION_FAILED")
    platform.finish(execution_id)


def test_a_command_waits_for_a_worker(platform: Platform) -> None:
    """No worker answers: 202, and the command has its effect once when one does."""
    with held_at(platform, "frozen") as execution_id:
        worker = psutil.Process(platform.stack.pids["worker"])
        worker.suspend()
        try:
            answer = platform.http.post(f"/executions/{execution_id}/pause")
        finally:
            worker.resume()
        assert answer.status_code == 202, answer.text
        assert (answer.json()["pause_requested"], answer.json()["execution"]["status"]) == (True, "running")
        assert 4 < answer.elapsed.total_seconds() < 60
    paused = platform.wait_for_status(execution_id, ["paused"])
    assert paused["reason"] == "operator"
    platform.client.executions.resume(execution_id)
    assert platform.finish(execution_id)["status"] == "completed"


def acting(tool: str) -> dict[str, Any]:
    """A step that prepares, and one whose tool changes the world."""
    return {
        "name": f"acts with {tool}",
        "framework": "langgraph",
        "workflow_definition": {
            "nodes": [
                {"id": "think", "type": "template", "template": "for {{ name }}", "output": "text"},
                {
                    "id": "act",
                    "type": "tool",
                    "tool": tool,
                    "args": {"text": "{{ text }}", "folder": "{{ folder }}"},
                    "output": "done",
                },
            ],
            "edges": [{"from": "START", "to": "think"}, {"from": "think", "to": "act"}, {"from": "act", "to": "END"}],
            "state": {**{name: {"type": "string"} for name in ("name", "folder", "text")}, "done": {"type": "object"}},
        },
    }


def test_a_rollback_undoes_what_tools_did(platform: Platform, tmp_path: Path) -> None:
    execution_id = platform.run(acting("reserve_seat"), {"name": "ada", "folder": str(tmp_path)})["id"]
    first = checkpoints(platform, execution_id)[0]
    effects = platform.http.get(f"/executions/{execution_id}/effects").json()["effects"]
    assert [(effect["tool"], effect["inverse"], effect["status"]) for effect in effects] == [
        ("reserve_seat", "release_seat", "done")
    ]
    planned = platform.client.checkpoints.plan_rollback(first["id"])["plan"]
    assert (planned["blocked"], [effect["id"] for effect in planned["undo"]]) == (False, [effects[0]["id"]])
    platform.client.checkpoints.rollback(first["id"])
    assert (tmp_path / "seats.txt").read_text().splitlines() == ["reserved for ada", "released for ada"]
    undone = platform.http.get(f"/executions/{execution_id}/effects", params={"status": "undone"}).json()
    assert undone["total"] == 1


def test_what_cannot_be_undone_blocks_until_somebody_agrees(platform: Platform, tmp_path: Path) -> None:
    execution_id = platform.run(acting("send_letter"), {"name": "ada", "folder": str(tmp_path)})["id"]
    first = checkpoints(platform, execution_id)[0]
    planned = platform.client.checkpoints.plan_rollback(first["id"])["plan"]
    assert (planned["blocked"], [effect["tool"] for effect in planned["irreversible"]]) == (True, ["send_letter"])
    error = refused(platform.http.post(f"/checkpoints/{first['id']}/rollback", json={}), 409, "ROLLBACK_BLOCKED")
    assert error["details"]["plan"] == planned
    assert platform.get(execution_id)["status"] == "completed"
    done = platform.http.post(f"/checkpoints/{first['id']}/rollback", json={"force": True, "resume": True})
    assert done.status_code == 200, done.text
    assert platform.finish(execution_id)["status"] == "completed"
    kept = platform.http.get(f"/executions/{execution_id}/effects", params={"status": "kept"}).json()
    assert kept["total"] == 1
    assert (tmp_path / "letters.txt").read_text().splitlines() == ["for ada", "for ada"]
