"""What the API decides about steering before it asks Temporal, which is away here."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from models.database import Database
from models.tables.base import new_id
from tests.support.tenants import Owned, add_execution


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
async def test_what_has_ended_is_refused_at_no_cost(
    http: httpx.AsyncClient, database: Database, tenant: UUID, action: str, status: str
) -> None:
    run = await add_execution(database, tenant, status=status)
    answer = await http.post(f"/api/v1/executions/{run.execution}/{action}")
    assert code_of(answer) == (409, f"EXECUTION_CANNOT_{action.upper()}")
    assert answer.json()["error"]["details"]["status"] == status


@pytest.mark.parametrize("path", ["executions/{run.execution}/pause", "checkpoints/{run.checkpoint}/rollback"])
async def test_temporal_that_is_away_is_told(
    http: httpx.AsyncClient, database: Database, tenant: UUID, path: str
) -> None:
    run = await add_execution(database, tenant, status="running")
    answer = await http.post(f"/api/v1/{path.format(run=run)}")
    assert code_of(answer) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("executions/{run.execution}/pause", {"mode": "gentle"}, "mode"),
        ("executions/{run.execution}/pause", {"reasn": "x"}, "reasn"),
        ("executions/{run.execution}/pause", {"reason": "x" * 1001}, "reason"),
        ("executions/{run.execution}/cancel", {"reason": "a\x00b"}, "reason"),
        ("executions/{run.execution}/resume", {"mode": "soft"}, "mode"),
        ("executions/{run.execution}/fork", {}, "checkpoint_id"),
        ("executions/{run.execution}/fork", {"checkpoint_id": "x"}, "checkpoint_id"),
        ("executions/{run.execution}/fork", {"checkpoint_id": "{run.checkpoint}", "edits": []}, "edits"),
        ("checkpoints/{run.checkpoint}/rollback", {"trigger_type": "whim"}, "trigger_type"),
        ("checkpoints/{run.checkpoint}/rollback", {"reason": ""}, "reason"),
        ("checkpoints/{run.checkpoint}/rollback", {"reason": "x" * 256}, "reason"),
        ("checkpoints/{run.checkpoint}/rollback", {"edits": {"prompts": "shorter"}}, "edits.prompts"),
        ("checkpoints", {"checkpoint_name": "x"}, "execution_id"),
        ("checkpoints", {"execution_id": "{run.execution}", "checkpoint_name": ""}, "checkpoint_name"),
        ("checkpoints", {"execution_id": "{run.execution}", "checkpoint_name": "x", "state": [1]}, "state"),
        ("checkpoints", {"execution_id": "{run.execution}", "checkpoint_name": "x", "state": {"a": 1}}, "state"),
        ("approvals/{run.approval}/answer", {"decision": "maybe"}, "decision"),
        ("approvals/{run.approval}/edit", {}, "value"),
        ("approvals/{run.approval}/edit", {"value": None}, "value"),
        ("approvals/{run.approval}/approve", {"value": {"a": "\x00"}}, "value.a"),
        ("consensus/{run.log}/acknowledge", {}, "agent_id"),
        ("consensus/{run.log}/acknowledge", {"agent_id": "auditor", "term": -1}, "term"),
        ("consensus/{run.log}/acknowledge", {"agent_id": "somebody"}, "agent_id"),
    ],
)
async def test_what_is_wrong_is_named(
    http: httpx.AsyncClient, database: Database, tenant: UUID, path: str, body: dict[str, Any], problem: str
) -> None:
    run = await add_execution(database, tenant, approval="pending")
    filled = {
        name: value.format(run=run) if isinstance(value, str) and value.startswith("{run") else value
        for name, value in body.items()
    }
    answer = await http.post(f"/api/v1/{path.format(run=run)}", json=filled)
    assert code_of(answer) == (422, "INVALID_INPUT"), answer.text
    paths = [error["path"] for error in answer.json()["error"]["details"]["errors"]]
    assert paths[0] == problem


async def test_an_approval_that_was_answered(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run = await add_execution(database, tenant)
    same = await http.post(f"/api/v1/approvals/{run.approval}/approve")
    assert (same.status_code, same.json()["approval"]["status"]) == (200, "approved")
    other = await http.post(f"/api/v1/approvals/{run.approval}/approve", json={"value": 3})
    assert code_of(other) == (409, "APPROVAL_ALREADY_ANSWERED")


async def test_a_vote_that_is_over(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run = await add_execution(database, tenant)
    # the voter's step may be named by its id; this one has no vote
    step = await http.post(f"/api/v1/consensus/{run.log}/acknowledge", json={"agent": str(run.step)})
    assert code_of(step) == (422, "INVALID_INPUT")
    same = await http.post(f"/api/v1/consensus/{run.log}/acknowledge", json={"voter": "auditor", "accept": True})
    assert (same.status_code, same.json()["success"]) == (200, True)
    other = await http.post(f"/api/v1/consensus/{run.log}/acknowledge", json={"voter": "auditor", "accept": False})
    assert code_of(other) == (409, "CONSENSUS_CLOSED")


async def test_the_key_of_another_command(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run = await add_execution(database, tenant, status="running")
    key = {"Idempotency-Key": f"k {new_id()}"}
    first = await http.post(f"/api/v1/executions/{run.execution}/pause", headers=key)
    assert first.status_code == 503
    other = await http.post(f"/api/v1/executions/{run.execution}/cancel", headers=key)
    assert code_of(other) == (409, "IDEMPOTENCY_CONFLICT")


async def test_the_end_of_a_run_can_be_deleted_and_where_it_stands_cannot(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    for status, wanted in (("running", 409), ("rolled_back", 409), ("failed", 409), ("completed", 204)):
        run = await add_execution(database, tenant, status=status)
        answer = await http.delete(f"/api/v1/checkpoints/{run.checkpoint}")
        assert answer.status_code == wanted, status
        shown = await http.get(f"/api/v1/checkpoints/{run.checkpoint}")
        assert shown.status_code == (404 if wanted == 204 else 200)
        listed = await http.get("/api/v1/checkpoints", params={"execution_id": str(run.execution)})
        assert listed.json()["total"] == (0 if wanted == 204 else 1)


async def test_names_are_given_once(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run = await add_execution(database, tenant)
    body = {"execution_id": str(run.execution), "checkpoint_name": "mine", "metadata": {"by": "ada"}}
    made = await http.post("/api/v1/checkpoints", json=body)
    assert made.status_code == 201, made.text
    checkpoint = made.json()["checkpoint"]
    assert (checkpoint["kind"], checkpoint["checkpoint_number"], checkpoint["next_step"]) == ("named", 1, "next")
    assert code_of(await http.post("/api/v1/checkpoints", json=body)) == (409, "CHECKPOINT_CREATION_FAILED")
    taken = {**body, "checkpoint_name": "step_1"}
    assert code_of(await http.post("/api/v1/checkpoints", json=taken)) == (409, "CHECKPOINT_CREATION_FAILED")
    await http.delete(f"/api/v1/checkpoints/{checkpoint['id']}")
    assert (await http.post("/api/v1/checkpoints", json=body)).status_code == 201
    stranger = {**body, "checkpoint_name": "other", "agent_id": str(new_id())}
    assert code_of(await http.post("/api/v1/checkpoints", json=stranger)) == (404, "AGENT_NOT_FOUND")


async def test_pages_of_what_happened(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run: Owned = await add_execution(database, tenant, approval="pending")
    for name in ("rollbacks", "effects"):
        found = (await http.get(f"/api/v1/executions/{run.execution}/{name}")).json()
        assert (len(found[name]), found["total"], found["next_cursor"]) == (1, 1, None)
    log = (await http.get(f"/api/v1/executions/{run.execution}/consensus")).json()
    assert (log["current_term"], log["leader"], log["leader_agent_id"]) == (1, "step", str(run.step))
    assert (await http.get(f"/api/v1/executions/{run.execution}")).json()["pending_approvals"] == 1
    for filters, total in (
        ({"status": "pending"}, 1),
        ({"status": "approved"}, 0),
        ({"execution_id": str(run.execution)}, 1),
        ({"assignee": "nobody"}, 0),
    ):
        assert (await http.get("/api/v1/approvals", params=filters)).json()["total"] == total
    assert (await http.get("/api/v1/approvals", params={"status": "asleep"})).status_code == 422


async def test_the_tree_of_lineages(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    run = await add_execution(database, tenant)
    history = (await http.get(f"/api/v1/executions/{run.execution}/lineage")).json()
    assert (history["tree"]["lineage"], history["tree"]["current"]) == (0, True)
    assert [child["lineage"] for child in history["tree"]["children"]] == history["lineages"][0]["children"] == [1]
    assert [step["name"] for step in history["lineages"][0]["steps"]] == ["step"]
