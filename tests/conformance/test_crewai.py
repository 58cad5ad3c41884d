"""CrewAI's adapter under the conformance suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from activities.adapters.base import Answer, Edit, StepError
from tests.conformance.runs import DEFAULT_MODEL, Case, Change
from tests.conformance.suite import AdapterConformance
from tests.crewai.flows import LOOP, LOOP_CALLS, LOOP_RULES, crew, flow

SAMPLES = Path(__file__).parents[2] / "samples"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())["workflow_definition"]


def agent(role: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, "goal": "Work on {topic}", "backstory": "Knows {topic}.\n", **fields}


def task(agent: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"description": f"{text} about {{topic}}", "expected_output": "A sentence", "agent": agent, **fields}


def crew_of_nobody() -> dict[str, Any]:
    call = crew("writer", "Write")
    call["with"]["tasks"][0]["agent"] = "nobody"
    return call


WITH_TOOL = Case(
    name="with-tool",
    definition=sample("crew_with_tool.json"),
    inputs={"item": "Chairs", "seats": 3, "monthly_price": 5},
    steps=("cost · analyst", "recommendation · writer"),
    model_calls=3,
    rules=[
        {
            "when": {"tool": "calculator", "not_called": "calculator"},
            "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "12 * 3 * 5"}}]},
        },
        {"when": {"called": "calculator", "last": "^180$"}, "reply": {"content": "180 dollars"}},
        {"when": {"any": "180 dollars"}, "reply": {"content": "Buy them."}},
    ],
    tool_calls=(("calculator", {"expression": "12 * 3 * 5"}),),
    says="Buy them.",
    units=(("cost", "analyst"), ("recommendation", "writer")),
    values=frozenset({"cost", "recommendation"}),
    changes=(
        Change("a task's prompt", Edit(prompts={"recommendation": "Advise against it."}), 1, "Advise against it."),
        Change("texts of an agent", Edit(prompts={"analyst": {"backstory": "Knows all."}}), 0, "Knows all."),
        Change("an agent's goal", Edit(prompts={"writer": "Say no to {item}"}), 1, "Say no to Chairs"),
        Change("one model", Edit(models={"writer": "big", "*": "tiny"}), 1, models=frozenset({"big"})),
        Change("an output", Edit(values={"cost": "99 dollars"}), 1, "99 dollars", says="99 dollars"),
        Change("an input", Edit(inputs={"item": "Tables"}), 1, "of 3 should buy Tables"),
    ),
    wrong_edits=(
        ("prompts.cost.goal", Edit(prompts={"cost": {"goal": "x"}})),
        ("prompts.cost", Edit(prompts={"cost": ""})),
        ("models.cost", Edit(models={"cost": "big"})),
        ("values.recommendation", Edit(values={"recommendation": "Too early."})),
        ("inputs.colour", Edit(prompts={"cost": "What costs {item} in {colour}?"})),
    ),
)

HIERARCHICAL = Case(
    name="hierarchical",
    definition=sample("crew_hierarchical.json"),
    inputs={"product": "Omium", "version": "2", "changes": "many {things}"},
    steps=("changes · engineer", "notes · editor"),
    model_calls=6,
    rules=[
        {
            "when": {"any": "List the three", "not_called": "delegate_work_to_coworker", "system": "Crew Manager"},
            "reply": {
                "tool_calls": [
                    {
                        "name": "delegate_work_to_coworker",
                        "arguments": {"task": "List them", "context": "all", "coworker": "Release engineer"},
                    }
                ]
            },
        },
        {
            "when": {"any": "Write the release", "not_called": "ask_question_to_coworker", "system": "Crew Manager"},
            "reply": {
                "tool_calls": [
                    {
                        "name": "ask_question_to_coworker",
                        "arguments": {"question": "Is it short?", "context": "all", "coworker": "Editor"},
                    }
                ]
            },
        },
        {"when": {"called": "ask_question_to_coworker"}, "reply": {"content": "# Omium 2"}},
    ],
    says="# Omium 2",
)

CONCURRENT = Case(
    name="concurrent",
    definition={
        "agents": [
            {"name": "scout", **agent("Scout")},
            {"boss": agent("Boss", llm={"model": "openai/big", "seed": 1})},
        ],
        "tasks": [
            {"name": "north", **task("scout", "Look north", async_execution=True)},
            {"name": "south", **task("scout", "Look south", async_execution=True)},
            {"name": "sum", **task("boss", "Sum up", context=["north", "south"])},
            task("boss", "Forget", context=[]),
        ],
        "inputs": {"topic": "foxes"},
    },
    inputs={},
    steps=("north · scout + south · scout", "sum · boss", "task 4 · boss"),
    model_calls=4,
    models=frozenset({DEFAULT_MODEL, "openai/big"}),
    rules=[
        {"when": {"any": "Look north"}, "reply": {"content": "seen in the north"}},
        {"when": {"any": "Look south"}, "reply": {"content": "none in the south"}},
        {"when": {"any": "(?s)Sum up.*seen in the north.*none in the south"}, "reply": {"content": "some foxes"}},
    ],
    says="some foxes",
)

GUARDED = Case(
    name="guarded",
    definition={
        "agents": {"poet": agent("Poet")},
        "tasks": {
            "poem": task("poet", "Write a poem", guardrail="It must rhyme"),
            "facts": task(
                "poet",
                "List facts",
                output_json={
                    "title": "Facts",
                    "type": "object",
                    "properties": {"count": {"type": "integer"}},
                    "required": ["count"],
                },
            ),
        },
    },
    inputs={"topic": "rain"},
    steps=("poem · poet", "facts · poet"),
    model_calls=5,
    rules=[
        {
            "when": {"system": "Guardrail"},
            "reply": {"json": {"valid": False, "feedback": "It does not rhyme"}},
            "times": 1,
        },
        {"when": {"system": "Guardrail"}, "reply": {"json": {"valid": True, "feedback": None}}},
        {"when": {"any": "It does not rhyme"}, "reply": {"content": "Rain on a train"}},
        {"when": {"any": "List facts"}, "reply": {"json": {"count": 7}}},
    ],
    says='"json": {"count": 7}',
)

BROKEN_TOOL = Case(
    name="broken-tool",
    definition={
        "agents": {"a": agent("Tester", tools=["broken_tool"])},
        "tasks": {"t": task("a", "Try the tool")},
    },
    inputs={"topic": "tools"},
    steps=("t · a",),
    model_calls=2,
    rules=[
        {
            "when": {"not_called": "broken_tool"},
            "reply": {"tool_calls": [{"name": "broken_tool", "arguments": {"reason": "out of paper"}}]},
        },
        {"when": {"last": "out of paper"}, "reply": {"content": "The tool is broken."}},
    ],
    says="The tool is broken.",
)


#: People who ask for more, correct, and answer for two tasks at once.
REVIEWED = Case(
    name="reviewed",
    definition={
        "agents": {"poet": agent("Poet"), "scout": agent("Scout")},
        "tasks": {
            "poem": task("poet", "Write a poem", human_input=True),
            "north": task("scout", "Look north", async_execution=True, human_input=True),
            "south": task("scout", "Look south", async_execution=True, human_input=True, context=["poem"]),
            "sum": task("poet", "Sum up", context=["poem", "north", "south"]),
        },
    },
    inputs={"topic": "rain"},
    steps=("poem · poet", "north · scout + south · scout", "sum · poet"),
    model_calls=5,
    rules=[
        {"when": {"last": "It must rhyme"}, "reply": {"content": "Rain on a train"}},
        {"when": {"any": "Write a poem"}, "reply": {"content": "Rain is wet"}},
        {"when": {"any": "Look north"}, "reply": {"content": "seen in the north"}},
        {"when": {"any": "(?s)Look south.*Rain on a train"}, "reply": {"content": "none in the south"}},
        {
            "when": {"any": "(?s)Sum up.*Rain on a train.*seen in the north.*many in the south"},
            "reply": {"content": "some foxes"},
        },
    ],
    says="some foxes",
    answers=(
        ("Rain is wet", Answer("reject", "It must rhyme")),
        ("Rain on a train", Answer("approve")),
        ("none in the south", Answer("edit", "many in the south")),
        ("seen in the north", Answer("approve")),
    ),
    rejected=StepError,
)


#: A flow is one step, however often it goes round.
FLOW = Case(
    name="flow",
    definition=LOOP,
    inputs={"topic": "rain"},
    steps=("flow · Poems",),
    model_calls=LOOP_CALLS,
    rules=LOOP_RULES,
    tool_calls=(("calculator", {"expression": "12 * 2"}),),
    says='"raw": "second draft: 24"',
    units=(("Poems",),),
    values=frozenset({"draft", "review", "decide", "number", "print"}),
    changes=(
        Change(
            "a task's prompt", Edit(prompts={"writer_task": "Sing of {topic}. Advice: {advice}"}), shows="Sing of rain."
        ),
        Change("an agent's texts", Edit(prompts={"review.review": {"backstory": "Mild."}}), shows="Mild."),
        Change("one model", Edit(models={"writer": "big", "*": "tiny"}), models=frozenset({"big", "tiny"})),
        Change("an input", Edit(inputs={"topic": "snow"}), shows="Write about snow"),
    ),
    wrong_edits=(
        ("prompts.writer.input", Edit(prompts={"writer": {"input": "x"}})),
        ("models.writer_task", Edit(models={"writer_task": "big"})),
        ("values.draft", Edit(values={"draft": "x"})),
    ),
)


class TestCrewAI(AdapterConformance):
    framework = "crewai"
    cases = (WITH_TOOL, HIERARCHICAL, CONCURRENT, GUARDED, FLOW)
    asking_cases = (REVIEWED,)
    broken_tool_case = BROKEN_TOOL
    wrong = (
        ("tasks", {"agents": {"a": agent("A")}}),
        ("tasks.t.agent", {"agents": {"a": agent("A")}, "tasks": {"t": task("b", "x")}}),
        ("methods.m.do.with.tasks[0].agent", flow({"m": {"start": True, "do": crew_of_nobody()}})),
        ("agents.a.tools[0]", {"agents": {"a": agent("A", tools=["nope"])}, "tasks": {"t": task("a", "x")}}),
    )
