"""What people do about failures: analysed, and each action by hand, on the real platform."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from omium.cli import build_app
from omium.errors import Conflict, InvalidInput
from typer.testing import CliRunner

from tests.e2e.test_policies import BOTH, CREW, GOOD, GRAPH, WRONG, actions_of, failures_of, ruled
from tests.support.platform import Platform


def failed(platform: Platform, workflow: dict[str, Any], topic: str = "hand") -> tuple[str, str]:
    """Ids of a run that failed because its promise was broken, and of its failure."""
    platform.model.set_script([{"reply": WRONG}])
    execution = platform.finish(platform.start(workflow, {"topic": topic}))
    assert execution["status"] == "failed", execution
    [failure] = failures_of(platform, execution["id"])
    return execution["id"], failure["id"]


def recover(
    platform: Platform, failure_id: str, action_type: str, *, key: str | None = None, **config: Any
) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"action_type": action_type, "action_config": config}
    answer = platform.http.post(f"/failures/{failure_id}/recover", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert set(told) == {"recovery_action", "execution", "message"}
    assert (told["recovery_action"]["status"], told["recovery_action"]["success"]) == ("completed", True)
    assert told["recovery_action"]["failure_id"] == failure_id
    return told


def refused(platform: Platform, failure_id: str, action_type: str, **config: Any) -> tuple[int, dict[str, Any]]:
    body = {"action_type": action_type, "action_config": config}
    answer = platform.http.post(f"/failures/{failure_id}/recover", json=body)
    return answer.status_code, answer.json()["error"]


def completed(platform: Platform, execution_id: str) -> dict[str, Any]:
    execution = platform.wait_for_status(execution_id, ["completed", "failed"])
    assert execution["status"] == "completed", execution
    assert {row["recovery_status"] for row in failures_of(platform, execution_id)} == {"resolved"}
    return execution


@BOTH
def test_suggestion_of_the_analysis_mends_the_run(platform: Platform, workflow: dict[str, Any]) -> None:
    execution_id, failure_id = failed(platform, workflow, "suggested")
    answer = platform.http.post(f"/failures/{failure_id}/analyze")
    assert answer.status_code == 200, answer.text
    failure, analysis = answer.json()["failure"], answer.json()["analysis"]
    assert "must hold" in analysis["root_cause"]
    assert analysis["evidence"]["conditions"][0]["condition"].endswith("contains('good')")
    assert (failure["root_cause"], failure["suggested_fix"]) == (analysis["root_cause"], analysis["suggested_fix"])
    assert platform.http.post(f"/failures/{failure_id}/analyze").json()["analysis"] == analysis, "the same again"
    assert not analysis.pop("payloads_hidden")
    assert not analysis["suggested_action"].pop("payloads_hidden")
    assert failure["metadata"]["analysis"] == analysis

    platform.model.set_script([{"when": {"any": "was refused"}, "reply": GOOD}, {"reply": WRONG}])
    assert analysis["suggested_action"]["action_type"] == "prompt_edit"
    told = recover(platform, failure_id, "prompt_edit", **analysis["suggested_action"]["action_config"])
    assert told["message"] == "Recovery action applied, execution retrying from checkpoint"
    completed(platform, execution_id)


@BOTH
def test_prompt_of_a_step_is_edited_by_the_steps_id(platform: Platform, workflow: dict[str, Any]) -> None:
    execution_id, failure_id = failed(platform, workflow, "by id")
    agent_id = platform.http.get(f"/failures/{failure_id}").json()["agent_id"]
    platform.model.set_script([{"when": {"any": "BETTER"}, "reply": GOOD}, {"reply": WRONG}])
    recover(platform, failure_id, "prompt_edit", agent_id=agent_id, new_prompt="A BETTER prompt.")
    execution = completed(platform, execution_id)
    assert execution["lineage"] == 1
    [action] = actions_of(platform, execution_id)
    assert (action["action_type"], action["trigger_type"]) == ("prompt_edit", "manual")
    assert action["action_config"] == {"agent_id": agent_id, "new_prompt": "A BETTER prompt."}


def test_prompt_is_edited_before_the_first_checkpoint(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, CREW, "at the start")
    assert platform.get(execution_id)["checkpoint_count"] == 0
    platform.model.set_script([{"when": {"any": "BETTER"}, "reply": GOOD}, {"reply": WRONG}])
    recover(platform, failure_id, "prompt_edit", prompts={"write": "A BETTER prompt."})
    completed(platform, execution_id)


@BOTH
def test_another_model_by_hand(platform: Platform, workflow: dict[str, Any]) -> None:
    execution_id, failure_id = failed(platform, workflow, "model")
    seen = len(platform.model.calls)
    platform.model.set_script([{"when": {"model": "other-model"}, "reply": GOOD}, {"reply": WRONG}])
    recover(platform, failure_id, "model_fallback", model="other-model")
    completed(platform, execution_id)
    assert [call.body["model"] for call in platform.model.calls[seen:]] == ["other-model"]


@BOTH
def test_retry_keeps_the_answers_and_a_redo_does_not(platform: Platform, workflow: dict[str, Any]) -> None:
    execution_id, failure_id = failed(platform, workflow, "retry")
    platform.model.set_script([{"reply": GOOD}])
    seen = len(platform.model.calls)
    recover(platform, failure_id, "retry")
    assert platform.finish(execution_id)["status"] == "failed"
    assert len(platform.model.calls) == seen, "the wrong answer was kept"
    [_, again] = failures_of(platform, execution_id)
    assert [row["recovery_status"] for row in failures_of(platform, execution_id)] == ["pending"] * 2
    recover(platform, again["id"], "retry", redo=True)
    execution = completed(platform, execution_id)
    assert len(platform.model.calls) == seen + 1
    assert execution["retry_count"] == 1
    assert [row["action_type"] for row in actions_of(platform, execution_id)] == ["retry", "retry"]


@pytest.mark.parametrize("to", [{}, {"number": 1}, {"name": "step_1_prepare"}, {"to": "start"}, {"steps_back": 1}])
def test_rollback_by_hand(platform: Platform, to: dict[str, Any]) -> None:
    execution_id, failure_id = failed(platform, GRAPH, f"rollback {sorted(to)}")
    platform.model.set_script([{"reply": GOOD}])
    recover(platform, failure_id, "rollback", **to)
    execution = completed(platform, execution_id)
    redone = [agent["name"] for agent in execution["agents"] if agent["lineage"] == 1]
    assert redone == (["prepare", "write"] if to in ({"to": "start"}, {"steps_back": 1}) else ["write"])


def test_rollback_that_waits(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "waits")
    [checkpoint] = platform.http.get("/checkpoints", params={"execution_id": execution_id}).json()["checkpoints"]
    told = recover(platform, failure_id, "rollback", checkpoint_id=checkpoint["id"], resume=False)
    assert told["execution"]["status"] == "rolled_back"
    assert "waiting" in told["message"]
    assert failures_of(platform, execution_id)[0]["recovery_status"] == "in_progress"
    platform.model.set_script([{"reply": GOOD}])
    assert platform.http.post(f"/executions/{execution_id}/resume").status_code == 200
    completed(platform, execution_id)


def test_running_run_is_handed_to_a_person(platform: Platform) -> None:
    wanted = ruled(GRAPH, {"type": "retry", "times": 2})
    platform.model.set_script([{"reply": WRONG, "times": 1}, {"gate": "second", "reply": GOOD}])
    execution_id = platform.start(wanted, {"topic": "person"})
    platform.model.wait_until_held()
    [failure] = failures_of(platform, execution_id)
    assert failure["recovery_status"] == "in_progress"
    told = recover(platform, failure["id"], "manual_intervention", note="Let me see.", assignee="ada")
    assert "a person takes over" in told["message"]
    platform.model.release("second")
    # the step in flight was the last one: whether it could still be stopped is a matter of moments
    platform.wait_for_status(execution_id, ["paused", "completed"])
    events = platform.http.get(f"/executions/{execution_id}/events").json()["events"]
    [event] = [event for event in events if event["event_type"] == "failure.escalated"]
    assert (event["data"]["assignee"], event["data"]["note"]) == ("ada", "Let me see.")


def test_escalated_and_resolved(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "escalated")
    told = recover(platform, failure_id, "escalate", assignee="ada", note="Odd.")
    assert told["execution"]["status"] == "failed"

    def listed(status: str) -> list[str]:
        found = platform.http.get("/failures", params={"execution_id": execution_id, "status": status}).json()
        assert found["pagination"] == {"total": found["total"], "limit": 20, "offset": 0}
        return [row["id"] for row in found["failures"]]

    assert listed("escalated") == listed("unresolved") == [failure_id]
    assert listed("pending") == listed("resolved") == []
    answer = platform.http.post(f"/failures/{failure_id}/resolve", json={"note": "Was a typo."})
    assert answer.json()["failure"]["recovery_status"] == "resolved"
    assert listed("resolved") == [failure_id]
    assert listed("unresolved") == []
    status, error = refused(platform, failure_id, "escalate")
    assert (status, error["code"]) == (409, "CONFLICT")


def test_same_key_is_one_action(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "key")
    platform.model.set_script([{"reply": GOOD}])
    key = f"recover {execution_id}"
    first = recover(platform, failure_id, "retry", key=key, redo=True)
    completed(platform, execution_id)
    second = recover(platform, failure_id, "retry", key=key, redo=True)
    assert second["recovery_action"] == first["recovery_action"]
    assert len(actions_of(platform, execution_id)) == 1
    assert platform.get(execution_id)["lineage"] == 1
    other = {"action_type": "escalate", "action_config": {}}
    answer = platform.http.post(f"/failures/{failure_id}/recover", json=other, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")


def test_same_key_at_the_same_time_is_one_action(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "at once")
    platform.model.set_script([{"reply": GOOD}])
    body = {"action_type": "retry", "action_config": {"redo": True}}
    headers = {"Idempotency-Key": f"at once {execution_id}"}

    def ask(_: int) -> httpx.Response:
        return platform.http.post(f"/failures/{failure_id}/recover", json=body, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
    assert len({answer.json()["recovery_action"]["id"] for answer in answers}) == 1
    assert completed(platform, execution_id)["lineage"] == 1
    [action] = actions_of(platform, execution_id)
    assert (action["status"], action["success"]) == ("completed", True)


def test_what_cannot_be_done_is_refused(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "refused")
    for action_type, config, status, path in (
        ("retry", {"redo": 1}, 422, "action_config.redo"),
        ("prompt_edit", {"prompts": {"nobody": "x"}}, 422, "action_config.prompts.nobody"),
        ("prompt_edit", {"agent": "nobody", "new_prompt": "x", "append": True}, 422, "action_config.prompts.nobody"),
        ("model_fallback", {"models": {"nobody": "x"}}, 422, "action_config.models.nobody"),
        ("nothing", {}, 422, "action_type"),
    ):
        answered, error = refused(platform, failure_id, action_type, **config)
        assert (answered, error["details"]["errors"][0]["path"]) == (status, path)
    assert refused(platform, failure_id, "rollback", number=77)[1]["code"] == "CHECKPOINT_NOT_FOUND"
    unknown = refused(platform, failure_id, "prompt_edit", agent_id=failure_id, new_prompt="x")
    assert unknown[1]["code"] == "AGENT_NOT_FOUND"
    assert failures_of(platform, execution_id)[0]["recovery_status"] == "pending"

    platform.model.set_script([{"reply": GOOD}])
    recover(platform, failure_id, "retry", redo=True)
    completed(platform, execution_id)
    assert refused(platform, failure_id, "retry")[1]["code"] == "EXECUTION_CANNOT_RETRY"
    assert failures_of(platform, execution_id)[0]["recovery_status"] == "resolved"


def test_waiting_run_goes_on_when_the_cause_is_gone(platform: Platform) -> None:
    definition = {key: value for key, value in GRAPH["workflow_definition"].items() if key != "checkpoints"}
    policies = {"max_retries": 0, "recovery": {"on_failure": "escalate"}}
    wanted = {**GRAPH, "workflow_definition": {**definition, "policies": policies}}
    platform.model.set_script([{"reply": {"error": {"status": 503}}, "times": 1}, {"reply": GOOD}])
    execution_id = platform.start(wanted, {"topic": "gone"})
    assert platform.wait_for_status(execution_id, ["paused", "failed"])["reason"] == "recovery"
    [failure] = failures_of(platform, execution_id)
    assert failure["recovery_status"] == "escalated"
    recover(platform, failure["id"], "retry")
    assert completed(platform, execution_id)["lineage"] == 0
    assert [row["trigger_type"] for row in actions_of(platform, execution_id)] == ["policy", "manual"]


def test_cause_in_a_users_code_is_found(platform: Platform) -> None:
    workflow = {"name": "broken", "framework": "langgraph", "workflow_definition": {"entrypoint": "user_graphs:broken"}}
    execution = platform.finish(platform.start(workflow, {"topic": "x"}))
    [failure] = failures_of(platform, execution["id"])
    analysis = platform.http.post(f"/failures/{failure['id']}/analyze").json()["analysis"]
    assert analysis["evidence"]["frame"]["file"].endswith("user_graphs.py")
    assert "no such thing" in analysis["root_cause"]
    assert "user_graphs.py, line" in analysis["suggested_fix"]
    assert analysis["suggested_action"]["action_type"] == "retry"


def omium(platform: Platform, *arguments: str, stdin: str | None = None) -> str:
    env = {"OMIUM_API_KEY": platform.stack["api_key"], "OMIUM_BASE_URL": platform.stack["api_url"]}
    result = CliRunner().invoke(build_app(), arguments, env=env, input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_over_the_command_line(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, CREW, "command line")
    assert failure_id in omium(
        platform, "failures", "list", "--execution-id", execution_id, "--type", "validation_error"
    )
    assert "must hold" in omium(platform, "failures", "analyze", failure_id)
    assert json.loads(omium(platform, "failures", "get", failure_id, "--json"))["id"] == failure_id
    platform.model.set_script([{"when": {"any": "was refused"}, "reply": GOOD}, {"reply": WRONG}])
    assert "prompt_edit" in omium(platform, "failures", "recover", failure_id, "--suggested")
    completed(platform, execution_id)
    assert "completed" in omium(platform, "failures", "actions", "--execution-id", execution_id)
    _, other = failed(platform, CREW, "resolved elsewhere")
    assert "resolved" in omium(platform, "failures", "resolve", other, "--note", "Done.")


@pytest.mark.thorough
def test_policies_over_the_command_line(platform: Platform) -> None:
    policy = json.dumps({"name": "patient", "policy_type": "retry", "policy_config": {"max_retries": 1}})
    workflow_id = platform.register(GRAPH)
    created = omium(platform, "policies", "create", "--file", "-", "--workflow-id", workflow_id, "--json", stdin=policy)
    policy_id = json.loads(created)["id"]
    assert policy_id in omium(platform, "policies", "list", "--workflow-id", workflow_id, "--active")
    settings = json.dumps({"max_retries": 4})
    assert '"max_retries": 4' in omium(platform, "policies", "update", policy_id, "--file", "-", stdin=settings)
    again = omium(platform, "policies", "get", policy_id, "--json")
    assert (
        json.loads(omium(platform, "policies", "update", policy_id, "--file", "-", "--json", stdin=again))["version"]
        == 3
    )
    assert omium(platform, "policies", "versions", policy_id).count("patient") == 3
    assert "is deleted" in omium(platform, "policies", "delete", policy_id)


def test_over_the_sdk(platform: Platform) -> None:
    execution_id, failure_id = failed(platform, GRAPH, "sdk")
    client = platform.client
    assert client.failures.list(execution_id=execution_id, severity="high")["failures"][0]["id"] == failure_id
    suggested = client.failures.analyze(failure_id)["analysis"]["suggested_action"]
    platform.model.set_script([{"when": {"any": "was refused"}, "reply": GOOD}, {"reply": WRONG}])
    done = client.failures.recover(failure_id, suggested["action_type"], suggested["action_config"])
    assert done["recovery_action"]["success"] is True
    completed(platform, execution_id)
    assert client.failures.actions(failure_id=failure_id)["total"] == 1
    with pytest.raises(Conflict):
        client.failures.recover(failure_id, "retry")
    with pytest.raises(InvalidInput) as refusal:
        client.policies.create("p", "retry", {"max_retries": -1})
    assert refusal.value.problems[0][0] == "policy_config.max_retries"
    assert "recovery" in client.policies.schemas()


def test_prompt_of_an_earlier_step_is_edited_before_that_step(platform: Platform) -> None:
    """What failed was fed by another step: that one is done again, and what comes after it."""
    definition = {
        "nodes": [
            {"id": "draft", "type": "llm", "prompt": "Draft {{ topic }}", "output": "text"},
            {"id": "copy", "type": "template", "template": "copy of {{ text }}", "output": "page"},
            {"id": "check", "type": "template", "template": "{{ page }}", "output": "page"},
        ],
        "edges": [
            {"from": "START", "to": "draft"},
            {"from": "draft", "to": "copy"},
            {"from": "copy", "to": "check"},
            {"from": "check", "to": "END"},
        ],
        "state": {name: {"type": "string"} for name in ("topic", "text", "page")},
        "checkpoints": [{"step": "check", "postconditions": ["page.contains('blue')"]}],
    }
    platform.model.set_script(
        [{"when": {"any": "Draft in blue"}, "reply": {"content": "blue"}}, {"reply": {"content": "red"}}]
    )
    workflow = {"name": "fed", "framework": "langgraph", "workflow_definition": definition}
    execution = platform.finish(platform.start(workflow, {"topic": "ink"}))
    assert execution["status"] == "failed", execution
    [failure] = failures_of(platform, execution["id"])
    recover(platform, failure["id"], "prompt_edit", agent="draft", new_prompt="Draft in blue {{ topic }}")
    assert completed(platform, execution["id"])["outputs"]["page"] == "copy of blue"
