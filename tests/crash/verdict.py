"""Whether a steered trip ended right: its rows, the world that its tools changed, and what its model was asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from tests.crash import trips
from tests.crash.scenario import Operator
from tests.support.platform import Platform

Json = dict[str, Any]

INVERSES = {"book_room": "cancel_room", "hold_seat": "free_seat"}
#: A death is noted before it is dealt, and what the dead one had sent may arrive after it: at most so late, in seconds. The
#: next worker needs longer to begin.
LAST_GASP = 0.4


@dataclass(frozen=True)
class Journaled:
    """One entry of the call journal; `at` in seconds since the epoch."""

    execution_id: str
    lineage: int
    kind: str
    name: str
    at: float


def assert_ended_right(platform: Platform, operator: Operator, trip: str, deaths: Sequence[float]) -> None:
    """`deaths` are the times at which something was killed."""
    journal = asyncio.run(_journal(platform, operator))
    _assert_stands(operator, trip)
    _assert_world(operator, journal, deaths)
    _assert_model(operator, journal, deaths)


async def _journal(platform: Platform, operator: Operator) -> list[Journaled]:
    connection = await asyncpg.connect(platform.stack["database_url"])
    try:
        rows = await connection.fetch(
            "SELECT execution_id, lineage, kind, name, created_at FROM call_journal"
            " WHERE execution_id = ANY($1::uuid[]) ORDER BY created_at",
            [UUID(operator.execution_id), UUID(operator.fork_id)],
        )
    finally:
        await connection.close()
    return [
        Journaled(str(row["execution_id"]), row["lineage"], row["kind"], row["name"], row["created_at"].timestamp())
        for row in rows
    ]


def _assert_stands(operator: Operator, trip: str) -> None:
    run, fork = (operator.read(f"/executions/{one}") for one in (operator.execution_id, operator.fork_id))
    for execution, lineage in ((run, 1), (fork, 0)):
        assert (execution["status"], execution["lineage"], execution["error"]) == ("completed", lineage, None)
        assert f"Booked {trip}." in json.dumps(execution["outputs"])
        steps = [(agent["lineage"], agent["status"], agent["llm_calls"]) for agent in execution["agents"]]
        # a fork begins where it was made
        planned = [(0, "completed", trips.PLANNER_CALLS)] if execution is run else []
        assert steps == [*planned, (lineage, "completed", trips.CLERK_CALLS)]
        assert (execution["retry_count"], execution["pending_approvals"]) == (0, 0)
        # a death is no failure of a step
        assert operator.read("/failures", execution_id=execution["id"])["total"] == 0
        lineages = range(lineage + 1)
        asked = operator.read("/approvals", execution_id=execution["id"])["approvals"]
        assert sorted((row["lineage"], row["status"]) for row in asked) == [(n, "approved") for n in lineages]
        voted = operator.read(f"/executions/{execution['id']}/consensus")["logs"]
        assert [(row["lineage"], row["term"], row["status"]) for row in voted] == [
            (n, 1, "committed") for n in lineages
        ]
        assert [[ack["voter"] for ack in row["acks"]] for row in voted] == [[trips.VOTER] for _ in lineages]
    assert fork["forked_from"] == run["id"]
    done = operator.read(f"/executions/{run['id']}/rollbacks")["rollbacks"]
    assert [(row["status"], row["from_lineage"], row["to_lineage"]) for row in done] == [("completed", 0, 1)]
    told = operator.read(f"/executions/{run['id']}/events")["events"]
    counted = Counter(event["event_type"] for event in told)
    assert counted["effect.undone"] == len(INVERSES)
    assert (counted["execution.rolled_back"], counted["execution.completed"]) == (1, 2)


def _assert_world(operator: Operator, journal: list[Journaled], deaths: Sequence[float]) -> None:
    lines = [json.loads(line) for line in (operator.folder / "world.jsonl").read_text().splitlines()]
    calls: dict[str, list[Json]] = defaultdict(list)
    for line in lines:
        calls[line["key"]].append(line)
    undone = 0
    for execution_id in (operator.execution_id, operator.fork_id):
        effects = operator.read(f"/executions/{execution_id}/effects")["effects"]
        lineages = {0, 1} if execution_id == operator.execution_id else {0}
        made = sorted((effect["lineage"], effect["tool"]) for effect in effects)
        assert made == [(lineage, name) for lineage in sorted(lineages) for name in INVERSES]
        for effect in effects:
            key, is_undone = effect["idempotency_key"], effect["lineage"] < max(lineages)
            assert effect["status"] == ("undone" if is_undone else "done")
            assert {line["tool"] for line in calls.pop(key)} == {effect["tool"]}
            if is_undone:
                undone += 1
                assert {line["tool"] for line in calls.pop(f"undo-{key}")} == {INVERSES[effect["tool"]]}
    assert undone == len(INVERSES)
    # nothing was done that nobody knows of
    assert not calls
    newest_first = [line["tool"] for line in lines if line["key"].startswith("undo-")]
    assert newest_first == sorted(newest_first, reverse=True)
    _assert_repeated_by_deaths(lines, deaths)
    for entry in (entry for entry in journal if entry.kind == "tool"):
        made_by = {effect["idempotency_key"] for effect in _effects_of(operator, entry)}
        assert all(line["at"] <= entry.at for line in lines if line["key"] in made_by), "called after it was answered"


def _effects_of(operator: Operator, entry: Journaled) -> list[Json]:
    effects = operator.read(f"/executions/{entry.execution_id}/effects")["effects"]
    return [effect for effect in effects if (effect["lineage"], effect["tool"]) == (entry.lineage, entry.name)]


def _assert_repeated_by_deaths(lines: list[Json], deaths: Sequence[float]) -> None:
    """A call is made again with the same key only where somebody died in between."""
    last: dict[str, float] = {}
    for line in lines:
        before = last.get(line["key"])
        assert before is None or _died(deaths, before, line["at"]), f"{line} came twice"
        last[line["key"]] = line["at"]


def _died(deaths: Sequence[float], since: float, until: float) -> int:
    """How many died in between, or so little before that the first was still a call of theirs."""
    return sum(since - LAST_GASP <= death <= until for death in deaths)


def _assert_model(operator: Operator, journal: list[Journaled], deaths: Sequence[float]) -> None:
    """Between two answers in the journal the model is asked once, and once more for each death."""
    answered = [entry for entry in journal if entry.kind == "model"]
    lines = Counter((entry.execution_id, entry.lineage) for entry in answered)
    first = (operator.execution_id, 0)
    others = {(operator.execution_id, 1): trips.CLERK_CALLS, (operator.fork_id, 0): trips.CLERK_CALLS}
    assert lines == {first: trips.PLANNER_CALLS + trips.CLERK_CALLS, **others}
    asked = [(call.arrived_at, json.dumps(call.body, sort_keys=True)) for call in operator.calls()]
    begin = 0.0
    # the lineages and the fork come one after the other, and so do the calls in them
    for entry in answered:
        times = [at for at, _ in asked if begin < at <= entry.at]
        assert len({body for at, body in asked if at in times}) == 1, "another call came in between"
        assert len(times) <= 1 + _died(deaths, times[0], entry.at), "asked again, and nobody had died"
        begin = entry.at
    assert all(at <= begin for at, _ in asked)
