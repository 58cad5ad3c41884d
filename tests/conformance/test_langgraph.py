"""LangGraph's adapter under the conformance suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from activities.adapters.base import Answer, Edit, ToolFailed
from tests.conformance.runs import DEFAULT_MODEL, Case, Change
from tests.conformance.suite import AdapterConformance

SAMPLES = Path(__file__).parents[2] / "samples"


def edges(*pairs: str) -> list[dict[str, Any]]:
    """`a -> b` as edges."""
    return [dict(zip(("from", "to"), pair.split(" -> "), strict=True)) for pair in pairs]


REVIEW = Case(
    name="review",
    definition=json.loads((SAMPLES / "graph_review.json").read_text())["workflow_definition"],
    inputs={"topic": "tea"},
    steps=("research ×3", "write", "judge", "again", "write", "judge", "measure", "publish"),
    model_calls=7,
    rules=[
        {"when": {"last": "what it is"}, "reply": {"content": "It is bitter."}},
        {"when": {"last": "why it matters"}, "reply": {"content": "It is cheap."}},
        {"when": {"last": "what can go wrong"}, "reply": {"content": "It gets cold."}},
        {"when": {"last": "- It is bitter.\n- It is cheap.\n- It gets cold.$"}, "reply": {"content": "Tea is bitter."}},
        {"when": {"last": "The reviewer asks: Name the price"}, "reply": {"content": "Tea is bitter and cheap."}},
        {
            "when": {"system": "reviewer", "last": "bitter.$"},
            "reply": {"json": {"score": 4, "advice": "Name the price"}},
        },
        {"when": {"system": "reviewer"}, "reply": {"json": {"score": 9, "advice": "Good"}}},
    ],
    tool_calls=(("calculator", {"expression": "5 / 200"}),),
    says="Tea is bitter and cheap.\\n\\n(0.025 minutes, 1 revisions)",
    units=tuple((name,) for name in ["research", "write", "judge", "again", "write", "judge", "measure", "publish"]),
    values=frozenset({"review", "draft", "rounds"}),
    changes=(
        Change("a prompt", Edit(prompts={"write": "Write of {{ topic }} in verse"}), 1, "Write of tea in verse"),
        Change("an input", Edit(inputs={"topic": "milk"}), 1, "about milk"),
        Change("a first input", Edit(inputs={"topic": "milk"}), 0, "milk"),
        Change("one model", Edit(models={"judge": "big", "*": "tiny"}), 2, models=frozenset({"big"})),
        Change("the items", Edit(values={"aspects": ["the smell"]}), 0, "the smell"),
        Change("a value", Edit(values={"notes": ["It smells."]}), 1, "It smells.", says="Answer"),
        Change("the way", Edit(values={"review": {"score": 10, "advice": ""}}), 3, says="0 revisions"),
    ),
    wrong_edits=(
        ("prompts.write.systm", Edit(prompts={"write": {"systm": "Be short."}})),
        ("prompts.write", Edit(prompts={"write": "{{ topic"})),
        ("prompts.write.system", Edit(prompts={"write": {"system": "{{ topik }}"}})),
        ("prompts.publish", Edit(prompts={"publish": "Do it."})),
        ("models.publish", Edit(models={"publish": "big"})),
        ("values.notes", Edit(values={"notes": "a text"})),
        ("inputs.topic", Edit(inputs={"topic": 7})),
    ),
)

#: A model that calls a tool, and a chat that is carried on.
CHAT = Case(
    name="chat",
    definition={
        "nodes": [
            {
                "id": "count",
                "type": "llm",
                "prompt": "{{ inputs.question }}",
                "tools": ["calculator"],
                "messages": "chat",
                "output": "chat",
            },
            {
                "id": "sum up",
                "type": "llm",
                "prompt": "In short?",
                "messages": "chat",
                "model": "big",
                "output": "answer",
            },
        ],
        "edges": edges("START -> count", "count -> sum up", "sum up -> END"),
        "state": {"chat": {"type": "array", "reducer": "append"}, "answer": {"type": "string"}},
    },
    inputs={"question": "How much is 6 times 7?", "chat": [{"role": "user", "content": "Hello"}]},
    steps=("count", "sum up"),
    model_calls=3,
    models=frozenset({DEFAULT_MODEL, "big"}),
    rules=[
        {
            "when": {"tool": "calculator", "not_called": "calculator"},
            "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6 * 7"}}]},
        },
        {"when": {"called": "calculator", "last": "^42$"}, "reply": {"content": "It is 42."}},
        {"when": {"model": "big", "any": "It is 42."}, "reply": {"content": "42"}},
    ],
    tool_calls=(("calculator", {"expression": "6 * 7"}),),
    says='"answer": "42"',
)

#: Two branches at once, a graph inside a node, and a choice.
NESTED = Case(
    name="nested",
    definition={
        "nodes": [
            {"id": "praise", "type": "llm", "prompt": "Praise {{ subject }}", "output": "notes"},
            {"id": "blame", "type": "llm", "prompt": "Blame {{ subject }}", "output": "notes"},
            {
                "id": "debate",
                "type": "subgraph",
                "definition": {
                    "nodes": [
                        {"id": "say", "type": "llm", "prompt": "Weigh {{ item }}", "output": "said"},
                        {"id": "count", "type": "template", "template": "{{ said | size }}", "output": "total"},
                    ],
                    "edges": [{"from": "START", "to": "say", "each": "points"}, *edges("say -> count")],
                    "state": {
                        "points": {"type": "array"},
                        "said": {"reducer": "append"},
                        "total": {"type": "integer"},
                    },
                },
                "inputs": {"points": "{{ notes }}"},
                "outputs": {"weighed": "total"},
            },
            {"id": "close", "type": "template", "set": {"verdict": "{{ weighed }} points weighed"}},
            {"id": "never", "type": "template", "template": "nothing", "output": "verdict"},
        ],
        "edges": [
            *edges("START -> praise", "START -> blame", "praise -> debate", "blame -> debate"),
            {"from": "debate", "to": "never", "when": "weighed == 0"},
            {"from": "debate", "to": "close"},
        ],
        "state": {
            "subject": {"type": "string"},
            "notes": {"type": "array", "reducer": "append"},
            "weighed": {"type": "integer"},
            "verdict": {"type": "string", "default": "none"},
        },
    },
    inputs={"subject": "rain"},
    steps=("praise + blame", "debate", "close"),
    model_calls=4,
    rules=[
        {"when": {"last": "^Praise rain"}, "reply": {"content": "It is wet."}},
        {"when": {"last": "^Blame rain"}, "reply": {"content": "It is too wet."}},
    ],
    says='"verdict": "2 points weighed"',
)

#: Two people at once, one of them for a graph inside, whose model is asked before it asks.
APPROVED = Case(
    name="approved",
    definition={
        "nodes": [
            {"id": "draft", "type": "llm", "prompt": "Write about {{ topic }}", "output": "text"},
            {"id": "editor", "type": "approval", "question": "May this be printed? {{ text }}", "output": "review"},
            {
                "id": "lawyer",
                "type": "subgraph",
                "definition": {
                    "nodes": [
                        {"id": "list", "type": "llm", "prompt": "Risks of {{ text }}", "output": "risks"},
                        {"id": "sign", "type": "approval", "question": "{{ state }}", "output": "signed"},
                    ],
                    "edges": edges("START -> list", "list -> sign"),
                    "state": {"text": {}, "risks": {"type": "string"}, "signed": {"type": "boolean"}},
                },
                "outputs": {"signed": "signed"},
            },
            {
                "id": "print",
                "type": "llm",
                "prompt": "Print {{ review.value | default: text }}, signed: {{ signed }}",
                "output": "text",
            },
        ],
        "edges": [
            *edges("START -> draft", "draft -> editor", "draft -> lawyer", "lawyer -> print"),
            {"from": "editor", "to": "print", "when": "review.approved"},
        ],
        "state": {
            "topic": {"type": "string"},
            "text": {"type": "string"},
            "review": {"type": "object"},
            "signed": {"type": "boolean"},
        },
    },
    inputs={"topic": "tea"},
    steps=("draft", "editor + lawyer", "print"),
    model_calls=3,
    rules=[
        {"when": {"last": "^Write about tea"}, "reply": {"content": "Tea is hot."}},
        {"when": {"last": "^Risks of Tea is hot"}, "reply": {"content": "Burns."}},
        {"when": {"last": "^Print Tea is warm., signed: true"}, "reply": {"content": "Printed."}},
        {"when": {"last": "^Print Tea is hot., signed: true"}, "reply": {"content": "Printed anyway."}},
    ],
    says="Printed.",
    answers=(
        ("May this be printed? Tea is hot.", Answer("edit", "Tea is warm.")),
        ("Burns.", Answer("approve", "with care")),
    ),
    rejected="Printed anyway.",
)

BROKEN_TOOL = Case(
    name="broken-tool",
    definition={
        "nodes": [
            {"id": "try", "type": "tool", "tool": "broken_tool", "args": {"reason": "out of {{ inputs.what }}"}},
        ],
        "edges": edges("START -> try"),
    },
    inputs={"what": "paper"},
    steps=("try",),
    model_calls=0,
)


class TestLangGraph(AdapterConformance):
    framework = "langgraph"
    #: The first one asks the model once in its first step, as the tests of failures want it.
    cases = (CHAT, REVIEW, NESTED)
    asking_cases = (APPROVED,)
    broken_tool_case = BROKEN_TOOL
    broken_tool_error = ToolFailed
    wrong = (
        ("nodes", {"edges": []}),
        ("nodes[0].tool", {"nodes": [{"id": "a", "type": "tool", "tool": "nope"}], "edges": edges("START -> a")}),
        ("edges[1].to", {"nodes": BROKEN_TOOL.definition["nodes"], "edges": edges("START -> try", "try -> tri")}),
        ("entrypoint", {"entrypoint": "no colon"}),
    )
