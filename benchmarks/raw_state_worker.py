"""The baseline of `state`: a bare Temporal worker that hands the whole state from activity to activity."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "benchmark-raw-state"


@activity.defn(name="add_record")
async def add_record(state: dict[str, Any]) -> dict[str, Any]:
    number = len(state["records"])
    record = {"id": f"record {number}", "note": "a small record that a step adds to a large state", "n": number}
    return {**state, "records": [*state["records"], record]}


@workflow.defn(name="RawState")
class RawState:
    @workflow.run
    async def run(self, document: str, steps: int) -> int:
        state: dict[str, Any] = {"document": document, "records": []}
        for _ in range(steps):
            state = await workflow.execute_activity(add_record, state, start_to_close_timeout=timedelta(seconds=60))
        return len(state["records"])


async def main(address: str) -> None:
    client = await Client.connect(address)
    worker = Worker(client, task_queue=QUEUE, workflows=[RawState], activities=[add_record])
    print("ready", flush=True)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
