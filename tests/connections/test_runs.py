"""One kickoff for a step, whatever happens to its attempts: the door to external agents on a real database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import BadDefinition, ExternalResult, StaleAttempt, StepError
from activities.connections.failures import ExternalFailed, ExternalRefused, ExternalUnavailable, ExternalUnknown
from activities.gateway import external
from models.repositories.connections import ConnectionRepository
from models.repositories.effects import EffectRepository
from models.repositories.journal import StepKey
from models.tables import Effect, ExternalConnection, Failure
from models.tables.base import new_id
from tests.connections.doubles import TOKEN, Double, Odd
from tests.gateway.support import Scene, running_scene
from tests.support.database import PostgresServer, Rows
from tests.support.model_server import ModelServer

DONE = {"status": "COMPLETED", "result": "Tea.", "token_usage": {"prompt_tokens": 5, "completion_tokens": 2}}
FAILED = {"status": "ERROR", "error": "the kettle is empty", "token_usage": 3}


@pytest.fixture(scope="module")
def rows(postgres: PostgresServer) -> Iterator[Rows]:
    rows = Rows(postgres.url)
    yield rows

    async def clear(db: AsyncSession) -> None:
        # a provider would serve the tests of others, whose tenant is the same
        await db.execute(delete(ExternalConnection).where(col(ExternalConnection.tenant_id) == rows.tenant_id))

    rows.run(clear)
    rows.close()


@pytest.fixture(scope="module")
def _scene(rows: Rows, postgres: PostgresServer) -> Iterator[Scene]:
    settings: dict[str, Any] = {
        "http_allow_private": "127.0.0.1",
        "external_poll_interval": 0.02,
        "external_poll_max_interval": 0.05,
        "external_patience": 1.0,
        "connection_timeout": 3.0,
    }
    with ModelServer() as model, running_scene(rows, model, postgres.url, **settings) as scene:
        yield scene


class World:
    """A step of a new execution that runs an agent behind a connection."""

    def __init__(self, scene: Scene, double: Double) -> None:
        self.scene, self.double, self.rows = scene, double, scene.rows
        self.step = scene.new_step()
        self._names = itertools.count()

    def connect(self, kind: str = "crewai_aop", *, token: str = TOKEN, **fields: Any) -> ExternalConnection:
        cipher = self.rows.wait(self.rows.database.keys.cipher(self.rows.tenant_id))
        values = {"connection_name": str(new_id()), "crew_url": self.double.url, **fields}
        row = ExternalConnection(
            tenant_id=self.rows.tenant_id,
            connection_type=kind,
            bearer_token_encrypted=cipher.seal_token(token),
            **values,
        )
        self.rows.run(lambda db: ConnectionRepository(db, self.rows.tenant_id).add(row))
        return row

    def change_token(self, row_id: UUID, token: str) -> None:
        cipher = self.rows.wait(self.rows.database.keys.cipher(self.rows.tenant_id))

        async def work(db: Any) -> None:
            row = await ConnectionRepository(db, self.rows.tenant_id).get(row_id)
            row.bearer_token_encrypted = cipher.seal_token(token)
            db.add(row)

        self.rows.run(work)

    async def run(
        self, connection: str, *, stop_asked: Callable[[], bool] = lambda: False, **wish: Any
    ) -> ExternalResult:
        """One attempt of the step."""
        with self.scene.attempt(self.step) as session:
            door = self.scene.gateway.external(session, stop_asked)
            asked = {"options": {}, "harmless": False, "progress": lambda _: None, **wish}
            return await door.run(connection, asked.pop("inputs", {"topic": "tea"}), **asked)

    @asynccontextmanager
    async def running(self, connection: str, **wish: Any) -> AsyncIterator[asyncio.Task[ExternalResult]]:
        """An attempt that has started its agent; it is cancelled at the end."""
        attempt = asyncio.create_task(self.run(connection, **wish))
        started = self.started()
        await self.until(lambda: self.started() > started or any(one.status == "done" for one in self.effects()))
        try:
            yield attempt
        finally:
            attempt.cancel()
            await asyncio.wait([attempt])

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not happen")

    def started(self) -> int:
        runs = [run for thread in self.double.threads.values() for run in thread["runs"]]
        return len(self.double.crews) + len(runs) + len(self.double.runs)

    def effects(self) -> list[Effect]:
        step, tenant = self.step, self.rows.tenant_id
        return list(self.rows.run(lambda db: EffectRepository(db, tenant).of_run(step.execution_id)))

    def decide(self, failure: StepError) -> None:
        """The failure stands in the run's records: somebody has decided to try again."""
        row = Failure(
            tenant_id=self.rows.tenant_id,
            execution_id=self.step.execution_id,
            lineage=self.step.lineage,
            step_index=self.step.step_index,
            failure_type=failure.failure_type,
            error_message=str(failure),
        )

        async def work(db: Any) -> None:
            db.add(row)

        self.rows.run(work)


