"""`GET /executions/{id}/costs`: what was useful, and what came to nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from models.repositories.recovery import RecoveryRepository
from models.tables import Budget
from models.tables.base import new_id, now
from tests.billing.conftest import Payer
from tests.support.tenants import Owned

WASTED = ("retried", "rolled_back", "abandoned")


async def costs_of(http: httpx.AsyncClient, run: Owned) -> dict[str, Any]:
    """Checked against what the execution itself says: to the last millionth."""
    answer = await http.get(f"/api/v1/executions/{run.execution}/costs")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    used = (await http.get(f"/api/v1/executions/{run.execution}")).json()["credits_used"]
    listed = (await http.get("/api/v1/executions", params={"limit": 100})).json()["executions"]
    assert found["credits_used"] == used == next(r["credits_used"] for r in listed if r["id"] == str(run.execution))
    assert micro(found["useful"]["credits"]) + micro(found["wasted"]["credits"]) == micro(used)
    assert sum(micro(found["wasted"][kind]["credits"]) for kind in WASTED) == micro(found["wasted"]["credits"])
    for part in ("agents", "steps", "models"):
        assert sum(micro(each["credits"]) for each in found[part]) == micro(used), part
        assert sum(micro(each["wasted"]) for each in found[part]) == micro(found["wasted"]["credits"]), part
    return found


def micro(credits: float) -> int:
    return round(credits * 1_000_000)


def wasted(found: dict[str, Any]) -> dict[str, float]:
    return {kind: found["wasted"][kind]["credits"] for kind in WASTED if found["wasted"][kind]["credits"]}


async def test_run_that_went_well_wasted_nothing(http: httpx.AsyncClient, payer: Payer) -> None:
    run = await payer.run("completed")
    await payer.step(run, 0, name="research")
    await payer.step(run, 1, name="write")
    await payer.call(run, 0, 1_000_001)
    await payer.call(run, 0, 2_000_000, resource="large")
    await payer.call(run, 1, 500_000)
    await payer.call(run, 1, 3, usage_type="tool", resource="search", tokens=(0, 0, 0))
    found = await costs_of(http, run)
    assert (found["credits_used"], found["useful"]["calls"], found["useful"]["tokens"]) == (3.500004, 4, 45)
    assert found["wasted"]["credits"] == found["in_progress"]["credits"] == 0
    assert [(step["step_index"], step["agent"], step["credits"]) for step in found["steps"]] == [
        (0, "research", 3.000001),
        (1, "write", 0.500003),
    ]
    assert [(model["usage_type"], model["model"], model["credits"], model["calls"]) for model in found["models"]] == [
        ("model", "large", 2, 1),
        ("model", "small", 1.500001, 2),
        ("tool", "search", 0.000003, 1),
    ]
    assert (found["budget"], found["forks"]) == (None, [])


async def test_answers_that_the_attempt_which_did_the_step_has_not_used_are_retried_work(
    http: httpx.AsyncClient, payer: Payer
) -> None:
    run = await payer.run("completed")
    await payer.step(run, 0, attempt=3)
    # made by a process that died, and used again
    await payer.call(run, 0, 1_000_000, attempt=1, used_by=3)
    await payer.call(run, 0, 70, attempt=1)
    await payer.call(run, 0, 200, attempt=2)
    await payer.call(run, 0, 5, attempt=3)
    # a validator's vote, which no attempt asks for
    await payer.call(run, 0, 10, attempt=1, used_by=0)
    # done at last by an attempt that asked for nothing
    await payer.step(run, 1, attempt=2)
    await payer.call(run, 1, 3000, attempt=1)
    await payer.call(run, 1, 600_000, attempt=1, used_by=0)
    found = await costs_of(http, run)
    assert wasted(found) == {"retried": 0.00327}
    assert (found["wasted"]["calls"], found["useful"]["credits"]) == (3, 1.600015)
    assert [step["attempts"] for step in found["steps"]] == [3, 2]
    # what retention leaves says nothing of who used what, so nothing counts as wasted
    await payer.execute(text("DELETE FROM call_journal WHERE execution_id = :id"), id=run.execution)
    bare = await costs_of(http, run)
    assert (bare["credits_used"], bare["wasted"]["credits"], bare["useful"]["calls"]) == (1.603285, 0, 7)


async def test_step_under_way_is_useful_for_now(http: httpx.AsyncClient, payer: Payer) -> None:
    run = await payer.run("running")
    await payer.step(run, 0)
    await payer.step(run, 1, "running", attempt=2)
    await payer.call(run, 0, 100)
    await payer.call(run, 1, 30, attempt=1)
    await payer.call(run, 1, 4, attempt=2)
    found = await costs_of(http, run)
    assert (wasted(found), found["in_progress"]["credits"], found["useful"]["credits"]) == ({}, 0.000034, 0.000134)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_never_ended_is_abandoned(http: httpx.AsyncClient, payer: Payer, status: str) -> None:
    run = await payer.run(status)
    await payer.step(run, 0)
    await payer.step(run, 1, status)
    await payer.call(run, 0, 100)
    await payer.call(run, 1, 30)
    found = await costs_of(http, run)
    assert (wasted(found), found["useful"]["credits"]) == ({"abandoned": 0.00003}, 0.0001)


async def test_what_a_rollback_left_behind_is_wasted(http: httpx.AsyncClient, payer: Payer) -> None:
    run = await payer.run("running")
    await payer.execute(text("UPDATE executions SET lineage = 1 WHERE id = :id"), id=run.execution)
    await payer.step(run, 0)
    await payer.step(run, 1, "rolled_back")
    await payer.step(run, 1, lineage=1)
    await payer.step(run, 2, "running", lineage=1)
    await payer.call(run, 0, 1000)
    await payer.call(run, 1, 300, attempt=1)
    await payer.call(run, 1, 60, attempt=2)
    await payer.call(run, 1, 8, lineage=1)
    await payer.call(run, 2, 5, lineage=1)
    found = await costs_of(http, run)
    assert wasted(found) == {"rolled_back": 0.00036}
    assert found["in_progress"]["credits"] == 0.000005
    assert [(step["lineage"], step["step_index"], step["current"]) for step in found["steps"]] == [
        (0, 0, True),
        (0, 1, False),
        (1, 1, True),
        (1, 2, True),
    ]


async def test_step_that_failed_and_was_done_anew_is_retried_work(http: httpx.AsyncClient, payer: Payer) -> None:
    run = await payer.run("running")
    for statement in (
        "UPDATE executions SET lineage = 1 WHERE id = :id",
        "UPDATE recovery_actions SET action_type = 'retry' WHERE execution_id = :id",
        "UPDATE rollbacks SET command_id = 'recovery-0-1', status = 'completed' WHERE execution_id = :id",
    ):
        await payer.execute(text(statement), id=run.execution)
    await payer.step(run, 0, "rolled_back")
    # a branch that was under way beside it
    await payer.step(run, 1, "rolled_back")
    await payer.step(run, 0, lineage=1)
    await payer.call(run, 0, 300)
    await payer.call(run, 1, 40)
    await payer.call(run, 0, 5, lineage=1)
    found = await costs_of(http, run)
    assert wasted(found) == {"retried": 0.0003, "rolled_back": 0.00004}
    async with payer.database.transaction(payer.tenant) as db:
        assert await RecoveryRepository(db, payer.tenant).redone(run.execution) == {(0, 0)}
        assert not await RecoveryRepository(db, new_id()).redone(run.execution)


async def test_fees_budget_and_forks_are_told(http: httpx.AsyncClient, payer: Payer) -> None:
    run, fork = await payer.run("completed"), await payer.run("running")
    await payer.step(run, 0)
    await payer.execute(text("SELECT credit_settle(jsonb_populate_record(NULL::ledger_entries, CAST(:entry AS jsonb)))"),
        entry=(
            f'{{"tenant_id": "{payer.tenant}", "execution_id": "{run.execution}", "lineage": 0, "step_index": 0,'
            ' "usage_type": "step", "agent": "step 0", "spent": 250000, "idempotency_key": "step:1",'
            f' "created_at": "{now().isoformat()}"}}'
        ),
    )  # fmt: skip
    await payer.execute(
        text("UPDATE executions SET forked_from = :run, root_id = :run WHERE id = :id"),
        run=run.execution,
        id=fork.execution,
    )
    await payer.call(fork, 0, 40)
    await payer.add(
        Budget(
            tenant_id=payer.tenant,
            scope="execution",
            scope_id=run.execution,
            amount=1_000_000,
            spent=250_040,
            period_start=now().date(),
        )
    )
    found = await costs_of(http, run)
    assert (found["credits_used"], found["useful"]["calls"]) == (0.25, 0)
    assert found["models"][0]["usage_type"] == "step"
    assert (found["budget"]["amount"], found["budget"]["remaining"]) == (1, 0.74996)
    assert found["forks"] == [{"execution_id": str(fork.execution), "status": "running", "credits_used": 0.00004}]
    assert (await costs_of(http, fork))["budget"] == found["budget"]


async def test_run_of_nobody_is_not_there(http: httpx.AsyncClient, payer: Payer) -> None:
    answer = await http.get(f"/api/v1/executions/{payer.tenant}/costs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "EXECUTION_NOT_FOUND")
