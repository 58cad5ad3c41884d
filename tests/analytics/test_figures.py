"""Figures are those of the rows: before, during and after roll-ups, and when runs change after them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from activities.maintenance.rollups import RollupActivities
from models.database import Database
from models.repositories import analytics_durations
from models.repositories.analytics_rollups import roll_up_executions, roll_up_steps, tenants_to_roll_up
from models.repositories.analytics_span import Span
from models.tables import LedgerEntry
from models.tables.base import new_id
from tests.analytics import naive
from tests.analytics.naive import utc
from tests.analytics.runs import ENDED, MadeRun, MadeStep, add_workflow, change, fail, write
from tests.api.conftest import Caller, KeyMaker
from tests.support.tenants import add_tenant

#: Around the night in which Berlin's clocks go forward.
FIRST = utc(2026, 3, 27)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Asia/Kathmandu")
GROUPS = ("hour", "day", "week", "month", "workflow", "framework", "model")
#: As many examples as show something: each of them is a small installation.
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

moments = st.integers(0, 4 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds))
steps = st.builds(
    MadeStep,
    after=st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds)),
    model=st.sampled_from([None, "large", "small"]),
    calls=st.integers(0, 5),
    tokens=st.integers(0, 1000),
    cost=st.integers(0, 10**7),
    tools=st.integers(0, 3),
    size=st.integers(1, 10**6),
)


def runs_of(workflows: Sequence[UUID]) -> st.SearchStrategy[MadeRun]:
    return st.builds(
        MadeRun,
        workflow=st.sampled_from(workflows),
        framework=st.sampled_from(["langgraph", "crewai"]),
        status=st.sampled_from(["pending", "running", "paused", "rolled_back", *ENDED, "completed", "failed"]),
        made=moments,
        took=st.integers(0, 10**6).map(lambda milliseconds: timedelta(milliseconds=milliseconds)),
        failures=st.lists(st.sampled_from(["timeout", "hallucination"]), max_size=2),
        steps=st.lists(steps, max_size=3),
        retries=st.integers(0, 2),
        id=st.builds(new_id),
    )


async def asked(http: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await http.get(f"/api/v1/analytics/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["analytics"]
    found.pop("period")
    return found


def as_naive(found: dict[str, Any]) -> dict[str, Any]:
    """Without what only the platform knows, and in an order that does not depend on letters."""
    for name, groups in found.items():
        if name.startswith("by_"):
            for group in groups:
                for other in ("workflow_name", "credits", "api_calls"):
                    group.pop(other, None)
            groups.sort(key=lambda group: str(next(iter(group.values())) or ""))
    return {name: value for name, value in found.items() if name not in ("credits", "api_calls")}


async def check(http: httpx.AsyncClient, runs: Sequence[MadeRun], data: st.DataObject) -> None:
    """A question about runs, and one about what they used."""
    zone = data.draw(st.sampled_from(ZONES), "zone")
    if data.draw(st.booleans(), "days"):
        first = data.draw(st.dates(date(2026, 3, 26), date(2026, 3, 31)), "first day")
        last = first + timedelta(days=data.draw(st.integers(0, 4), "days after it"))
        chosen, given_as = naive.days(first, last, zone), (first.isoformat(), last.isoformat())
    else:
        start = data.draw(moments, "start")
        end = start + timedelta(seconds=data.draw(st.integers(0, 4 * 86_400), "seconds after it"))
        chosen = naive.between(start, end + timedelta(microseconds=1))
        given_as = (start.isoformat(), end.isoformat())
    period = {"start_date": given_as[0], "end_date": given_as[1], "timezone": zone}
    group = data.draw(st.sampled_from(GROUPS), "group")
    expected = naive.executions(runs, chosen, group, zone)
    assert as_naive(await asked(http, "executions", group_by=group, **period)) == expected
    unit = data.draw(st.sampled_from(GROUPS[:4]), "unit")
    assert as_naive(await asked(http, "usage", group_by=unit, **period)) == naive.usage(runs, chosen, unit, zone)


@settings(max_examples=40, deadline=None)
@given(
    start=st.datetimes(datetime(1971, 11, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=4)) | st.just(timedelta(days=1200)),
    zone=st.sampled_from([*ZONES, "Australia/Lord_Howe", "Africa/Monrovia"]),
    group=st.sampled_from(GROUPS[:5]),
    totals=st.booleans(),
)
def test_pieces_are_the_span_and_no_group_cuts_them(
    start: datetime, length: timedelta, zone: str, group: str, totals: bool
) -> None:
    strides = {"day": timedelta(days=1), "hour": timedelta(hours=1), "quarter": timedelta(minutes=15)}
    span = Span(start, start + length, zone)
    found = span.pieces(group, totals=totals)
    parts = sorted(zip(found["begins"], found["ends"], found["sizes"], strict=True))
    assert [parts[0][0], *(part[1] for part in parts)] == [*(part[0] for part in parts), span.end]
    assert parts[0][0] == start
    for begin, end, size in parts:
        if size == "rows":
            continue
        assert size.startswith("total_") == totals
        stride = strides[size.removeprefix("total_")]
        assert (begin - utc(1970, 1, 1)) % stride == (end - begin) % stride == timedelta(0)
        steps = range((end - begin) // stride)
        for step in steps[:100]:
            at = begin + step * stride
            last = at + stride - timedelta(microseconds=1)
            assert group == "workflow" or naive.period(at, group, zone) == naive.period(last, group, zone)


@FEW
@given(data=st.data())
async def test_figures_are_those_of_the_rows(
    database: Database, as_caller: Caller, key_of: KeyMaker, data: st.DataObject
) -> None:
    tenant = await add_tenant(database)
    workflows = [await add_workflow(database, tenant) for _ in range(2)]
    runs = data.draw(st.lists(runs_of(workflows), min_size=1, max_size=8, unique_by=lambda run: run.id), "runs")
    for run in runs:
        await write(database, tenant, run)
    async with as_caller(await key_of(tenant, "read")) as http:
        await check(http, runs, data)
        for event in data.draw(st.lists(st.sampled_from(["roll up", "some", "change", "fail"]), max_size=6), "events"):
            run = data.draw(st.sampled_from(runs), "run")
            if event == "roll up":
                await RollupActivities(database).roll_up_now(tenant, batch=3)
            elif event == "some":
                async with database.transaction(tenant) as session:
                    await roll_up_executions(session, tenant, 2)
                    await roll_up_steps(session, tenant, 2)
            elif event == "change":
                await change(database, tenant, run, data.draw(st.sampled_from(["running", *ENDED])), run.retries + 1)
            else:
                await fail(database, tenant, run, "late")
            await check(http, runs, data)


@pytest.fixture
def estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percentiles as of very many runs."""
    monkeypatch.setattr(analytics_durations, "EXACT", 0)


