"""What a crash or an operator left different in PostgreSQL and Temporal becomes the same again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from uuid import UUID

import psutil
import pytest
from sqlalchemy import update
from sqlmodel import col

from models.database import Database
from models.tables import Execution
from tests.e2e.test_failures import ONE_CALL
from tests.support.database import first_tenant
from tests.support.platform import Platform
from tests.support.stack import wait_until
from tests.workflows.scenarios import connect, run_of


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Database]:
    database = platform.database()
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: Database) -> UUID:
    return await first_tenant(database)


GATE = "held"


def held(platform: Platform) -> str:
    """Id of an execution whose call is at the model, and stays there until the gate is released."""
    seen = len(platform.model.calls)
    platform.model.set_script([{"gate": GATE}])
    execution_id = platform.start(ONE_CALL, {"topic": "held"})
    platform.model.wait_for_calls(seen + 1)
    return execution_id


def seconds_until(platform: Platform, execution_id: str, status: str) -> float:
    started = time.monotonic()
    platform.wait_for_status(execution_id, [status])
    return time.monotonic() - started


async def test_run_terminated_by_an_operator_is_failed_and_can_be_retried(platform: Platform) -> None:
    execution_id = held(platform)
    await run_of(await connect(platform), platform.get(execution_id)).terminate("by an operator")
    assert seconds_until(platform, execution_id, "failed") < 40
    execution = platform.get(execution_id)
    assert "terminated" in execution["error_message"]
    assert [agent["status"] for agent in execution["agents"]] == ["completed", "failed"]

    platform.model.release(GATE)
    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    assert platform.finish(execution_id)["status"] == "completed"


async def test_run_cancelled_by_an_operator_is_cancelled_with_its_step(platform: Platform) -> None:
    execution_id = held(platform)
    run = run_of(await connect(platform), platform.get(execution_id))
    await run.cancel()
    assert seconds_until(platform, execution_id, "cancelled") < 40
    execution = platform.get(execution_id)
    assert [agent["status"] for agent in execution["agents"]] == ["completed", "cancelled"]
    assert platform.http.get("/failures", params={"execution_id": execution_id}).json()["total"] == 0

    platform.model.release(GATE)
    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    again = platform.finish(execution_id)
    assert (again["status"], again["retry_count"]) == ("completed", 1)


async def test_row_whose_workflow_was_never_started_is_started(
    platform: Platform, database: Database, tenant: UUID
) -> None:
    """As after an API that died between its commit and the start."""
    platform.model.set_script([])
    done = platform.run(ONE_CALL, {"topic": "lost"})
    async with database.transaction(tenant) as session:
        row = await session.get_one(Execution, done["id"])
        lost = Execution(
            **row.model_dump(
                include={"tenant_id", "workflow_id", "version_id", "workflow_version", "framework", "title", "inputs"}
            )
        )
        session.add(lost)
    assert platform.finish(str(lost.id))["status"] == "completed"


async def test_run_that_temporal_knows_nothing_of_is_failed(
    platform: Platform, database: Database, tenant: UUID
) -> None:
    platform.model.set_script([])
    done = platform.run(ONE_CALL, {"topic": "gone"})
    async with database.transaction(tenant) as session:
        row = await session.get_one(Execution, done["id"])
        common = {"tenant_id", "workflow_id", "version_id", "workflow_version", "framework", "title", "inputs"}
        gone = Execution(**row.model_dump(include=common), status="running")
        session.add(gone)
    async with database.transaction(row.tenant_id) as session:
        long_ago = row.updated_at.replace(year=2020)
        await session.execute(update(Execution).where(col(Execution.id) == gone.id).values(updated_at=long_ago))
    assert seconds_until(platform, str(gone.id), "failed") < 50
    assert "gone from Temporal" in platform.get(str(gone.id))["error_message"]


async def test_retry_at_once_after_the_failure(platform: Platform) -> None:
    """The Temporal run that told its failure is still closing when the next one is asked for."""
    platform.model.set_script([{"reply": {"error": {"status": 400}}, "times": 1}])
    execution_id = platform.start(ONE_CALL, {"topic": "at once"})
    run = run_of(await connect(platform), platform.get(execution_id))
    while platform.get(execution_id)["status"] != "failed":
        pass
    failed = (await run.describe()).run_id
    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    assert (await run.describe()).run_id != failed, "not left to the reconciler"
    assert platform.finish(execution_id)["status"] == "completed"


async def test_retry_without_any_checkpoint_begins_at_the_beginning(platform: Platform) -> None:
    definition = {
        "nodes": [{"id": "ask", "type": "llm", "prompt": "{{ topic }}", "output": "answer"}],
        "edges": [{"from": "START", "to": "ask"}, {"from": "ask", "to": "END"}],
        "state": {"topic": {"type": "string"}, "answer": {"type": "string"}},
    }
    platform.model.set_script([{"reply": {"error": {"status": 400}}, "times": 1}])
    workflow_id = platform.register({"name": "one", "framework": "langgraph", "workflow_definition": definition})
    execution_id = platform.start(workflow_id, {"topic": "first"})
    assert platform.finish(execution_id)["checkpoint_count"] == 0
    # not even the workflow is needed any more
    assert platform.http.delete(f"/workflows/{workflow_id}").status_code == 204
    assert platform.http.post(f"/executions/{execution_id}/retry").status_code == 200
    execution = platform.finish(execution_id)
    assert (execution["status"], len(execution["agents"])) == ("completed", 1)


def test_start_while_temporal_is_away(platform: Platform) -> None:
    platform.model.set_script([])
    workflow_id = platform.register(ONE_CALL)
    process = psutil.Process(platform.stack.pids["temporal"])
    process.suspend()
    try:
        answer = platform.http.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "away"}})
        assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    finally:
        process.resume()
    assert platform.finish(answer.json()["execution_id"])["status"] == "completed"


def test_worker_that_is_told_to_stop_lets_its_step_end(platform: Platform) -> None:
    seen = len(platform.model.calls)
    execution_id = held(platform)
    worker = platform.stack.pids["worker"]
    os.kill(worker, signal.SIGTERM)
    wait_until(lambda: "Beginning worker shutdown" in platform.stack.log("worker"), "the worker has heard it")
    platform.model.release(GATE)
    wait_until(lambda: platform.stack.pids.get("worker") != worker, "the worker has stopped", timeout=60)
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed"
    assert [agent["attempt"] for agent in execution["agents"]] == [1, 1]
    assert len(platform.model.calls) == seen + 1
