"""Graphs in JSON as they run: edges, reducers, types, edits, and what goes wrong in a step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.adapters.base import Adapter, BadDefinition, JsonObject
from activities.adapters.langgraph.definition import DEFINITION
from tests.langgraph.support import Run, adapter, context, edges, graph, template
from tests.support.toolbox import MemoryToolBox

LIST = {"type": "array", "reducer": "append"}


@pytest.fixture(scope="module")
def graphs() -> Adapter:
    return adapter()


def valid(definition: JsonObject) -> JsonObject:
    assert DEFINITION.validate(definition, tools=MemoryToolBox().names) == []
    return definition


async def outputs(graphs: Adapter, definition: JsonObject, **inputs: Any) -> Any:
    return await Run(graphs, valid(definition), inputs).finish()


def loop(**last: Any) -> JsonObject:
    """Counts to three, then goes to `done`."""
    return graph(
        [template("count", "n", "1"), template("done", "text", "{{ n }} rounds")],
        [*edges("START -> count", "count -> done"), {"from": "count", "to": "count", "when": "n < 3"}],
        n={"type": "integer", "reducer": "add"},
        text={"type": "string"},
        **last,
    )


async def test_a_loop_goes_on_while_its_condition_holds(graphs: Adapter) -> None:
    run = Run(graphs, valid(loop()))
    assert await run.finish() == {"n": 3, "text": "3 rounds"}
    assert run.steps == ["count", "count", "done", None]


@pytest.mark.parametrize(
    ("n", "ran"),
    [(1, ["low", "odd"]), (2, ["low"]), (11, ["odd"]), (12, ["else"]), (99, ["odd", "top"])],
)
async def test_all_edges_whose_condition_holds_are_taken_or_else_the_one_without(
    graphs: Adapter, n: int, ran: list[str]
) -> None:
    definition = graph(
        [template("first", "ran", []), *(template(name, "ran", name) for name in ("low", "odd", "top", "else"))],
        [
            *edges("START -> first", "first -> else"),
            {"from": "first", "to": "low", "when": "n < 10"},
            {"from": "first", "to": "odd", "when": "n % 2 == 1"},
            {"from": "first", "to": "top", "when": "n > 50 && inputs.more"},
        ],
        ran=LIST,
        n={"type": "integer"},
    )
    assert sorted((await outputs(graphs, definition, n=n, more=True))["ran"]) == ran


async def test_no_condition_holds_and_there_is_no_else(graphs: Adapter) -> None:
    definition = graph(
        [template("a", "text", "a"), template("b", "text", "b")],
        [*edges("START -> a"), {"from": "a", "to": "b", "when": "text == 'c'"}],
        text={"type": "string"},
    )
    assert await outputs(graphs, definition) == {"text": "a"}


async def test_each_runs_once_per_item_in_order_and_joins(graphs: Adapter) -> None:
    definition = graph(
        [
            template("split", "parts", ["a", {"b": 1}, "skip", None]),
            template("work", "seen", {"at": "{{ index }}", "item": "{{ item }}"}),
            template("join", "text", "{{ seen | size }} of {{ parts | size }}"),
        ],
        [
            *edges("START -> split", "work -> join"),
            {"from": "split", "to": "work", "each": "parts", "when": "item != 'skip' || index > 5"},
        ],
        parts={"type": "array"},
        seen=LIST,
        text={"type": "string"},
    )
    run = Run(graphs, valid(definition))
    result = await run.finish()
    assert run.steps == ["work ×3", "join", None]
    assert result["seen"] == [{"at": 0, "item": "a"}, {"at": 1, "item": {"b": 1}}, {"at": 3, "item": None}]
    assert result["text"] == "3 of 4"


async def test_each_over_nothing_can_go_elsewhere(graphs: Adapter) -> None:
    definition = graph(
        [template("work", "seen", "{{ item }}"), template("nothing", "seen", "none")],
        [
            {"from": "START", "to": "work", "each": "parts"},
            {"from": "START", "to": "nothing", "when": "size(parts) == 0"},
        ],
        parts={"type": "array"},
        seen=LIST,
    )
    assert (await outputs(graphs, definition))["seen"] == ["none"]
    assert (await outputs(graphs, definition, parts=["x"]))["seen"] == ["x"]


async def test_parallel_branches_join_once_and_nobody_sees_half_a_step(graphs: Adapter) -> None:
    definition = graph(
        [
            template("a", "total", 2),
            template("b", "facts", {"seen": "{{ total }}"}),
            template("c", "log", "{{ total }}"),
        ],
        edges("START -> a", "START -> b", "a -> c", "b -> c"),
        total={"type": "number", "reducer": "add", "default": 1.5},
        facts={"type": "object", "reducer": "merge", "default": {"old": True}},
        log=LIST,
    )
    run = Run(graphs, valid(definition))
    assert await run.finish() == {"total": 3.5, "facts": {"old": True, "seen": 1.5}, "log": [3.5]}
    assert run.steps == ["c", None]


TYPES = [
    ("string", {"a": 1}, '{"a": 1}'),
    ("string", 3, "3"),
    ("integer", "7", 7),
    ("integer", 7.0, 7),
    ("number", " 7.5 ", 7.5),
    ("boolean", "true", True),
    ("object", '```json\n{"a": 1}\n```', {"a": 1}),
    ("array", "[1, 2]", [1, 2]),
    ("any", "[1, 2]", "[1, 2]"),
]


@pytest.mark.parametrize(("kind", "value", "stored"), TYPES)
async def test_values_are_brought_to_the_fields_type(graphs: Adapter, kind: str, value: Any, stored: Any) -> None:
    definition = graph([template("a", "x", "{{ inputs.value }}")], edges("START -> a"), x={"type": kind})
    assert await outputs(graphs, definition, value=value) == {"x": stored}


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", "seven"), ("integer", 7.5), ("number", "NaN"), ("object", "[]"), ("array", 1)]
)
async def test_a_value_that_does_not_fit_fails_the_step_without_telling_it(
    graphs: Adapter, kind: str, value: Any
) -> None:
    definition = valid(graph([template("a", "x", "{{ inputs.value }}")], edges("START -> a"), x={"type": kind}))
    with pytest.raises(BadDefinition, match="What the node 'a' writes into 'x' must be") as failure:
        await Run(graphs, definition, {"value": value}).step()
    assert str(value) not in str(failure.value)


async def test_a_node_may_have_the_name_of_a_field(graphs: Adapter) -> None:
    definition = graph([template("plan", "plan", "made")], edges("START -> plan"), plan={"type": "string"})
    assert await outputs(graphs, definition) == {"plan": "made"}


async def test_two_writes_that_exclude_each_other_are_told(graphs: Adapter) -> None:
    definition = graph(
        [template("a", "text", "a"), template("b", "text", "b"), template("go", "n", "1")],
        [
            *edges("START -> go"),
            {"from": "go", "to": "a", "when": "n > 0"},
            {"from": "go", "to": "b", "when": "n > 0"},
        ],
        text={"type": "string"},
        n={"type": "integer"},
    )
    run = Run(graphs, valid(definition))
    await run.step()
    with pytest.raises(BadDefinition, match="text"):
        await run.step()


async def test_a_condition_that_cannot_be_evaluated_names_its_edge(graphs: Adapter) -> None:
    links = [*edges("START -> a"), {"from": "a", "to": "a", "when": "inputs.missing > 1"}]
    definition = valid(graph([template("a", "text")], links, text={"type": "string"}))
    with pytest.raises(BadDefinition, match="from 'a' to 'a' cannot be evaluated"):
        await Run(graphs, definition).step()


async def test_max_steps_ends_a_run(graphs: Adapter) -> None:
    run = Run(graphs, {**loop(), "max_steps": 2})
    await run.step()
    await run.step()
    with pytest.raises(BadDefinition, match="within 2 steps"):
        await run.step()
    short = Run(adapter(max_steps=1), loop())
    await short.step()
    with pytest.raises(BadDefinition, match="within 1 steps"):
        await short.step()


async def test_an_endless_graph_inside_a_node_ends(graphs: Adapter) -> None:
    inner = graph(
        [template("a", "n", "1")],
        [*edges("START -> a"), {"from": "a", "to": "a", "when": "n > 0"}],
        n={"type": "integer", "reducer": "add"},
    )
    inner["max_steps"] = 5
    definition = valid(
        graph([{"id": "in", "type": "subgraph", "definition": inner}], edges("START -> in"), n={"type": "integer"})
    )
    with pytest.raises(BadDefinition, match="within 5 steps"):
        await Run(graphs, definition).step()


async def test_a_state_and_a_definition_may_be_edited_between_steps(graphs: Adapter) -> None:
    run = Run(graphs, loop())
    await run.step()
    run.state["values"] = {"n": 10, "unknown": 1}
    run.definition = loop()
    run.definition["nodes"][1]["template"] = "after {{ n }}"
    assert await run.finish() == {"n": 11, "text": "after 11"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda state: state["values"].update(n="x"), "'n' cannot be used. Must be an integer"),
        (lambda state: state.update(next=["gone"]), "needs the node 'gone'"),
        (lambda state: state.update(format=0), "none that this framework wrote"),
        (lambda state: state.update(values=None), "none that this framework wrote"),
    ],
)
async def test_an_edit_that_cannot_be_run_is_told(graphs: Adapter, edit: Any, words: str) -> None:
    run = Run(graphs, loop())
    await run.step()
    edit(run.state)
    with pytest.raises(BadDefinition, match=words):
        await run.step()


async def test_large_values_are_passed_on_without_a_copy(graphs: Adapter) -> None:
    definition = graph([template("a", "text")], edges("START -> a"), text={"type": "string"}, big={"type": "any"})
    big = [{"n": n} for n in range(1000)]
    state = graphs.start(definition, {"big": big})
    result = await graphs.run_step(definition, state, context())
    assert result.state["values"]["big"] is big


async def test_runs_of_one_graph_do_not_mix(graphs: Adapter) -> None:
    definition = valid(loop())
    started = [Run(graphs, definition, {"n": n}) for n in (0, 1, 2, 0)]
    done = await asyncio.gather(*(run.finish() for run in started))
    assert [len(run.results) for run in started] == [4, 3, 2, 4]
    assert done == [{"n": 3, "text": "3 rounds"}] * 4


async def test_the_view_shows_values_and_what_comes_next(graphs: Adapter) -> None:
    run = Run(graphs, loop())
    assert DEFINITION.view(run.state) == {"values": {"n": 0, "text": ""}, "next": ["count"]}
    await run.step()
    assert DEFINITION.view(run.state) == {"values": {"n": 1, "text": ""}, "next": ["count"]}
