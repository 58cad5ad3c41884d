"""Steps that ask people: interrupts of graphs in code, approval nodes of graphs in JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from activities.adapters.base import Adapter, Answer, BadDefinition, JsonObject, StepError, StepResult
from activities.adapters.langgraph.definition import DEFINITION
from tests.langgraph.support import Run, adapter, edges, graph, template
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

HERE = Path(__file__).parent / "agents"
EXAMPLES = Path(__file__).parents[2] / "examples"


def fresh() -> Adapter:
    """An adapter as a new process has it."""
    return adapter(agent_path=(str(HERE),), agent_modules=("asking",))


@pytest.fixture(autouse=True)
def path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


def run_of(name: str) -> Run:
    return Run(fresh(), {"entrypoint": f"asking:{name}"})


async def answered(run: Run, replies: dict[str, Answer]) -> tuple[StepResult, list[list[Any]]]:
    """One step, its questions answered one at a time by their JSON text; and what was open in each attempt."""
    answers: dict[str, Answer] = {}
    opened: list[list[Any]] = []
    result = await run.ask()
    while result.interrupts:
        assert result.interrupts == (await run.ask(answers)).interrupts
        opened.append(sorted(json.dumps(interrupt.question) for interrupt in result.interrupts))
        asked = result.interrupts[0]
        assert asked.id not in answers
        answers[asked.id] = replies[json.dumps(asked.question)]
        result = await run.ask(answers)
    return result, opened


async def test_a_node_asks_in_turn() -> None:
    run = run_of("in_turn")
    await run.step()
    first, second = '{"ask": "first", "seen": 1}', '{"ask": "second", "after": "yes"}'
    result, opened = await answered(run, {first: Answer("approve", "yes"), second: Answer("reject")})
    assert opened == [[first], [second]]
    assert result.outputs == {"said": ["nothing", "yes", False]}
    assert result.units == ("ask_twice",)


async def test_nodes_ask_side_by_side_in_the_first_step() -> None:
    run, other = run_of("side_by_side"), run_of("side_by_side")
    asked = (await run.ask()).interrupts
    assert asked == (await other.ask()).interrupts
    assert {interrupt.title for interrupt in asked} == {"ask_twice", "ask_once"}
    once = next(interrupt for interrupt in asked if interrupt.title == "ask_once")
    left = (await run.ask({once.id: Answer("approve")})).interrupts
    assert left == tuple(interrupt for interrupt in asked if interrupt.id != once.id)
    result, _ = await answered(
        run,
        {
            '"once"': Answer("approve"),
            '{"ask": "first", "seen": 0}': Answer("approve", 1),
            '{"ask": "second", "after": 1}': Answer("edit", {"a": 2}),
        },
    )
    # The order of LangGraph, whatever the order of the answers.
    assert result.outputs == {"said": [True, 1, {"a": 2}, "nothing"]}
    assert result.units == ("ask_once", "ask_twice", "say")


async def test_graphs_inside_ask_at_once_and_again() -> None:
    run = run_of("nested")
    first = (await run.ask()).interrupts
    assert {interrupt.question for interrupt in first} == {"item 1", "item 2"}
    item = {interrupt.question: interrupt.id for interrupt in first}
    again = (await run.ask({item["item 1"]: Answer("approve", "a")})).interrupts
    assert {interrupt.question for interrupt in again} == {"item 1", "item 2"}
    (second,) = (interrupt.id for interrupt in again if interrupt not in first)
    both = {item["item 1"]: Answer("approve", "a"), second: Answer("approve", "b")}
    (left,) = (await run.ask(both)).interrupts
    assert left.id == item["item 2"]
    (last,) = (await run_of("nested").ask({**both, left.id: Answer("approve", "c")})).interrupts
    result = await run.ask({**both, left.id: Answer("approve", "c"), last.id: Answer("approve", "d")})
    assert result.outputs["said"] == [[1, 0, "a"], [1, 1, "b"], [2, 0, "c"], [2, 1, "d"]]


async def test_a_node_that_langgraph_tries_again_asks_the_same() -> None:
    result, opened = await answered(
        run_of("retried"), {'"first"': Answer("approve", 1), '"second"': Answer("approve", 2)}
    )
    assert opened == [['"first"'], ['"second"']]
    assert result.outputs == {"said": [1, 2]}


async def test_the_old_way_to_ask_is_refused() -> None:
    with pytest.raises(BadDefinition, match="interrupt\\(\\)"):
        await run_of("old").step()


# Graphs in JSON


def approval(name: str, question: str = "Go on?", **fields: Any) -> JsonObject:
    return {"id": name, "type": "approval", "question": question, **fields}


async def test_without_an_output_a_rejection_ends_the_run() -> None:
    definition = graph([approval("gate", description="The gate")], edges("START -> gate"))
    run = Run(fresh(), definition)
    (asked,) = (await run.ask()).interrupts
    assert (asked.id, asked.question, asked.title) == ("gate", "Go on?", "The gate")
    with pytest.raises(StepError, match="'gate' was rejected by a person") as failure:
        await run.ask({"gate": Answer("reject", "no reason")})
    assert (failure.value.failure_type, failure.value.retryable) == ("validation_error", False)
    assert (await run.ask({"gate": Answer("edit")})).outputs == {}


@pytest.mark.parametrize(
    ("kind", "answer", "written"),
    [
        ("boolean", Answer("reject", "no"), False),
        ("boolean", Answer("edit", 1), True),
        ("any", Answer("reject"), {"approved": False, "decision": "reject", "value": None}),
        ("object", Answer("edit", {"a": 1}), {"approved": True, "decision": "edit", "value": {"a": 1}}),
    ],
)
async def test_an_answer_is_written_into_the_state(kind: str, answer: Answer, written: Any) -> None:
    run = Run(fresh(), graph([approval("gate", output="seen")], edges("START -> gate"), seen={"type": kind}))
    assert (await run.ask({"gate": answer})).outputs == {"seen": written}


async def test_a_question_per_item_in_graphs_that_come_to_it_again() -> None:
    inner = graph(
        [approval("sign", "Sign {{ inputs.item }}?", output="answers"), template("again", "rounds", 1)],
        [
            *edges("START -> sign", "sign -> again"),
            {"from": "again", "to": "sign", "when": "rounds < 2"},
        ],
        answers={"reducer": "append"},
        rounds={"reducer": "add"},
    )
    node = {"id": "each", "type": "subgraph", "definition": inner, "inputs": {"item": "{{ item }}"}}
    node["outputs"] = {"all": "answers"}
    links = [{"from": "START", "to": "each", "each": "items"}]
    run = Run(fresh(), graph([node], links, items={"default": ["x", "y"], "type": "array"}, all={"reducer": "append"}))
    answers: dict[str, Answer] = {}
    asked: list[str] = []
    while interrupts := (await run.ask(answers)).interrupts:
        assert len(asked) < 5
        asked.append(f"{interrupts[0].id}: {interrupts[0].question}")
        answers[interrupts[0].id] = Answer("approve", len(asked))
    assert asked == [
        "each[0]/sign: Sign x?",
        "each[0]/sign#2: Sign x?",
        "each[1]/sign: Sign y?",
        "each[1]/sign#2: Sign y?",
    ]
    assert [answer["value"] for answer in run.results[-1].outputs["all"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("node", "path"),
    [
        (approval("a", "{{ nothing }}"), "nodes[0].question"),
        (approval("a", "{{ text"), "nodes[0].question"),
        ({"id": "a", "type": "approval"}, "nodes[0].question"),
        (approval("a", output="text"), "nodes[0].output"),
        (approval("a", output="other"), "nodes[0].output"),
        (approval("a", assignee="me"), "nodes[0].assignee"),
    ],
)
def test_what_is_wrong_with_an_approval_is_told(node: JsonObject, path: str) -> None:
    definition = graph([node], edges("START -> a"), text={"type": "string"})
    assert [problem.path for problem in DEFINITION.validate(definition, tools=MemoryToolBox().names)] == [path]


async def test_the_example_runs() -> None:
    definition = json.loads((EXAMPLES / "langgraph_approval.json").read_text())["workflow_definition"]
    assert DEFINITION.validate(definition, tools=frozenset()) == []
    rules = [
        {"when": {"last": "rejected: Name the price"}, "reply": {"content": "Tea, for one dollar."}},
        {"when": {"last": "^Announce tea"}, "reply": {"content": "Tea."}},
    ]
    with ModelServer(rules) as server:
        run = Run(fresh(), definition, {"topic": "tea"}, base_url=server.base_url)
        await run.ask()
        (asked,) = (await run.ask()).interrupts
        assert (asked.id, asked.question) == ("review", "Tea.")
        await run.ask({"review": Answer("reject", "Name the price")})
        await run.ask()
        (asked,) = (await run.ask()).interrupts
        assert asked.question == "Tea, for one dollar."
        await run.ask({"review": Answer("approve")})
        assert (await run.ask()).outputs["published"] == "Tea, for one dollar."
    assert run.steps == ["review", "write", "review", "publish", None]
