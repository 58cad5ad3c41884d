"""What a tenant feels of another one that floods the platform: the time from the start call to its run's first step.

    .venv/bin/python -m benchmarks.fairness [--flood 500] [--answer-seconds 2] [--runs 10] [--places 25]

One local stack with one worker and a scripted model. First a tenant's single runs while nobody else is there, one after the
other; then the same while another tenant has started 500 runs, of which it may have `--places` under way.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from benchmarks.common import api, register, show, spread, stack
from models.database import Database
from omium_core.keyring import MasterKeys
from tests.support.model_server import ModelServer
from tests.support.tenants import add_key, add_tenant
from workers.local.datadir import DataDir

#: At most so many seconds are between two of our runs.
PAUSE = 2.0
#: Asks the model once.
ASK: dict[str, Any] = {
    "nodes": [{"id": "ask", "type": "llm", "prompt": "{{ topic }}", "output": "answer"}],
    "edges": [{"from": "START", "to": "ask"}, {"from": "ask", "to": "END"}],
    "state": {"topic": {"type": "string"}, "answer": {"type": "string"}},
}
_LIMITS = text(
    "UPDATE tenants SET max_concurrent_executions = :places, max_api_calls_per_month = 2000000000, limits = "
    """'{"requests_per_minute": null, "requests_per_hour": null, "execution_requests_per_minute": null, """
    """"execution_requests_per_hour": null}' WHERE id = :tenant"""
)


async def new_tenant(described: dict[str, Any], places: int) -> httpx.AsyncClient:
    """A client of a tenant of its own, as far from limits of requests as a benchmark needs to be."""
    secrets = DataDir(Path(described["data_dir"])).load_secrets()
    url = described["database_url"].replace("postgresql://", "postgresql+asyncpg://")
    database = Database(url, MasterKeys(secrets.master_key), pool_size=1)
    tenant = await add_tenant(database)
    async with database.system() as session:
        await session.execute(_LIMITS, {"tenant": tenant, "places": places})
    key = await add_key(database, tenant, secrets.api_key_pepper, "read", "write")
    await database.close()
    return api({**described, "api_key": key})


async def seconds_to_first_step(client: httpx.AsyncClient, workflow_id: str) -> float:
    """From the start call to the first step, and then to the end of the run."""
    # at any moment: the flood's steps, which all last as long, come in waves
    await asyncio.sleep(random.uniform(0, PAUSE))
    began = time.time()
    started = await client.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "one"}})
    started.raise_for_status()
    url = f"/executions/{started.json()['execution_id']}"
    while (execution := (await client.get(url)).json())["status"] != "completed":
        assert execution["status"] in ("pending", "running"), execution
        await asyncio.sleep(0.1)
    return datetime.fromisoformat(execution["agents"][0]["started_at"]).timestamp() - began


async def start_all(client: httpx.AsyncClient, workflow_id: str, count: int) -> None:
    slots = asyncio.Semaphore(10)

    async def one() -> None:
        async with slots:
            answer = await client.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "many"}})
            answer.raise_for_status()

    await asyncio.gather(*(one() for _ in range(count)))


async def measure(described: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    flood, alone = await new_tenant(described, options.places), await new_tenant(described, 10)
    async with flood, alone:
        theirs, ours = await register(flood, ASK), await register(alone, ASK)
        for _ in range(3):
            await seconds_to_first_step(alone, ours)
        quiet = [await seconds_to_first_step(alone, ours) for _ in range(options.runs)]
        began = time.perf_counter()
        await start_all(flood, theirs, options.flood)
        starting = time.perf_counter() - began
        beside, left = [], []
        for _ in range(options.runs):
            places = (await flood.get("/limits")).json()["executions"]
            if not places["queued"]:
                break
            left.append(places["running"] + places["queued"])
            beside.append(await seconds_to_first_step(alone, ours))
    return {
        "benchmark": "fairness",
        "flood": options.flood,
        "places": options.places,
        "answer_seconds": options.answer_seconds,
        "start_of_flood_seconds": round(starting, 1),
        #: How many runs of the flood were not done when each of our runs began.
        "flood_left": left,
        "first_step_ms": {"alone": spread(quiet), "beside": spread(beside)},
        "ratio": round(spread(beside)["p50"] / spread(quiet)["p50"], 2),
        "bars": {"ratio": "<= 2"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=500)
    parser.add_argument("--places", type=int, default=25)
    parser.add_argument("--answer-seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    answers = [{"reply": {"delay": options.answer_seconds}}]
    settings = {"OMIUM_FRAMEWORKS": "langgraph", "OMIUM_LLM_API_KEY": "none", "OMIUM_LLM_MODEL": "scripted"}
    with ModelServer(answers) as model, stack(OMIUM_LLM_BASE_URL=model.base_url, **settings) as described:
        show(asyncio.run(measure(described, options)))


if __name__ == "__main__":
    main()
