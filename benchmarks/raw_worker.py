"""The baseline: a bare Temporal worker whose workflow runs N activities that do nothing."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "benchmark-raw"


@activity.defn(name="nothing")
async def nothing(number: int) -> int:
    return number


@workflow.defn(name="Raw")
class Raw:
    @workflow.run
    async def run(self, steps: int) -> int:
        for number in range(steps):
            await workflow.execute_activity(nothing, number, start_to_close_timeout=timedelta(seconds=60))
        return steps


async def main(address: str) -> None:
    client = await Client.connect(address)
    worker = Worker(client, task_queue=QUEUE, workflows=[Raw], activities=[nothing], max_concurrent_activities=50)
    print("ready", flush=True)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
