"""What runs cost a worker that wait for a person: CPU and memory with none of them, and with many.

    .venv/bin/python -m benchmarks.paused [--runs 1000] [--watch 30]

The runs ask for an approval before their first step. The worker is watched while nothing happens: first without any run,
which is the baseline, then with all of them parked. At the end one is approved, and how long it takes to end is told.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import httpx
import psutil
from tenacity import AsyncRetrying, retry_if_result, wait_fixed

from benchmarks.common import api, chain, register, show, stack

#: Starts at the same time: more would only queue.
AT_ONCE = 16


def usage(process: psutil.Process) -> tuple[float, float]:
    """CPU seconds so far, and resident memory in MiB."""
    times = process.cpu_times()
    return times.user + times.system, process.memory_info().rss / 2**20


async def watched(process: psutil.Process, seconds: float) -> dict[str, float]:
    """CPU in percent of one core, and memory, over a time in which nobody asks for anything."""
    cpu_before, memory_before = usage(process)
    await asyncio.sleep(seconds)
    cpu, memory = usage(process)
    return {
        "cpu_percent": round(100 * (cpu - cpu_before) / seconds, 2),
        "memory_mib": round(memory, 1),
        "memory_growth_mib": round(memory - memory_before, 1),
    }


async def park(client: httpx.AsyncClient, workflow_id: str, runs: int) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> str:
        async with gate:
            answer = await client.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": str(number)}})
            answer.raise_for_status()
            return str(answer.json()["execution_id"])

    started = await asyncio.gather(*(start(number) for number in range(runs)))
    while True:
        answer = await client.get("/executions", params={"status": "paused", "limit": 1})
        if answer.json()["total"] >= runs:
            return list(started)
        await asyncio.sleep(0.2)


async def approve_one(client: httpx.AsyncClient, execution_id: str) -> float:
    """Seconds from the answer to the end of the run."""
    found = await client.get("/approvals", params={"execution_id": execution_id})
    began = time.monotonic()
    answer = await client.post(f"/approvals/{found.json()['approvals'][0]['id']}/approve", json={})
    answer.raise_for_status()
    async for attempt in AsyncRetrying(
        wait=wait_fixed(0.01), retry=retry_if_result(lambda status: status != "completed")
    ):
        with attempt:
            status = (await client.get(f"/executions/{execution_id}")).json()["status"]
        if attempt.retry_state.outcome is not None and not attempt.retry_state.outcome.failed:
            attempt.retry_state.set_result(status)
    return time.monotonic() - began


async def measure(described: dict[str, Any], runs: int, watch: float) -> dict[str, Any]:
    worker = psutil.Process(described["pids"]["worker"])
    definition = {**chain(1), "approvals": [{"step": "step_0", "title": "Go on?"}]}
    async with api(described) as client:
        workflow_id = await register(client, definition)
        # one run before, so that what is loaded once is loaded
        await approve_one(client, (await park(client, workflow_id, 1))[0])
        nothing = await watched(worker, watch)
        began = time.monotonic()
        parked = await park(client, workflow_id, runs)
        parking = time.monotonic() - began
        await asyncio.sleep(5)
        waiting = await watched(worker, watch)
        later = await watched(worker, watch)
        woken = await approve_one(client, parked[0])
    return {
        "runs": runs,
        "parked_in_s": round(parking, 1),
        "without_runs": nothing,
        "with_runs": waiting,
        "with_runs_later": later,
        "cpu_points_more": round(later["cpu_percent"] - nothing["cpu_percent"], 2),
        "memory_kib_per_run": round(1024 * (waiting["memory_mib"] - nothing["memory_mib"]) / runs, 1),
        "first_approved_to_end_ms": round(1000 * woken, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--watch", type=float, default=30.0, help="seconds")
    asked = parser.parse_args()
    with stack(OMIUM_FRAMEWORKS="langgraph") as described:
        show(asyncio.run(measure(described, asked.runs, asked.watch)))


if __name__ == "__main__":
    main()
