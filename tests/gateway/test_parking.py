"""A step whose call cannot be paid for: nothing failed, and what was answered stays answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import openai
import pytest
from sqlalchemy import select
from sqlmodel import col
from temporalio.testing import ActivityEnvironment

from activities.adapters.base import JsonObject, StepContext, StepResult
from activities.frameworks import Frameworks
from activities.loops import LoopThread
from activities.questions import Questions
from activities.records import Records
from activities.steps import StepActivities
from activities.stores.file import FileStore
from activities.stores.values import ValueStore
from activities.tools.registry import ToolRegistry
from models.tables import Agent, Execution
from models.wire import CheckpointRef, RunLimits, Step, StepInput, StepOutcome
from omium_core.settings import Settings
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat_request
from tests.gateway.test_money import most
from tests.support.database import PostgresServer, database_at
from tests.support.purse import Purse, new_purse

Agents = Callable[[openai.AsyncOpenAI], Awaitable[Any]]
#: What a call holds that may be answered with so many tokens.
LONG, SHORT = 400, 20


def held(tokens: int) -> int:
    return most(chat_request("long", max_tokens=tokens), tokens)


class TestsAgent:
    """An adapter whose only step is what the test gives it."""

    name = "langgraph"
    __test__ = False

    def __init__(self) -> None:
        self.work: Agents

    def start(self, definition: JsonObject, inputs: JsonObject) -> JsonObject:
        return {}

    async def run_step(self, definition: JsonObject, state: JsonObject, context: StepContext) -> StepResult:
        client = openai.AsyncOpenAI(base_url=context.model.base_url, api_key=context.model.api_key)
        await self.work(client)
        return StepResult({"done": True}, None, outputs={})


class World:
    def __init__(self, scene: Scene, purse: Purse, agent: TestsAgent, steps: StepActivities) -> None:
        self.scene, self.purse, self.steps = scene, purse, steps
        self.key = scene.new_step()
        self._agent = agent

    async def run(self, work: Agents) -> StepOutcome:
        """An attempt of the step."""
        self._agent.work = work
        version = await asyncio.to_thread(self.purse.rows.run, self._version)
        step = StepInput(
            tenant_id=str(self.purse.rows.tenant_id),
            execution_id=str(self.key.execution_id),
            version_id=str(version),
            framework="langgraph",
            lineage=0,
            step=Step(0, "work"),
            checkpoint=CheckpointRef(),
            limits=RunLimits(),
        )
        outcome = await ActivityEnvironment().run(self.steps.run_step, step)
        assert isinstance(outcome, StepOutcome)
        return outcome

    async def _version(self, db: Any) -> UUID:
        query = select(col(Execution.version_id)).where(col(Execution.id) == self.key.execution_id)
        found: UUID = (await db.execute(query)).scalar_one()
        return found

    def row(self) -> Agent:
        async def work(db: Any) -> Agent:
            found: Agent = (
                await db.execute(select(Agent).where(col(Agent.execution_id) == self.key.execution_id))
            ).scalar_one()
            return found

        return self.purse.rows.run(work)


@pytest.fixture
def purse(postgres: PostgresServer) -> Iterator[Purse]:
    with new_purse(postgres.url) as purse:
        purse.price_model()
        yield purse


@pytest.fixture
async def world(make_scene: MakeScene, purse: Purse, postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[World]:
    agent, loop, database = TestsAgent(), LoopThread("agents-of-tests"), database_at(postgres.url)
    values = ValueStore(FileStore(tmp_path), inline_bytes=1000)
    with make_scene(billing_enforced=True) as made:
        scene = Scene(made.gateway, purse.rows, made.model)
        frameworks = Frameworks(
            Settings(),
            tmp_path,
            ToolRegistry([]),
            loop,
            values,
            load=lambda *_: agent,  # type: ignore[arg-type]
        )
        steps = StepActivities(frameworks, made.gateway, Records(database), Questions(database, values), values, loop)
        yield World(scene, purse, agent, steps)
    loop.stop()
    await database.close()


async def asked(client: openai.AsyncOpenAI, text: str, tokens: int) -> None:
    await client.chat.completions.create(**chat_request(text, max_tokens=tokens))


async def test_step_parks_and_is_done_when_there_is_money(world: World, purse: Purse) -> None:
    purse.grant(held(LONG) - 1)

    async def work(client: openai.AsyncOpenAI) -> None:
        await asked(client, "shrt", SHORT)
        try:
            await asked(client, "long", LONG)
        except openai.APIError:
            # an agent that copes with everything does not cope with this
            await asyncio.Event().wait()

    parked = await asyncio.wait_for(world.run(work), 60)
    assert (parked.parked, parked.required, parked.budget_id, parked.done) == ("credits", held(LONG), "", False)
    row = world.row()
    assert (row.status, row.failures, row.attempt) == ("waiting", 0, 1)
    purse.grant(held(LONG))
    done = await world.run(work)
    assert (done.done, done.parked, done.model_calls) == (True, "", 2)
    entries = world.scene.journal(world.key)
    assert [(entry.attempt, entry.used_by) for entry in entries] == [(1, 2), (2, 2)]
    assert done.cost == purse.stands[2] == sum(entry.cost for entry in entries)
    assert world.row().failures == 0


async def test_budget_is_named_and_calls_under_way_are_kept(world: World, purse: Purse) -> None:
    """One of two calls cannot be paid for: the other is answered and settled before the step parks."""
    purse.grant(10 * held(LONG))
    budget = purse.limit(held(LONG) - 1)
    world.scene.model.set_script([{"gate": "g", "times": 1}])

    async def work(client: openai.AsyncOpenAI) -> None:
        await asyncio.gather(asked(client, "shrt", SHORT), asked(client, "long", LONG))

    attempt = asyncio.create_task(world.run(work))
    await asyncio.to_thread(world.scene.model.wait_until_held)
    assert not attempt.done()
    world.scene.model.release("g")
    parked = await asyncio.wait_for(attempt, 60)
    assert (parked.parked, parked.required, parked.budget_id) == ("budget", held(LONG), str(budget))
    (entry,) = world.scene.journal(world.key)
    assert purse.stands[1:] == (0, entry.cost)
