"""What durability costs beyond raw Temporal: throughput, latency and the start call, as ratios measured in one run.

    .venv/bin/python -m benchmarks.overhead [--steps 10] [--runs 60] [--in-flight 20]

Both sides run N steps without model calls on the same server, each in one worker process; batches alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import Client

from benchmarks.common import api, chain, ended, register, show, spread, stack
from benchmarks.raw_worker import QUEUE

Start = Callable[[], Awaitable[str]]


async def one_after_the_other(start: Start, client: Client, count: int) -> list[float]:
    """Seconds from the start call to the result, run by run."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await ended(client, await start())
        seconds.append(time.perf_counter() - began)
    return seconds


async def many_at_once(start: Start, client: Client, count: int, in_flight: int) -> float:
    """Runs per second."""
    slots = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with slots:
            await ended(client, await start())

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def start_calls(start: Start, client: Client, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        run = await start()
        seconds.append(time.perf_counter() - began)
        await ended(client, run)
    return seconds


async def measure(described: dict[str, Any], steps: int, runs: int, in_flight: int) -> dict[str, Any]:
    client = await Client.connect(described["temporal_address"])
    async with api(described) as http:
        workflow_id = await register(http, chain(steps))

        async def start_ours() -> str:
            answer = await http.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "x"}})
            answer.raise_for_status()
            return f"{tenant}/{answer.json()['execution_id']}"

        async def start_raw() -> str:
            return (await client.start_workflow("Raw", steps, id=f"raw-{uuid.uuid4()}", task_queue=QUEUE)).id

        listed = await http.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "x"}})
        first = (await http.get(f"/executions/{listed.json()['execution_id']}")).json()
        tenant = first["temporal"]["workflow_id"].partition("/")[0]
        for start in (start_raw, start_ours):
            await one_after_the_other(start, client, 5)

        latency: dict[str, list[float]] = {"raw": [], "omium": []}
        rate: dict[str, list[float]] = {"raw": [], "omium": []}
        call: dict[str, list[float]] = {"raw": [], "omium": []}
        for _ in range(5):
            for name, start in (("raw", start_raw), ("omium", start_ours)):
                latency[name] += await one_after_the_other(start, client, 8)
                rate[name].append(await many_at_once(start, client, runs, in_flight))
                call[name] += await start_calls(start, client, 10)
    medians = {name: spread(values)["p50"] for name, values in {**latency}.items()}
    best = {name: spread(values, 1.0)["p50"] for name, values in rate.items()}
    return {
        "benchmark": "overhead",
        "steps": steps,
        "runs_per_second": {name: spread(values, 1.0) for name, values in rate.items()},
        "single_run_ms": {name: spread(values) for name, values in latency.items()},
        "start_call_ms": {name: spread(values) for name, values in call.items()},
        "throughput_ratio": round(best["omium"] / best["raw"], 3),
        "latency_ratio": round(medians["omium"] / medians["raw"], 3),
        "start_call_extra_ms": round(spread(call["omium"])["p50"] - spread(call["raw"])["p50"], 2),
        "bars": {"throughput_ratio": ">= 0.7", "latency_ratio": "<= 1.5", "start_call_extra_ms": "<= 15"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--in-flight", type=int, default=20)
    options = parser.parse_args()
    # one framework, so that no import of another runs beside the measurement
    with stack(OMIUM_FRAMEWORKS="langgraph") as described:
        raw = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.raw_worker", described["temporal_address"]], stdout=subprocess.PIPE
        )
        try:
            assert raw.stdout is not None
            raw.stdout.readline()
            show(asyncio.run(measure(described, options.steps, options.runs, options.in_flight)))
        finally:
            raw.terminate()


if __name__ == "__main__":
    main()
