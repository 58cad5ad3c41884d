"""`/policies` over HTTP: what is kept, what is refused and where, versions, pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from models.database import Database
from models.tables.base import new_id
from tests.support.tenants import add_execution, add_tenant

RETRY: dict[str, Any] = {"name": "patient", "policy_type": "retry", "policy_config": {"max_retries": 2}}


async def make(http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await http.post("/api/v1/policies", json={**RETRY, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_policy_is_kept_as_it_was_sent(http: httpx.AsyncClient) -> None:
    made = await make(http, description="Twice.")
    assert (await http.get(f"/api/v1/policies/{made['id']}")).json() == made
    assert made == {
        **RETRY,
        "description": "Twice.",
        "workflow_id": None,
        "is_active": True,
        "version": 1,
        **{name: made[name] for name in ("id", "created_at", "updated_at")},
    }


async def test_each_change_is_a_version_and_the_old_ones_stay(http: httpx.AsyncClient) -> None:
    made = await make(http, description="Twice.")
    path = f"/api/v1/policies/{made['id']}"
    changed = (await http.patch(path, json={"policy_config": {"max_retries": 5}})).json()
    assert (changed["version"], changed["name"], changed["description"]) == (2, "patient", "Twice.")
    whole = {**RETRY, "name": "off", "is_active": False, "description": None}
    assert (await http.put(path, json=whole)).json()["version"] == 3
    found = (await http.get(f"{path}/versions")).json()
    assert found["total"] == 3
    told = [(row["version"], row["name"], row["policy_config"]["max_retries"]) for row in found["versions"]]
    assert told == [(3, "off", 2), (2, "patient", 5), (1, "patient", 2)]
    assert [row["is_active"] for row in found["versions"]] == [False, True, True]
    page = (await http.get(f"{path}/versions", params={"page": 2, "per_page": 2})).json()
    assert ([row["version"] for row in page["versions"]], page["total"]) == ([1], 3)


async def test_deleted_policy_is_gone(http: httpx.AsyncClient) -> None:
    path = f"/api/v1/policies/{(await make(http))['id']}"
    assert (await http.delete(path)).status_code == 204
    for answer in (await http.get(path), await http.delete(path), await http.get(f"{path}/versions")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "POLICY_NOT_FOUND")
    assert (await http.get("/api/v1/policies")).json()["total"] == 0


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"policy_type": "retries"}, "policy_type"),
        ({"policy_config": {}}, "policy_config.max_retries"),
        ({"policy_config": []}, "policy_config"),
        ({"policy_config": {"max_retries": "3"}}, "policy_config.max_retries"),
        ({"policy_config": {"max_retries": 1, "maxRetries": 1}}, "policy_config.maxRetries"),
        (
            {"policy_type": "recovery", "policy_config": {"rules": [{"actions": ["retry", {"type": "prompt_edit"}]}]}},
            "policy_config.rules[0].actions[1].prompts",
        ),
        ({"policy_type": "recovery", "policy_config": {"on_failure": "a\x00b"}}, "policy_config.on_failure"),
        ({"name": ""}, "name"),
        ({"owner": "me"}, "owner"),
    ],
)
async def test_what_is_wrong_is_told_with_its_path(http: httpx.AsyncClient, changes: dict[str, Any], path: str) -> None:
    answer = await http.post("/api/v1/policies", json={**RETRY, **changes})
    assert answer.status_code == 422, answer.text
    assert [problem["path"] for problem in answer.json()["error"]["details"]["errors"]] == [path]


async def test_update_is_judged_like_a_new_one(http: httpx.AsyncClient) -> None:
    path = f"/api/v1/policies/{(await make(http))['id']}"
    wrong = await http.patch(path, json={"policy_config": {"max_retries": -1}})
    assert wrong.json()["error"]["details"]["errors"][0]["path"] == "policy_config.max_retries"
    other = await http.put(path, json={"policy_type": "timeout", "policy_config": {"timeout_seconds": 1}})
    assert (other.status_code, other.json()["error"]["details"]["errors"][0]["path"]) == (422, "policy_type")
    assert (await http.get(path)).json()["version"] == 1


async def test_workflow_must_be_there(http: httpx.AsyncClient, database: Database) -> None:
    theirs = await add_execution(database, await add_tenant(database))
    made = await make(http)
    for workflow in (str(new_id()), str(theirs.workflow)):
        for answer in (
            await http.post("/api/v1/policies", json={**RETRY, "workflow_id": workflow}),
            await http.patch(f"/api/v1/policies/{made['id']}", json={"workflow_id": workflow}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "WORKFLOW_NOT_FOUND")


async def test_list_is_filtered_and_paged(http: httpx.AsyncClient, database: Database) -> None:
    tenant = await http.post("/api/v1/policies", json=RETRY)
    assert tenant.status_code == 201
    timeout = await make(http, name="t", policy_type="timeout", policy_config={"timeout_ms": 5}, is_active=False)

    async def ids(**filters: Any) -> list[str]:
        found = (await http.get("/api/v1/policies", params=filters)).json()
        return [row["id"] for row in found["policies"]]

    first = tenant.json()["id"]
    assert await ids() == [timeout["id"], first]
    assert await ids(policy_type="retry") == [first]
    assert await ids(is_active=False) == [timeout["id"]]
    assert await ids(workflow_id=str(new_id())) == []
    assert await ids(limit=1, cursor=timeout["id"]) == await ids(page=2, per_page=1) == [first]
    wrong = await http.get("/api/v1/policies", params={"policy_type": "retries"})
    assert wrong.status_code == 422


async def test_schemas_describe_every_type(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/api/v1/policies/schemas")).json()
    assert {"timeout", "retry", "recovery", "rollback", "notification", "definition", "agent", "action"} <= set(schemas)
    assert schemas["retry"]["required"] == ["max_retries"]
