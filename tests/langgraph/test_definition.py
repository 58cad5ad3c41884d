"""Definitions of graphs: what is wrong is told by path, all of it at once, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from activities.adapters.base import JsonObject
from activities.adapters.langgraph.definition import DEFINITION
from tests.langgraph.support import edges, graph, template

TOOLS = frozenset({"calculator", "http_request"})
ONE = [template("a", "text")]
TEXT = {"type": "string"}
LIST = {"type": "array", "reducer": "append"}


def llm(name: str = "a", output: str = "text", **fields: Any) -> JsonObject:
    return {"id": name, "type": "llm", "prompt": "Hello", "output": output, **fields}


def problems(definition: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in DEFINITION.validate(definition, tools=TOOLS)]


WRONG: list[tuple[str, JsonObject, str, str]] = [
    ("unknown field", {**graph(ONE, edges("START -> a"), text=TEXT), "edge": []}, "edge", "Did you mean 'edges'"),
    (
        "unknown node field",
        graph([{**ONE[0], "ouput": "text"}], edges("START -> a"), text=TEXT),
        "nodes[0].ouput",
        "output",
    ),
    ("no nodes", graph([], edges("START -> END")), "nodes", "at least one node"),
    ("nodes no list", {"nodes": {}, "edges": []}, "nodes", "an array"),
    ("no edges", {"nodes": ONE, "state": {"text": TEXT}}, "edges", "required"),
    ("node no object", {"nodes": [1], "edges": []}, "nodes[0]", "object"),
    ("no type", graph([{"id": "a"}], edges("START -> a")), "nodes[0].type", "one of llm, tool, template, subgraph"),
    ("unknown type", graph([{"id": "a", "type": "lmm"}], edges("START -> a")), "nodes[0].type", "Did you mean 'llm'"),
    (
        "no prompt",
        graph([{"id": "a", "type": "llm", "output": "t"}], edges("START -> a"), t=TEXT),
        "nodes[0].prompt",
        "req",
    ),
    ("prompt no text", graph([llm(prompt=5)], edges("START -> a"), text=TEXT), "nodes[0].prompt", "Must be a text."),
    ("temperature", graph([llm(temperature=3)], edges("START -> a"), text=TEXT), "nodes[0].temperature", "less than"),
    (
        "NUL in an id",
        graph([template("a\0b", "text")], edges("START -> a\0b"), text=TEXT),
        "nodes[0].id",
        "not allowed",
    ),
    ("reserved id", graph([*ONE, template("END", "text")], edges("START -> a"), text=TEXT), "nodes[1].id", "reserved"),
    (
        "no exit",
        graph([*ONE, template("b", "n")], edges("START -> a", "a -> a", "a -> b"), text=TEXT, n={}),
        "nodes[0]",
        "exit",
    ),
    ("edge to nowhere", graph(ONE, edges("START -> a", "a -> b"), text=TEXT), "edges[1].to", "no node 'b'"),
    ("edge from nowhere", graph(ONE, edges("START -> a", "aa -> a"), text=TEXT), "edges[1].from", "Did you mean 'a'"),
    ("after END", graph(ONE, edges("START -> a", "END -> a"), text=TEXT), "edges[1].from", "after END"),
    ("to START", graph(ONE, edges("START -> a", "a -> START"), text=TEXT), "edges[1].to", "lead to START"),
    ("no start", graph(ONE, edges("a -> END"), text=TEXT), "edges", "Nothing leaves START"),
    ("unknown edge field", graph(ONE, [{"from": "START", "to": "a", "if": "x"}], text=TEXT), "edges[0].if", "Unknown"),
    ("unreachable", graph([*ONE, template("b", "text")], edges("START -> a"), text=TEXT), "nodes[1]", "No path leads"),
    ("output", graph(ONE, edges("START -> a"), test=TEXT), "nodes[0].output", "Did you mean 'test'"),
    ("type", graph(ONE, edges("START -> a"), text={"type": "txt"}), "state.text.type", "Input should be"),
    (
        "append",
        graph(ONE, edges("START -> a"), text={"type": "string", "reducer": "append"}),
        "state.text.reducer",
        "array",
    ),
    (
        "merge",
        graph(ONE, edges("START -> a"), text={"type": "list", "reducer": "merge"}),
        "state.text.reducer",
        "object",
    ),
    ("add", graph(ONE, edges("START -> a"), text={"type": "str", "reducer": "add"}), "state.text.reducer", "number"),
    (
        "default",
        graph(ONE, edges("START -> a"), text={"type": "int", "default": "1"}),
        "state.text.default",
        "an integer",
    ),
    ("field name", graph(ONE, edges("START -> a"), text=TEXT, **{"a-b": TEXT}), "state.a-b", "letters"),
    ("reserved field", graph(ONE, edges("START -> a"), text=TEXT, item=TEXT), "state.item", "reserved"),
    (
        "tool",
        graph([llm(tools=["calculator", "calc"])], edges("START -> a"), text=TEXT),
        "nodes[0].tools[1]",
        "no tool",
    ),
    ("template", graph([template("a", "text", "{{ text")], edges("START -> a"), text=TEXT), "nodes[0].template", ""),
    (
        "nested template",
        graph(
            [{"id": "a", "type": "tool", "tool": "calculator", "args": {"x": ["{{ txt }}"]}}],
            edges("START -> a"),
            text=TEXT,
        ),
        "nodes[0].args.x[0]",
        "Did you mean 'text'",
    ),
    (
        "variable",
        graph([llm(system="{{ topic }}")], edges("START -> a"), text=TEXT),
        "nodes[0].system",
        "'inputs.topic'",
    ),
    ("item", graph([llm(prompt="{{ item }}")], edges("START -> a"), text=TEXT), "nodes[0].prompt", "`each`"),
    (
        "condition",
        graph(ONE, [{"from": "START", "to": "a", "when": "text =="}], text=TEXT),
        "edges[0].when",
        "",
    ),
    (
        "condition's variable",
        graph(ONE, [{"from": "START", "to": "a", "when": "size(txt) == 0"}], text=TEXT),
        "edges[0].when",
        "Did you mean 'text'",
    ),
    (
        "each over a text",
        graph([template("a", "list")], [{"from": "START", "to": "a", "each": "text"}], text=TEXT, list=LIST),
        "edges[0].each",
        "must be an array",
    ),
    (
        "each into a field for one value",
        graph(ONE, [{"from": "START", "to": "a", "each": "list"}], text=TEXT, list=LIST),
        "edges[0].each",
        "keeps one value",
    ),
    (
        "branches into a field for one value",
        graph([*ONE, template("b", "text")], edges("START -> a", "START -> b"), text=TEXT),
        "edges[1].to",
        "'b' runs beside 'a'",
    ),
    (
        "template and set",
        graph([{**ONE[0], "set": {"text": "x"}}], edges("START -> a"), text=TEXT),
        "nodes[0]",
        "either",
    ),
    (
        "output schema",
        graph([llm(output_schema={"type": "objekt"})], edges("START -> a"), text=TEXT),
        "nodes[0].output_schema.type",
        "No JSON Schema",
    ),
    (
        "chat that replaces",
        graph([llm(messages="text")], edges("START -> a"), text={"type": "array"}),
        "nodes[0].output",
        "'append'",
    ),
    (
        "inside a subgraph",
        graph(
            [{"id": "a", "type": "subgraph", "definition": graph([llm(output="x")], edges("START -> a"), text=TEXT)}],
            edges("START -> a"),
            text=TEXT,
        ),
        "nodes[0].definition.nodes[0].output",
        "no state field 'x'",
    ),
    (
        "subgraph's output",
        graph(
            [
                {
                    "id": "a",
                    "type": "subgraph",
                    "graph": graph(ONE, edges("START -> a"), text=TEXT),
                    "outputs": {"text": "x"},
                }
            ],
            edges("START -> a"),
            text=TEXT,
        ),
        "nodes[0].outputs.text",
        "no state field 'x'",
    ),
    ("max_steps", {**graph(ONE, edges("START -> a"), text=TEXT), "max_steps": 0}, "max_steps", "greater than"),
    ("entrypoint", {"entrypoint": "module"}, "entrypoint", "package.module:name"),
    ("entrypoint's attribute", {"entrypoint": "module:a.b"}, "entrypoint", "package.module:name"),
    ("both kinds", {"entrypoint": "module:graph", "nodes": []}, "nodes", "Unknown field"),
    (
        "thread_id",
        {"entrypoint": "m:g", "config": {"configurable": {"thread_id": "1"}}},
        "config.configurable.thread_id",
        "",
    ),
]


@pytest.mark.parametrize(("definition", "path", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_one_mistake_is_one_problem(definition: JsonObject, path: str, words: str) -> None:
    ((found, message),) = problems(definition)
    assert found == path
    assert words in message


def test_all_mistakes_are_told_at_once() -> None:
    wrong = graph(
        [
            llm(tool="calc"),
            template("b", "nope"),
            {"id": "b", "type": "tool", "tool": "calc"},
            {"id": "c", "type": "x"},
        ],
        edges("START -> a", "a -> z"),
        text=TEXT,
    )
    wrong["nodez"] = 1
    assert {path for path, _ in problems(wrong)} == {
        "nodez",
        "nodes[0].tool",
        "nodes[1].output",
        "nodes[2].id",
        "nodes[2].tool",
        "nodes[3].type",
        "edges[1].to",
    }


def test_a_definition_full_of_mistakes_is_judged_in_time() -> None:
    many = range(4000)
    nodes = [template(f"n{i}", "text") for i in many]
    chain = edges("START -> n0", *(f"n{i} -> n{i + 1}" for i in many[:-1]))
    assert problems(graph(nodes, chain, text=TEXT)) == []
    assert len(problems(graph(nodes, [*chain, *edges(f"n{many[-1]} -> n0")], text=TEXT))) == 100
    assert len(problems(graph(nodes, edges("START -> n0", *(f"n{i} -> m{i}" for i in many)), text=TEXT))) == 100


CYCLES = [
    ("no way out", edges("START -> a", "a -> b", "b -> a"), ["nodes[0]", "nodes[1]"]),
    ("always taken", edges("START -> a", "a -> b", "b -> a", "b -> END"), ["nodes[0]", "nodes[1]"]),
    ("itself", edges("START -> a", "a -> b", "b -> b"), ["nodes[1]"]),
    ("left by else", [*edges("START -> a", "a -> b", "b -> END"), {"from": "b", "to": "a", "when": "n < 3"}], []),
    ("left where no condition holds", [*edges("START -> a", "a -> b"), {"from": "b", "to": "a", "when": "n < 3"}], []),
    (
        "both ways lead back",
        [*edges("START -> a", "a -> b", "b -> a"), {"from": "b", "to": "a", "when": "n < 3"}],
        ["nodes[0]", "nodes[1]"],
    ),
    ("left when nothing is left", [*edges("START -> a", "a -> b"), {"from": "b", "to": "a", "each": "left"}], []),
]


@pytest.mark.parametrize(("links", "paths"), [case[1:] for case in CYCLES], ids=[case[0] for case in CYCLES])
def test_a_cycle_needs_an_exit(links: list[JsonObject], paths: list[str]) -> None:
    nodes = [template("a", "n", "1"), template("b", "n", "1")]
    found = problems(graph(nodes, links, n={"type": "integer", "reducer": "add"}, left={"type": "array"}))
    assert [path for path, _ in found] == paths
    assert all("cycle without an exit" in message for _, message in found)


def test_what_is_no_object_is_told() -> None:
    assert problems([]) == [("", "Must be an object.")]


def test_inputs_must_fit_the_state() -> None:
    definition = graph(ONE, edges("START -> a"), text=TEXT, list=LIST, n={"type": "integer"})
    assert DEFINITION.validate_inputs(definition, {"text": "x", "list": [1], "n": 2, "other": None}) == []
    wrong = DEFINITION.validate_inputs(definition, {"text": 1, "list": "x", "n": True})
    assert [(p.path, p.message) for p in wrong] == [
        ("text", "Must be a text, but is a number."),
        ("list", "Must be an array, but is a text."),
        ("n", "Must be an integer, but is a boolean."),
    ]


def test_the_first_step_follows_the_inputs() -> None:
    nodes = [template("short", "text"), template("long", "list")]
    links = [
        {"from": "START", "to": "short", "when": "inputs.size < 10"},
        {"from": "START", "to": "long", "each": "list", "when": "item != 'skip' && inputs.size >= 10"},
    ]
    definition = graph(nodes, links, text=TEXT, list=LIST)
    assert problems(definition) == []
    assert DEFINITION.plan(definition, {"size": 3}).steps == ("short",)
    assert DEFINITION.plan(definition, {"size": 30, "list": ["a", "skip", "b"]}).steps == ("long ×2",)
    assert DEFINITION.plan(definition, {"size": 30}).steps == ("start",)


def test_code_and_unknown_tools_need_a_worker() -> None:
    inner = graph([llm(tools=["mine"])], edges("START -> a"), text=TEXT)
    nested = graph([{"id": "s", "type": "subgraph", "definition": inner}], edges("START -> s"), text=TEXT)
    assert DEFINITION.needs_worker(nested, tools=TOOLS)
    assert not DEFINITION.needs_worker(nested, tools=TOOLS | {"mine"})
    assert DEFINITION.needs_worker({"entrypoint": "m:g"}, tools=TOOLS)
    assert problems({"entrypoint": "m.n:g", "config": {"configurable": {"depth": 2}}, "max_steps": 5}) == []


def test_the_published_schema_tells_what_each_field_is_for() -> None:
    schema = DEFINITION.json_schema()
    sample = json.loads((Path(__file__).parents[2] / "samples" / "graph_review.json").read_text())
    jsonschema.validate(sample["workflow_definition"], schema)
    jsonschema.validate({"entrypoint": "a.b:c"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"entrypoint": "a.b:c", "nodes": []}, schema)
    missing = [
        (name, field)
        for name, model in schema["$defs"].items()
        for field, details in model.get("properties", {}).items()
        if not details.get("description") and "const" not in details
    ]
    assert missing == []
