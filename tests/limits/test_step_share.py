"""A tenant's steps in flight stay below the places of a worker; what is beyond is given back, and costs no attempt."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.heartbeat import heartbeat, times_given_back
from omium_core.settings import Settings
from workers.local.temporal_server import binary
from workers.step_share import FIRST_PAUSE, LONGEST_PAUSE, Part, StepShare

QUEUE = "omium-test"


@dataclass
class OneStep:
    tenant_id: str


@workflow.defn(name="OneStepRun")
class OneStepRun:
    @workflow.run
    async def run(self, step: OneStep) -> int:
        return await workflow.execute_activity(
            "run_step", step, result_type=int, start_to_close_timeout=timedelta(seconds=60)
        )


class Steps:
    """Steps that last until they are let go."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.go = asyncio.Event()
        self.begun = asyncio.Condition()

    @activity.defn(name="run_step")
    async def run_step(self, step: OneStep) -> int:
        async with heartbeat(), self.begun:
            self.running[step.tenant_id] = self.running.get(step.tenant_id, 0) + 1
            self.most[step.tenant_id] = max(self.most.get(step.tenant_id, 0), self.running[step.tenant_id])
            self.begun.notify_all()
        await self.go.wait()
        self.running[step.tenant_id] -= 1
        return activity.info().attempt - times_given_back()

    async def until(self, tenant: str, count: int) -> None:
        async with asyncio.timeout(60), self.begun:
            await self.begun.wait_for(lambda: self.running.get(tenant, 0) == count)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=binary(), ui=False) as environment:
        yield environment.client


async def test_another_tenant_finds_a_place_at_once(client: Client) -> None:
    settings, steps = Settings(max_concurrent_steps=5, tenant_step_share=0.6), Steps()
    share = StepShare(settings)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[OneStepRun],
        activities=[steps.run_step],
        interceptors=[share],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=settings.max_concurrent_steps,
    ):

        async def start(tenant: str) -> int:
            result: int = await client.execute_workflow(
                OneStepRun.run, OneStep(tenant), id=str(uuid.uuid4()), task_queue=QUEUE
            )
            return result

        flood = [asyncio.create_task(start("flood")) for _ in range(12)]
        await steps.until("flood", 3)
        alone = asyncio.create_task(start("alone"))
        # the flood's steps are held: whoever begins now found a place that was kept free
        await steps.until("alone", 1)
        assert share.parts[QUEUE, "flood"].in_flight == share.most == 3
        steps.go.set()
        assert await alone == 1
        assert await asyncio.gather(*flood) == [1] * 12, "what was given back was no attempt"
    assert steps.most["flood"] == 3
    assert not share.parts


def test_what_is_given_back_comes_again_when_places_are_free() -> None:
    part = Part(in_flight=4, step_seconds=2.0)
    pauses = [part.pause(4, 1, now=100.0) for _ in range(10)]
    assert all(0.5 * n <= pause <= 0.6 * n for n, pause in enumerate(pauses, 1)), "one place every half second"
    assert part.pause(4, 1, now=200.0) <= 0.6, "what was promised long ago is over"


def test_what_is_given_back_again_and_again_comes_less_often() -> None:
    part = Part(in_flight=4, step_seconds=0.0)
    assert part.pause(4, 1, now=0.0) <= FIRST_PAUSE * 1.2
    for times in (20, 10_000):
        assert LONGEST_PAUSE <= part.pause(4, times, now=0.0) <= LONGEST_PAUSE * 1.2


def test_length_of_steps_is_learned() -> None:
    part = Part(in_flight=100)
    for _ in range(100):
        part.ended(30.0)
    assert part.step_seconds == pytest.approx(30.0, rel=0.01)
    assert all(part.pause(1, 1, now=0.0) <= LONGEST_PAUSE * 1.2 for _ in range(5))


@pytest.mark.parametrize(("places", "part", "most"), [(50, 0.8, 40), (1, 0.8, 1), (10, 1.0, 10), (3, 0.1, 1)])
def test_part_of_a_worker(places: int, part: float, most: int) -> None:
    assert StepShare(Settings(max_concurrent_steps=places, tenant_step_share=part)).most == most
