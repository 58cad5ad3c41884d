"""Executions that wait for their turn, on the whole platform: queued, cancelled while they wait, begun in their order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from models.database import Database
from omium_core.keyring import MasterKeys, new_master_key
from tests.e2e.test_failures import ONE_CALL
from tests.support.platform import Platform, running_platform
from tests.support.stack import wait_until

GATE = "held"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(
        tmp_path_factory.mktemp("limits") / "data", env={"OMIUM_FRAMEWORKS": "langgraph"}
    ) as platform:
        yield platform


async def allow(platform: Platform, executions: int) -> None:
    """How many executions the first tenant may have under way."""
    url = platform.stack["database_url"].replace("postgresql://", "postgresql+asyncpg://")
    database = Database(url, MasterKeys(new_master_key()), pool_size=1)
    async with database.system() as session:
        await session.execute(text("UPDATE tenants SET max_concurrent_executions = :most"), {"most": executions})
    await database.close()


async def test_executions_beyond_the_limit_begin_in_their_order(platform: Platform) -> None:
    await allow(platform, 2)
    platform.model.set_script([{"gate": GATE}])
    workflow_id = platform.register(ONE_CALL)
    ids = [platform.start(workflow_id, {"topic": str(number)}) for number in range(6)]
    platform.model.wait_for_calls(2)
    seen = [platform.get(execution_id) for execution_id in ids]
    assert [execution["status"] for execution in seen] == ["running"] * 2 + ["pending"] * 4
    assert [execution["queue_position"] for execution in seen] == [None, None, 1, 2, 3, 4]

    refused = platform.http.post(f"/executions/{ids[3]}/pause")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "EXECUTION_CANNOT_PAUSE")
    assert platform.http.post(f"/executions/{ids[3]}/cancel").json()["execution"]["status"] == "cancelled"
    # one that is paused leaves its place to the next
    paused = platform.http.post(f"/executions/{ids[0]}/pause", json={"mode": "hard"})
    assert paused.status_code in (200, 202)
    platform.model.wait_for_calls(3)
    wait_until(lambda: platform.get(ids[2])["status"] == "running", "the third one runs")
    assert platform.get(ids[4])["queue_position"] == 1

    # of those that wait, none is lost with the worker
    platform.stack.kill("worker")
    platform.model.release(GATE)
    finished = [platform.finish(execution_id) for execution_id in (*ids[1:3], *ids[4:])]
    assert [execution["status"] for execution in finished] == ["completed"] * 4
    # the last two get the places that become free at the same time
    began = [execution["started_at"] for execution in finished]
    assert began[0] < began[1] < min(began[2:])
    assert platform.http.post(f"/executions/{ids[0]}/resume").status_code in (200, 202)
    assert platform.finish(ids[0])["status"] == "completed"
    places = platform.http.get("/limits").json()["executions"]
    assert places == {"max_concurrent": 2, "running": 0, "queued": 0}
