"""What calls cost: held before they are made, settled once with their answers, and not made when they cannot be paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import text

from activities.adapters.base import ToolFailed, Unaffordable
from activities.gateway.bounds import bound
from activities.gateway.session import StepSession
from models.repositories.journal import JournalRepository, StepKey
from omium_core.credits import MICRO
from tests.gateway.conftest import MakeScene
from tests.gateway.support import Scene, chat, chat_request, completion, in_thread, odd_provider, running_scene, text_of
from tests.support.database import PostgresServer, Rows
from tests.support.loopback import wait_until
from tests.support.model_server import ModelServer
from tests.support.purse import INPUT, OUTPUT, Purse, new_purse

done: list[str] = []


def book(seat: str) -> str:
    """Books a seat."""
    done.append(seat)
    return f"{seat} is booked"


def break_down(reason: str) -> str:
    """Fails."""
    raise ToolFailed(reason)


@pytest.fixture(scope="module")
def enforcing(rows: Rows, _model_server: ModelServer, postgres: PostgresServer) -> Iterator[Scene]:
    settings: dict[str, Any] = {"billing_enforced": True, "tools": [book, break_down]}
    with running_scene(rows, _model_server, postgres.url, **settings) as scene:
        yield scene


@pytest.fixture
def purse(postgres: PostgresServer) -> Iterator[Purse]:
    with new_purse(postgres.url) as purse:
        yield purse


@pytest.fixture
def scene(enforcing: Scene, model: ModelServer, purse: Purse) -> Scene:
    """The gateway of the module, and steps of the tenant of the test."""
    return Scene(enforcing.gateway, purse.rows, model)


def most(request: dict[str, Any], outputs: int) -> int:
    return INPUT * bound("chat/completions", request).input + OUTPUT * outputs


def test_call_is_held_settled_and_replayed_for_nothing(scene: Scene, purse: Purse) -> None:
    price = purse.price_model()
    purse.grant(MICRO)
    step = scene.new_step()
    request = chat_request(max_tokens=100)
    scene.model.set_script([{"gate": "g"}])
    with scene.attempt(step) as session:
        asking = in_thread(lambda: scene.client(session).chat.completions.create(**request))
        scene.model.wait_until_held()
        held = most(request, 100)
        assert purse.stands == (MICRO - held, held, 0)
        scene.model.release("g")
        asking.join(60)
        (entry,) = scene.journal(step)
        assert session.cost == entry.cost == INPUT * entry.input_tokens + OUTPUT * entry.output_tokens > 0
    assert purse.stands == (MICRO - entry.cost, 0, entry.cost)
    assert purse.kinds == ["grant", "reserve", "settle"]
    settled = purse.settled
    assert (settled.agent, settled.resource, settled.price_id) == ("step", "m", price)
    assert (settled.input_tokens, settled.output_tokens) == (entry.input_tokens, entry.output_tokens)
    with scene.attempt(step) as session:
        scene.client(session).chat.completions.create(**request)
        assert session.cost == entry.cost
    assert purse.kinds == ["grant", "reserve", "settle"]


def test_call_that_cannot_be_paid_for_is_not_made(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    request = chat_request(max_tokens=10)
    purse.grant(most(request, 10) - 1)
    before = purse.stands
    with scene.step() as (_, session):
        url = f"{scene.gateway.endpoint(session).base_url}/chat/completions"
        answer = httpx.post(url, json=request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_credits")
        assert answer.headers["x-should-retry"] == "false"
        assert isinstance(session.outcome, Unaffordable)
        assert (session.outcome.failure_type, session.outcome.required) == ("credits", most(request, 10))
        # not even what would be cheaper: the step has to stop
        assert httpx.post(url, json=chat_request("x", max_tokens=1)).status_code == 402
    assert scene.model.calls == []
    assert purse.stands == before
    purse.grant(1)
    with scene.step() as (_, session):
        chat(scene.client(session), max_tokens=10)


def test_budget_refuses_and_is_named(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    budget = purse.limit(10)
    with scene.step() as (_, session):
        with pytest.raises(openai.APIStatusError) as refused:
            chat(scene.client(session), max_tokens=10)
        assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
        assert isinstance(session.outcome, Unaffordable)
        assert session.outcome.budget_id == str(budget)
    assert scene.model.calls == []


@pytest.mark.parametrize("status", [400, 500])
def test_call_that_fails_costs_nothing(scene: Scene, purse: Purse, status: int) -> None:
    purse.price_model()
    purse.grant(MICRO)
    scene.model.set_script([{"reply": {"error": {"status": status}}}])
    with scene.step() as (_, session), pytest.raises(openai.APIStatusError):
        chat(scene.client(session))
    assert purse.stands == (MICRO, 0, 0)
    assert purse.kinds == ["grant", "reserve", "release"]


def test_model_without_price_is_refused(scene: Scene, purse: Purse) -> None:
    purse.price_model("other")
    purse.grant(MICRO)
    with scene.step() as (_, session):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            chat(scene.client(session))
        assert refused.value.code == "model_without_price"
        assert session.rejection is not None
        assert not session.rejection.retryable
        assert session.outcome is None
    assert scene.model.calls == []
    assert purse.kinds == ["grant"]


def test_price_for_any_model_and_prices_of_the_settings(scene: Scene, purse: Purse) -> None:
    purse.grant(MICRO)
    with scene.step() as (step, session):
        chat(scene.client(session), model="priced")
        (entry,) = scene.journal(step)
        assert entry.cost == 100 * entry.input_tokens + 200 * entry.output_tokens
        purse.price_model("*")
        chat(scene.client(session))
        entry = scene.journal(step)[1]
        assert entry.cost == INPUT * entry.input_tokens + OUTPUT * entry.output_tokens


def test_new_price_holds_for_the_next_call_and_not_for_one_under_way(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    scene.model.set_script([{"gate": "g", "times": 1}])
    with scene.step() as (step, session):
        asking = in_thread(lambda: chat(scene.client(session), "first", max_tokens=100))
        scene.model.wait_until_held()
        purse.price_model(factor=10)
        scene.model.release("g")
        asking.join(60)
        chat(scene.client(session), "again", max_tokens=100)
        costs = [
            entry.cost / (INPUT * entry.input_tokens + OUTPUT * entry.output_tokens) for entry in scene.journal(step)
        ]
    assert costs == [1, 10]


def test_calls_of_a_step_wait_for_what_the_others_leave(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    requests = [chat_request(str(n), max_tokens=50) for n in range(4)]
    purse.grant(most(requests[0], 50) + 1000)
    with scene.step() as (step, session):

        async def all_at_once() -> list[Any]:
            client = scene.async_client(session)
            return await asyncio.gather(*(client.chat.completions.create(**request) for request in requests))

        assert len(asyncio.run(all_at_once())) == 4
        assert session.outcome is None
        spent = sum(entry.cost for entry in scene.journal(step))
    assert purse.stands == (most(requests[0], 50) + 1000 - spent, 0, spent)


@pytest.mark.parametrize(
    ("stream", "usage"),
    [(False, {}), (True, {}), (False, {"prompt_tokens": 10**30, "completion_tokens": 2**31}), (False, [-1, "many"])],
)
def test_usage_that_is_not_reported_is_estimated(make_scene: MakeScene, purse: Purse, stream: bool, usage: Any) -> None:
    """And what cannot be. A token for four bytes of what was asked and said, and never more than was held."""
    purse.price_model()
    purse.grant(MICRO)
    said = "answer " * 4
    delta = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": "stop"}]}
    whole = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}]}
    body = b"data: " + completion(**delta) + b"\n\ndata: [DONE]\n\n" if stream else completion(**whole, usage=usage)
    with (
        odd_provider(body, content_type="text/event-stream" if stream else "application/json") as (url, _),
        make_scene(llm_base_url=url, billing_enforced=True) as made,
    ):
        scene = Scene(made.gateway, purse.rows, made.model)
        with scene.step() as (step, session):
            answer = chat(scene.client(session), "question?", stream=stream)
            list(answer) if stream else text_of(answer)
            entry = scene.journal(step)[0]
    assert (entry.input_tokens, entry.output_tokens) == (0, 0)
    settled = purse.settled
    assert settled.output_tokens == len(said) // 4
    assert settled.input_tokens is not None
    assert 0 < settled.input_tokens < 20
    assert settled.spent == entry.cost == INPUT * settled.input_tokens + OUTPUT * settled.output_tokens
    assert settled.description is not None


def test_cached_input_costs_what_cached_input_costs(make_scene: MakeScene, purse: Purse) -> None:
    purse.price("model", "m", input_per_1m=10, cached_per_1m=Decimal("2.5"), output_per_1m=20, per_call=1)
    purse.grant(10 * MICRO)
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 41}}
    with odd_provider(completion(usage=usage)) as (url, _), make_scene(llm_base_url=url) as made:
        scene = Scene(made.gateway, purse.rows, made.model)
        with scene.step() as (_, session):
            chat(scene.client(session))
    assert purse.settled.spent == MICRO + 590 + 103 + 100
    assert (purse.settled.input_tokens, purse.settled.cached_tokens) == (100, 41)


def test_tool_is_paid_by_the_call_and_only_if_it_works(scene: Scene, purse: Purse) -> None:
    purse.price("tool", "*", per_call=2)
    purse.grant(5 * MICRO)
    done.clear()
    with scene.step() as (_, session):
        tools = scene.tools(session)
        tools.call_sync("book", {"seat": "1A"})
        assert tools.call_sync("break_down", {"reason": "r"}, errors_as_answers=True).startswith("Error")
        assert purse.stands == (3 * MICRO, 0, 2 * MICRO)
        with pytest.raises(ToolFailed):
            tools.call_sync("break_down", {"reason": "r"})
    assert purse.stands == (3 * MICRO, 0, 2 * MICRO)
    with scene.step() as (_, session):
        tools = scene.tools(session)
        tools.call_sync("book", {"seat": "1B"})
        with pytest.raises(Unaffordable):
            tools.call_sync("book", {"seat": "1C"})
        assert isinstance(session.outcome, Unaffordable)
    assert done == ["1A", "1B"]


def test_what_is_free_leaves_no_trace(scene: Scene, make_scene: MakeScene, purse: Purse) -> None:
    with make_scene(tools=[book]) as made:
        free = Scene(made.gateway, purse.rows, made.model)
        with free.step() as (step, session):
            chat(free.client(session))
            free.tools(session).call_sync("book", {"seat": "1A"})
            assert [entry.cost for entry in free.journal(step)] == [0, 0]
    assert purse.entries == []


def test_answer_of_two_processes_is_settled_once(scene: Scene, make_scene: MakeScene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    scene.model.set_script([{"gate": "g"}])
    step = scene.new_step()
    with make_scene(billing_enforced=True) as made, scene.attempt(step) as old:
        other = Scene(made.gateway, purse.rows, made.model)
        threads = [in_thread(lambda: chat(scene.client(old), max_tokens=100))]
        scene.model.wait_until_held()
        with other.attempt(step) as new:
            threads.append(in_thread(lambda: chat(other.client(new), max_tokens=100)))
            scene.model.wait_until_held(2)
            scene.model.release("g")
            for thread in threads:
                thread.join(60)
    (entry,) = scene.journal(step)
    assert purse.stands == (MICRO - entry.cost, 0, entry.cost)
    assert purse.kinds.count("settle") == 1


def test_answer_that_nobody_waits_for_is_settled(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    scene.model.set_script([{"gate": "g"}])
    step = scene.new_step()
    with scene.attempt(step) as session:
        client = scene.client(session, timeout=httpx.Timeout(60, read=0.2), max_retries=0)
        with pytest.raises(openai.APITimeoutError):
            chat(client, max_tokens=100)
        scene.model.wait_until_held()
    scene.model.release("g")
    (entry,) = scene.wait_for_journal(step)
    wait_until(lambda: purse.stands == (MICRO - entry.cost, 0, entry.cost), seconds=60, what="the settlement")


def test_answer_waits_for_the_database_and_is_settled_once(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    with scene.step() as (step, session):
        with purse.rows.journal_locked():
            asking = in_thread(lambda: chat(scene.client(session), max_tokens=100))
            purse.rows.wait_for_blocked_write()
            purse.rows.run(cut_off_writers)
        asking.join(60)
        (entry,) = scene.journal(step)
    assert len(scene.model.calls) == 1
    assert purse.stands == (MICRO - entry.cost, 0, entry.cost)


async def cut_off_writers(db: Any) -> None:
    await db.execute(text("RESET ROLE"))
    cut = await db.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"))
    assert cut.scalars().all() == [True]


def test_who_used_an_answer_last(scene: Scene, purse: Purse) -> None:
    purse.price_model()
    purse.grant(MICRO)
    step = scene.new_step()

    def ask(session: StepSession, *texts: str) -> None:
        for each in texts:
            chat(scene.client(session), each)
        key = StepKey(step.execution_id, step.lineage, step.step_index)
        tenant = purse.rows.tenant_id
        purse.rows.run(lambda db: JournalRepository(db, tenant).mark_used(key, session.attempt, session.answered))

    with scene.attempt(step) as session:
        ask(session, "a", "b")
    with scene.attempt(step) as session:
        ask(session, "a", "c")
    assert [(entry.attempt, entry.used_by) for entry in scene.journal(step)] == [(1, 2), (1, 1), (2, 2)]
