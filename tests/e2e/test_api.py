"""The API's resources: versions, lists, paging, checkpoints, health."""

from __future__ import annotations

import httpx

from tests.e2e.test_failures import ONE_CALL
from tests.support.platform import Platform, sample


def test_every_update_makes_a_version_and_runs_keep_theirs(platform: Platform) -> None:
    workflow_id = platform.register(ONE_CALL)
    old = platform.start(workflow_id, {"topic": "old"})
    definition = {**ONE_CALL["workflow_definition"]}
    definition["nodes"] = [{**definition["nodes"][0], "template": "NEW {{ topic }}"}, definition["nodes"][1]]
    updated = platform.http.put(f"/workflows/{workflow_id}", json={"workflow_definition": definition}).json()
    assert updated["version"] == 2
    new = platform.run(workflow_id, {"topic": "new"})
    assert new["workflow_version"] == 2
    assert new["outputs"]["prompt"] == "NEW new"
    finished = platform.finish(old)
    assert (finished["workflow_version"], finished["outputs"]["prompt"]) == (1, "about old")
    assert platform.http.get(f"/workflows/{workflow_id}", params={"version": 1}).json()["version"] == 1
    assert platform.http.patch(f"/workflows/{workflow_id}", json={"name": "renamed"}).json()["version"] == 3


def test_deleted_workflow_is_gone_but_its_runs_stay(platform: Platform) -> None:
    workflow_id = platform.register(ONE_CALL)
    execution_id = platform.start(workflow_id, {"topic": "x"})
    assert platform.http.delete(f"/workflows/{workflow_id}").status_code == 204
    assert platform.http.get(f"/workflows/{workflow_id}").status_code == 404
    assert platform.http.post(f"/workflows/{workflow_id}/execute", json={}).status_code == 404
    assert platform.finish(execution_id)["status"] == "completed"


def test_both_ways_of_paging(platform: Platform) -> None:
    workflow_id = platform.register(ONE_CALL)
    ids = [platform.start(workflow_id, {"topic": str(number)}) for number in range(5)]
    query = {"workflow_id": workflow_id, "limit": 2}
    found: list[str] = []
    cursor = None
    while True:
        page = platform.http.get("/executions", params={**query, **({"cursor": cursor} if cursor else {})}).json()
        found += [execution["id"] for execution in page["executions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ids[::-1]
    second = platform.http.get("/executions", params={"workflow_id": workflow_id, "page": 2, "per_page": 2}).json()
    assert [execution["id"] for execution in second["executions"]] == ids[::-1][2:4]
    assert (second["total"], second["page"], second["per_page"]) == (5, 2, 2)
    for execution_id in ids:
        platform.finish(execution_id)
    done = platform.http.get("/executions", params={**query, "status": "completed"}).json()
    assert done["total"] == 5
    assert platform.http.get("/executions", params={"status": "sleeping"}).status_code == 422


def test_checkpoints_hold_the_state_after_each_step(platform: Platform) -> None:
    execution = platform.run(ONE_CALL, {"topic": "states"})
    listed = platform.http.get("/checkpoints", params={"execution_id": execution["id"]}).json()
    assert [checkpoint["checkpoint_number"] for checkpoint in listed["checkpoints"]] == [2, 1]
    first = listed["checkpoints"][1]
    assert first["next_step"] == "ask"
    assert first["checksum"].startswith("sha256:")
    one = platform.http.get(f"/checkpoints/{first['id']}").json()
    assert one == first
    data = platform.http.get(f"/checkpoints/{first['id']}/data").json()
    assert data["state"]["values"]["prompt"] == "about states"
    assert "answer" not in data["state"]["values"] or not data["state"]["values"]["answer"]


def test_timeline(platform: Platform) -> None:
    execution = platform.run(ONE_CALL, {"topic": "events"})
    events = platform.http.get(f"/executions/{execution['id']}/events").json()["events"]
    kinds = [event["event_type"] for event in events]
    assert kinds == ["execution.started", "step.completed", "step.completed", "execution.completed"]


def test_large_inputs_and_outputs(platform: Platform) -> None:
    big = "x" * 1_000_000
    execution = platform.run(ONE_CALL, {"topic": big})
    assert execution["inputs"]["topic"] == big
    assert execution["outputs"]["prompt"] == f"about {big}"


def test_health_and_metrics(platform: Platform) -> None:
    url = platform.stack["api_url"]
    for prefix in ("", "/api/v1"):
        assert httpx.get(f"{url}{prefix}/health/live").status_code == 200
        assert httpx.get(f"{url}{prefix}/health/ready").json()["checks"] == {"database": "ok", "temporal": "ok"}
        assert "omium_http_requests_total" in httpx.get(f"{url}{prefix}/metrics").text


def test_definitions_have_a_published_schema(platform: Platform) -> None:
    from jsonschema import Draft202012Validator

    for framework, name in (("langgraph", "graph_review"), ("crewai", "crew_with_tool")):
        schema = platform.http.get(f"/frameworks/{framework}/schema").json()
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(sample(name)["workflow_definition"])