@pytest.fixture
def world(_scene: Scene, double: Double, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(external, "_SETTLE", 0.1)
    monkeypatch.setattr(external, "_GRACE", 2.0)
    return World(_scene, double)


async def test_a_run_from_its_kickoff_to_its_end(world: World, double: Double) -> None:
    row = world.connect()
    double.at_once = DONE
    ran = await world.run(row.connection_name)
    assert (ran.kickoff_id, ran.status, ran.text, ran.tokens) == ("kick-1", "COMPLETED", "Tea.", 7)
    [entry] = world.scene.journal(world.step)
    assert (entry.kind, entry.input_tokens, entry.output_tokens, entry.cost) == ("tool", 5, 2, 0)
    [effect] = world.effects()
    assert (effect.status, effect.reversible, effect.tool) == ("done", False, "external:crewai_aop")
    assert world.started() == 1


async def test_a_repeated_attempt_asks_nobody(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.at_once = DONE
    ran = await world.run(name)
    before = len(double.asked)
    double.crews.clear()
    assert await world.run(name) == ran
    assert len(double.asked) == before


@pytest.mark.parametrize("kind", ["crewai_aop", "langgraph_cloud"])
async def test_another_worker_follows_the_same_run(world: World, double: Double, kind: str) -> None:
    """The first attempt ends as with its worker: the agent is left alone."""
    name = world.connect(kind).connection_name
    async with world.running(name):
        pass
    assert not any("cancel" in one.path for one in double.asked)
    async with world.running(name) as attempt:
        double.finish(DONE)
        for thread in double.threads.values():
            thread["runs"][0]["status"] = "success"
            thread["values"] = {"messages": [{"content": "Tea."}]}
        ran = await asyncio.wait_for(attempt, 60)
    assert ran.text == "Tea."
    assert world.started() == 1


@pytest.mark.parametrize(
    "odd",
    [Odd(after=True, breaks_off=True), Odd(after=True, headers={"content-encoding": "br"})],
    ids=["broken-off", "unreadable"],
)
async def test_a_lost_answer_is_no_second_kickoff(world: World, double: Double, odd: Odd) -> None:
    name = world.connect().connection_name
    double.script["POST /kickoff"].append(odd)
    with pytest.raises(ExternalUnknown, match=r"127\.0\.0\.1 (broke off|answered compressed)") as raised:
        await world.run(name)
    # as after a crash before the failure was told
    with pytest.raises(ExternalUnknown):
        await world.run(name)
    assert (world.started(), raised.value.retryable) == (1, False)
    assert [effect.status for effect in world.effects()] == ["pending"]
    # somebody looked at the service and wants another one
    world.decide(raised.value)
    double.at_once = DONE
    assert (await world.run(name)).kickoff_id == "kick-2"
    assert world.started() == 2


async def test_a_service_that_honours_keys_is_asked_again_with_the_same(world: World, double: Double) -> None:
    name = world.connect(meta={"idempotent": True}).connection_name
    double.honours_keys = True
    double.at_once = DONE
    double.script["POST /kickoff"].append(Odd(after=True, breaks_off=True))
    with pytest.raises(ExternalUnavailable):
        await world.run(name)
    assert (await world.run(name)).text == "Tea."
    assert world.started() == 1
    assert len({one.headers["idempotency-key"] for one in double.requests("POST", "/kickoff")}) == 1


async def test_a_lost_answer_is_looked_up_where_it_can_be(world: World, double: Double) -> None:
    name = world.connect("langgraph_cloud").connection_name
    double.at_once = {"messages": [{"content": "Tea."}]}
    double.script["POST /threads/*/runs"].append(Odd(500, after=True))
    with pytest.raises(ExternalUnavailable):
        await world.run(name)
    assert (await world.run(name)).text == "Tea."
    assert world.started() == 1


async def test_a_run_that_failed_is_told_and_not_repeated(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.at_once = FAILED
    for _ in range(2):
        with pytest.raises(ExternalFailed, match="the kettle is empty") as raised:
            await world.run(name)
    assert world.started() == 1
    world.decide(raised.value)
    with pytest.raises(ExternalFailed):
        await world.run(name)
    assert world.started() == 2
    world.decide(raised.value)
    double.at_once = DONE
    assert (await world.run(name)).kickoff_id == "kick-3"
    assert sum(entry.input_tokens for entry in world.scene.journal(world.step)) == 3 + 3 + 5


async def test_what_was_never_taken_is_tried_again(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.script["POST /kickoff"].append(Odd(429, headers={"retry-after": "3"}))
    with pytest.raises(ExternalUnavailable) as raised:
        await world.run(name)
    assert raised.value.retry_after == 3.0
    double.at_once = DONE
    assert (await world.run(name)).kickoff_id == "kick-1"


async def test_a_refusal_is_told_without_the_token(world: World, double: Double) -> None:
    row = world.connect(token="canary-of-a-wrong-token")
    with pytest.raises(ExternalRefused, match="answered 401") as raised:
        await world.run(row.connection_name)
    assert "canary" not in str(raised.value)
    assert [(one.status, "canary" in str(one.error)) for one in world.effects()] == [("failed", False)]
    # with another token the same step goes on
    world.change_token(row.id, TOKEN)
    double.at_once = DONE
    assert (await world.run(row.connection_name)).text == "Tea."


async def test_a_token_that_changes_while_the_agent_runs(world: World, double: Double) -> None:
    row = world.connect()
    async with world.running(row.connection_name) as attempt:
        double.finish(DONE)
        double.token = "a-new-token-of-the-crew"
        world.change_token(row.id, double.token)
        assert (await asyncio.wait_for(attempt, 60)).text == "Tea."


async def test_a_service_that_is_away_for_a_while_is_waited_for(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.script["GET /status/kick-1"] += [Odd(502), Odd(200, b"<html>"), Odd(429), Odd(breaks_off=True)]
    double.at_once = DONE
    assert (await world.run(name)).text == "Tea."


async def test_a_service_that_stays_away(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.script["GET /status/kick-1"] += [Odd(502)] * 100
    with pytest.raises(ExternalUnavailable):
        await world.run(name)
    double.script.clear()
    double.finish(DONE)
    assert (await world.run(name)).text == "Tea."
    assert world.started() == 1


async def test_a_stale_attempt_starts_nothing(world: World, double: Double) -> None:
    name = world.connect().connection_name
    with world.scene.attempt(world.step) as old:
        world.rows.begin_attempt(world.step)
        door = world.scene.gateway.external(old, lambda: False)
        with pytest.raises(StaleAttempt):
            await door.run(name, {}, options={}, harmless=False, progress=lambda _: None)
    assert world.started() == 0


async def test_stopping_tells_the_service_where_it_can_be_told(world: World, double: Double) -> None:
    name = world.connect("langgraph_cloud").connection_name
    async with world.running(name, stop_asked=lambda: True):
        pass
    await world.until(lambda: len(world.scene.journal(world.step)) == 1)
    [first] = next(iter(double.threads.values()))["runs"]
    assert first["status"] == "interrupted"
    # the step runs again: what we stopped ourselves is no failure, and is started anew
    double.at_once = {"messages": [{"content": "Tea."}]}
    assert (await world.run(name)).text == "Tea."
    assert world.started() == 2


async def test_a_crew_cannot_be_stopped_and_is_followed_on(world: World, double: Double) -> None:
    name = world.connect().connection_name
    async with world.running(name, stop_asked=lambda: True):
        pass
    double.finish(DONE)
    assert (await world.run(name)).text == "Tea."
    assert world.started() == 1


async def test_another_lineage_starts_another_run(world: World, double: Double) -> None:
    name = world.connect().connection_name
    double.at_once = DONE
    await world.run(name)
    world.rows.move_to_lineage(world.step.execution_id, 1)
    world.step = StepKey(world.step.execution_id, 1, world.step.step_index)
    assert (await world.run(name, harmless=True)).kickoff_id == "kick-2"
    assert [effect.reversible for effect in world.effects()] == [True, False]


@pytest.mark.parametrize("case", ["nothing", "off", "two", "provider"])
async def test_connections_that_cannot_be_meant(world: World, case: str) -> None:
    name = str(new_id())
    told = {
        "nothing": "There is no connection",
        "off": "is switched off",
        "two": "2 connections are called",
        "provider": "There is no connection",
    }
    if case == "off":
        world.connect(connection_name=name, is_active=False)
    for _ in range(2 if case == "two" else 0):
        world.connect(connection_name=name)
    if case == "provider":
        world.connect("model_provider", connection_name=name)
    with pytest.raises(BadDefinition, match=told[case]):
        await world.run(name)
    assert world.effects() == []