@pytest.mark.usefixtures("estimated")
async def test_percentiles_of_very_many_are_one_percent_off_at_most(
    database: Database, http: httpx.AsyncClient, tenant: UUID
) -> None:
    workflow = await add_workflow(database, tenant)
    runs = [
        MadeRun(workflow, "langgraph", "completed", FIRST + timedelta(hours=n), timedelta(milliseconds=7 * 2**n))
        for n in range(21)
    ]
    for run in runs:
        await write(database, tenant, run)
    for batch in (0, 5, 100):
        async with database.transaction(tenant) as session:
            await roll_up_executions(session, tenant, batch)
        found = await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27")
        assert found["p50_duration_ms"] == pytest.approx(7 * 2**10, rel=0.011)
        assert found["p95_duration_ms"] == pytest.approx(7 * 2**19, rel=0.011)
        assert found["by_day"][0]["p50_duration_ms"] == found["p50_duration_ms"]
    # a day of Berlin is cut out of two of UTC: of the whole there is an estimate, of its days there is none
    there = await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27", timezone="Europe/Berlin")
    assert there["p50_duration_ms"] is not None
    assert there["by_day"][0]["p50_duration_ms"] is None


async def test_two_who_roll_up_at_once_count_nothing_twice(
    database: Database, http: httpx.AsyncClient, tenant: UUID
) -> None:
    workflow = await add_workflow(database, tenant)
    for n in range(4):
        await write(database, tenant, MadeRun(workflow, "langgraph", "completed", FIRST + timedelta(hours=n)))

    async def roll_up(batch: int) -> int:
        async with database.transaction(tenant) as session:
            return await roll_up_executions(session, tenant, batch)

    async with database.transaction(tenant) as session:
        assert await roll_up_executions(session, tenant, 3) == 3
        # what the first one is at is left to it; they share a day, so the second one ends after it
        second = asyncio.create_task(roll_up(4))
        assert (await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27"))["successful"] == 4
    assert await second == 1
    assert (await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27"))["successful"] == 4


async def test_a_run_that_changes_while_it_is_rolled_up_counts_once(
    database: Database, http: httpx.AsyncClient, tenant: UUID
) -> None:
    run = MadeRun(await add_workflow(database, tenant), "langgraph", "failed", FIRST)
    await write(database, tenant, run)
    async with database.transaction(tenant) as session:
        assert await roll_up_executions(session, tenant, 1) == 1
        # waits for the row, and finds it rolled up
        retried = asyncio.create_task(change(database, tenant, run, "completed", 1))
        await asyncio.sleep(0)
        assert (await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27"))["failed"] == 1
    await retried
    found = await asked(http, "executions", start_date="2026-03-27", end_date="2026-03-27")
    assert (found["total_executions"], found["failed"], found["successful"]) == (1, 0, 1)


async def test_tenants_are_rolled_up_when_it_is_worth_it(database: Database, tenant: UUID) -> None:
    workflow = await add_workflow(database, tenant)
    for _ in range(2):
        await write(database, tenant, MadeRun(workflow, "langgraph", "completed", FIRST))
    async with database.system() as session:
        assert tenant in await tenants_to_roll_up(session, 2)
        assert tenant not in await tenants_to_roll_up(session, 3)
    assert await RollupActivities(database).roll_up_now(tenant) == {"executions": 2, "steps": 0, "costs": 0}
    async with database.system() as session:
        assert tenant not in await tenants_to_roll_up(session, 1)


entries = st.tuples(
    moments,
    st.sampled_from([None, 0, 1]),
    st.sampled_from([("model", "large"), ("model", "small"), ("tool", "search"), ("step", None)]),
    st.sampled_from([None, "writer", "critic"]),
    st.integers(0, 10**8),
)


@FEW
@given(
    made=st.lists(st.one_of(entries, st.just("roll up")), max_size=12), unit=st.sampled_from(["hour", "day", "month"])
)
async def test_costs_are_those_of_the_ledger(
    database: Database, as_caller: Caller, key_of: KeyMaker, made: list[Any], unit: str
) -> None:
    tenant = await add_tenant(database)
    workflows = [await add_workflow(database, tenant, name) for name in ("one", "two")]
    spent: dict[str, Counter[Any]] = defaultdict(Counter)
    async with as_caller(await key_of(tenant, "read")) as http:
        for number, entry in enumerate(made, 1):
            if entry == "roll up":
                await RollupActivities(database).roll_up_now(tenant, batch=2)
                continue
            at, workflow, (kind, resource), agent, amount = entry
            await _charge(database, tenant, number, at, workflows, entry)
            spent["total"][None] += amount
            spent[unit][naive.period(at, unit, "UTC")] += amount
            spent["workflow"][None if workflow is None else str(workflows[workflow])] += amount
            spent["agent"][agent] += amount
            spent["type"][kind] += amount
            if kind == "model":
                spent["model"][resource] += amount
            found = await asked(http, "costs", start_date="2026-03-27", end_date="2026-04-01", group_by=unit)
            assert found["total_credits"] == pytest.approx(spent["total"][None] / 10**6, abs=1e-9)
            for name in (unit, "workflow", "agent", "type", "model"):
                groups = {next(iter(group.values())): group["credits"] for group in found[f"by_{name}"]}
                assert groups == {key: value / 10**6 for key, value in spent[name].items()}, name


async def _charge(
    database: Database, tenant: UUID, number: int, at: datetime, workflows: Sequence[UUID], entry: tuple[Any, ...]
) -> None:
    _, workflow, (kind, resource), agent, amount = entry
    async with database.transaction(tenant) as session:
        session.add(
            LedgerEntry(
                tenant_id=tenant,
                # as the ledger gives them: without a gap
                number=1 + (await session.execute(_NEWEST, {"tenant": tenant})).scalar_one(),
                id=new_id(),
                idempotency_key=f"charge {number}",
                kind="settle",
                available=0,
                held=-amount,
                spent=amount,
                outside=0,
                unpaid=0,
                balance_after=0,
                workflow_id=None if workflow is None else workflows[workflow],
                usage_type=kind,
                resource=resource,
                agent=agent,
                created_at=at.astimezone(UTC),
            )
        )


_NEWEST = text("SELECT coalesce(max(number), 0) FROM ledger_entries WHERE tenant_id = :tenant")
