"""Rows of rollbacks, effects and lineages: what belongs to a path, and what another tenant cannot touch."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from models.database import Database
from models.repositories.effects import EffectRepository
from models.repositories.executions import ExecutionRepository
from models.repositories.lineages import bounds_of
from models.repositories.rollbacks import LeftBehind, RollbackRepository
from models.tables import Agent, ConsensusLog, Effect, Lineage, Rollback
from models.tables.base import new_id
from tests.support.tenants import add, add_execution, add_tenant

SOMEBODY = new_id()


def line(lineage: int, parent: int | None, number: int) -> Lineage:
    return Lineage(
        execution_id=SOMEBODY, tenant_id=SOMEBODY, lineage=lineage, parent_lineage=parent, parent_number=number
    )


@pytest.mark.parametrize(
    ("lineage", "number", "bounds"),
    [
        (0, 9, {0: 9}),
        (1, 9, {1: 9, 0: 3}),
        (2, 9, {2: 9, 1: 5, 0: 3}),
        # a flow's branches may stand at earlier numbers than the one at which their lineage began
        (2, 2, {2: 2, 1: 2, 0: 2}),
        (3, 4, {3: 4, 0: 1}),
    ],
)
def test_a_path_is_bounded_by_where_lineages_branched_off(lineage: int, number: int, bounds: dict[int, int]) -> None:
    rows = [line(0, None, 0), line(1, 0, 3), line(2, 1, 5), line(3, 0, 1)]
    assert bounds_of(rows, lineage, number) == bounds
    assert list(bounds_of(rows, lineage, number)) == list(bounds), "the youngest comes first"


@pytest.mark.parametrize("value", ["a\x00b", {"\x00": 1}, "\ud800", "😀", {"$json": "x"}, {"$json": "\x00"}, None, 1.5])
async def test_any_value_fits_the_column(database: Database, tenant: UUID, value: Any) -> None:
    row = await add_execution(database, tenant)
    async with database.transaction(tenant) as session:
        effects = EffectRepository(session, tenant)
        await effects.set_status(row.effect, "pending")
        await effects.settle(row.execution, "4", "done", result=value)
    async with database.transaction(tenant) as session:
        assert (await EffectRepository(session, tenant).get(row.effect)).result == value


async def test_what_is_known_of_a_call_stays(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    async with database.transaction(tenant) as session:
        await EffectRepository(session, tenant).settle(row.execution, "4", "failed", error="late")
    async with database.transaction(tenant) as session:
        assert (await session.get_one(Effect, row.effect)).status == "done"


async def test_what_a_lineage_had_when_it_was_left(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    left = Rollback(
        tenant_id=tenant,
        execution_id=row.execution,
        command_id="c",
        to_checkpoint_id=row.checkpoint,
        from_lineage=0,
        to_lineage=1,
        trigger_reason="r",
        status="completed",
        meta={"inputs": {"inline": {"a": 1}, "blob": None}},
    )
    await add(database, left, None)

    async def found(of: UUID, lineage: int) -> LeftBehind | None:
        async with database.transaction(tenant) as session:
            return await RollbackRepository(session, of).left_behind(row.execution, lineage)

    known = await found(tenant, 0)
    assert known is not None
    assert (known.inputs.inline, known.outputs) == ({"a": 1}, None)
    assert await found(tenant, 1) is None
    assert await found(await add_tenant(database), 0) is None


async def test_another_tenant_changes_nothing(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    async with database.transaction(tenant) as session:
        agent = await session.get_one(Agent, row.step)
        log = await session.get_one(ConsensusLog, row.log)
        agent.status, log.status = "running", "open"
        session.add_all([agent, log])
    async with database.transaction(tenant) as session:
        other = await add_tenant(database)
        effects, rollbacks = EffectRepository(session, other), RollbackRepository(session, other)
        await effects.set_status(row.effect, "undone")
        await rollbacks.fence(row.execution, 0)
        await rollbacks.close_questions(row.execution, [])
    async with database.transaction(tenant) as session:
        [agent] = await ExecutionRepository(session, tenant).agents(row.execution, 0)
        assert (agent.status, agent.attempt) == ("running", 1)
        assert (await session.get_one(Effect, row.effect)).status == "done"
        assert (await session.get_one(ConsensusLog, row.log)).status == "open"


async def test_fencing_moves_whoever_may_be_at_work(database: Database, tenant: UUID) -> None:
    row = await add_execution(database, tenant)
    statuses = ("completed", "running", "waiting", "failed", "pending")
    for index, status in enumerate(statuses, start=1):
        step = {"step_index": index, "name": "s", "framework": "langgraph", "attempt": 0 if status == "pending" else 1}
        await add(database, Agent(tenant_id=tenant, execution_id=row.execution, status=status, **step), None)
    async with database.transaction(tenant) as session:
        await RollbackRepository(session, tenant).fence(row.execution, 0)
    async with database.transaction(tenant) as session:
        agents = await ExecutionRepository(session, tenant).agents(row.execution, 0)
    assert [(a.status, a.attempt) for a in agents[1:]] == [
        ("completed", 1),
        ("pending", 2),
        ("waiting", 2),
        ("failed", 2),
        ("pending", 0),
    ]
