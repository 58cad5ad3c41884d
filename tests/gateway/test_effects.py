"""Calls that change the world are written down before they are made, and settled with their answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.adapters.base import StaleAttempt, ToolFailed
from activities.tools.functions import from_function
from models.tables import Effect, Execution
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, in_thread

#: The keys of the calls.
seen: list[str] = []
begun = threading.Event()
go_on = threading.Event()


def charge(cents: int, idempotency_key: str) -> dict[str, object]:
    """Charges a card."""
    seen.append(idempotency_key)
    if cents < 0:
        raise ValueError("too little")
    return {"charge_id": f"c{cents}", "odd": "\x00\ud800"} if cents == 13 else {"charge_id": f"c{cents}"}


def refund(charge_id: str, idempotency_key: str) -> None:
    """Refunds a charge."""


def slow(text: str) -> str:
    """Charges slowly."""
    begun.set()
    go_on.wait(60)
    return text


def look() -> str:
    """Looks."""
    return "seen"


@pytest.fixture
def scene(make_scene: MakeScene) -> Iterator[Scene]:
    seen.clear()
    begun.clear()
    go_on.clear()
    tools = [
        from_function(charge, inverse="refund"),
        refund,
        look,
        from_function(slow, reversible=False),
    ]
    with make_scene(tools=tools) as scene:
        yield scene
    go_on.set()


def effects(scene: Scene, execution_id: UUID) -> list[Effect]:
    async def work(db: AsyncSession) -> list[Effect]:
        query = select(Effect).where(col(Effect.execution_id) == execution_id).order_by(col(Effect.id))
        return list((await db.execute(query)).scalars())

    return scene.rows.run(work)


def set_reason(scene: Scene, execution_id: UUID, reason: str) -> None:
    async def work(db: AsyncSession) -> None:
        execution = await db.get_one(Execution, execution_id)
        execution.reason = reason
        db.add(execution)

    scene.rows.run(work)


def test_effect_is_there_while_its_call_runs_and_done_with_its_answer(scene: Scene) -> None:
    with scene.step() as (step, session):
        call = in_thread(lambda: scene.tools(session).call_sync("slow", {"text": "x"}))
        begun.wait(60)
        [effect] = effects(scene, step.execution_id)
        assert (effect.status, effect.tool, effect.arguments) == ("pending", "slow", {"text": "x"})
        assert (effect.reversible, effect.inverse, effect.step_index) == (False, None, 0)
        go_on.set()
        call.join(60)
        [effect] = effects(scene, step.execution_id)
        assert (effect.status, effect.result) == ("done", "x")


def test_answer_from_the_journal_writes_nothing(scene: Scene) -> None:
    step = scene.new_step()
    for _ in range(2):
        with scene.attempt(step) as session:
            scene.tools(session).call_sync("charge", {"cents": 5})
            scene.tools(session).call_sync("look", {})
    [effect] = effects(scene, step.execution_id)
    assert (effect.status, effect.reversible, effect.inverse) == ("done", True, "refund")
    assert (effect.idempotency_key, len(seen)) == (seen[0], 1)


def test_attempt_that_died_before_its_answer_was_kept_calls_again_under_the_same_key(scene: Scene) -> None:
    step = scene.new_step()
    for _ in range(2):
        with scene.attempt(step) as session:
            scene.tools(session).call_sync("charge", {"cents": 5})
        scene.rows.forget_journal(step.execution_id)
    assert seen[0] == seen[1]
    assert len(effects(scene, step.execution_id)) == 1


@pytest.mark.parametrize("as_answer", [True, False])
def test_tool_that_says_no_has_had_no_effect(scene: Scene, as_answer: bool) -> None:
    with scene.step() as (step, session):
        tools = scene.tools(session)
        if as_answer:
            assert tools.call_sync("charge", {"cents": -1}, errors_as_answers=True) == "Error: too little"
        else:
            with pytest.raises(ToolFailed):
                tools.call_sync("charge", {"cents": -1})
        # wrong arguments never reach the tool
        assert tools.call_sync("charge", {"cents": "x"}, errors_as_answers=True).startswith("Error: ")
        [effect] = effects(scene, step.execution_id)
        assert (effect.status, effect.error) == ("failed", "too little")


def test_results_that_a_column_cannot_hold_are_kept_all_the_same(scene: Scene) -> None:
    with scene.step() as (step, session):
        with pytest.raises(ToolFailed, match="not JSON data"):
            scene.tools(session).call_sync("charge", {"cents": 13})
        [odd] = effects(scene, step.execution_id)
        assert (odd.status, odd.result) == ("done", None)
        go_on.set()
        scene.tools(session).call_sync("slow", {"text": "a\x00b"})
        kept = effects(scene, step.execution_id)[1]
        assert (kept.arguments, kept.result) == ({"text": "a\x00b"}, "a\x00b")


def test_who_may_not_act_any_more_changes_nothing(scene: Scene) -> None:
    with scene.step() as (step, session):
        set_reason(scene, step.execution_id, "rollback")
        with pytest.raises(StaleAttempt):
            scene.tools(session).call_sync("charge", {"cents": 5})
        assert isinstance(session.outcome, StaleAttempt)
    assert (seen, effects(scene, step.execution_id)) == ([], [])
