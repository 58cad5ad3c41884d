"""Semantic Kernel's adapter under the conformance suite."""

from __future__ import annotations

import json
from typing import Any

from activities.adapters.base import Answer, Edit
from tests.conformance.runs import DEFAULT_MODEL, Case, Change
from tests.conformance.suite import AdapterConformance


def agent(name: str, instructions: str, **fields: Any) -> dict[str, Any]:
    return {"type": "chat_completion_agent", "name": name, "instructions": instructions, **fields}


def calling(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": tool, "arguments": arguments}]}


SEQUENTIAL = Case(
    name="sequential",
    definition={
        "agents": [
            agent("counter", "You count {{$things}}.", tools=[{"id": "calculator", "type": "function"}]),
            agent("writer", "You write.", model={"id": "big", "options": {"temperature": 0.2, "seed": 7}}),
        ],
        "orchestration": {"type": "sequential"},
    },
    inputs={"task": "How much is 6 times 7?", "things": "apples & pears"},
    steps=("counter", "writer"),
    model_calls=3,
    models=frozenset({DEFAULT_MODEL, "big"}),
    rules=[
        {
            "when": {"system": "count apples & pears", "tool": "calculator", "not_called": "calculator"},
            "reply": calling("calculator", expression="6 * 7"),
        },
        {"when": {"called": "calculator", "last": "^42$"}, "reply": {"content": "It is 42."}},
        {"when": {"system": "Write a poem", "last": "^It is 42.$"}, "reply": {"content": "A poem of 42."}},
        {"when": {"system": "You write", "last": "^It is 42.$"}, "reply": {"content": "Forty-two."}},
    ],
    tool_calls=(("calculator", {"expression": "6 * 7"}),),
    says="Forty-two.",
    units=(("counter",), ("writer",)),
    values=frozenset({"messages", "last", "counter", "writer"}),
    changes=(
        Change("instructions", Edit(prompts={"writer": "Write a poem."}), before=1, shows="poem", says="A poem of 42."),
        Change(
            "several texts",
            Edit(prompts={"counter": {"instructions": "You add.", "description": "Adds"}}),
            shows="You add.",
        ),
        Change("a model", Edit(models={"writer": "small"}), before=1, models=frozenset({"small"})),
        Change("what was said", Edit(values={"counter": "It is 43."}), before=1, shows="It is 43."),
        Change("the last message", Edit(values={"last": "It is 44."}), before=1, shows="It is 44."),
        Change("inputs", Edit(inputs={"things": "plums", "task": "How many?"}), shows="How many?"),
    ),
    wrong_edits=(
        ("prompts.writer.role", Edit(prompts={"writer": {"role": "Poet"}})),
        ("prompts.writer", Edit(prompts={"writer": "{{no.such_tool}}"})),
        ("values.writer", Edit(values={"writer": "too early"})),
        ("values.messages[0]", Edit(values={"messages": [{"role": "user"}]})),
    ),
)

CONCURRENT = Case(
    name="concurrent",
    definition={
        "agents": {"optimist": agent("optimist", "You hope."), "pessimist": agent("pessimist", "You fear.")},
        "orchestration": "concurrent",
    },
    inputs={"topic": "rain"},
    steps=("optimist + pessimist",),
    model_calls=2,
    rules=[
        {"when": {"system": "You hope", "last": '{"topic": "rain"}'}, "reply": {"content": "It is wet."}},
        {"when": {"system": "You fear", "last": '{"topic": "rain"}'}, "reply": {"content": "It is too wet."}},
    ],
    says='"results": {"optimist": "It is wet.", "pessimist": "It is too wet."}',
    units=(("optimist", "pessimist"),),
    values=frozenset({"messages", "last", "optimist", "pessimist"}),
    changes=(Change("a prompt of one", Edit(prompts={"pessimist": "You despair."}), shows="You despair."),),
)

GROUP_CHAT = Case(
    name="group-chat",
    definition={
        "agents": [agent("writer", "You write."), agent("critic", "You judge.", tools=["json_query"])],
        "orchestration": {"type": "group_chat", "max_rounds": 3, "manager": "round_robin"},
    },
    inputs={"task": "A line about tea"},
    steps=("writer", "critic", "round 2 · writer"),
    model_calls=4,
    rules=[
        {
            "when": {"system": "You judge", "not_called": "json_query"},
            "reply": calling("json_query", data={"words": 4}, query="words"),
        },
        {"when": {"system": "You judge", "last": "4"}, "reply": {"content": "Shorter!"}},
        {"when": {"system": "You write", "last": "Shorter!"}, "reply": {"content": "Tea."}},
        {"when": {"system": "You write", "last": "Longer!"}, "reply": {"content": "Tea, tea, tea."}},
        {"when": {"system": "You write"}, "reply": {"content": "Tea is very good."}},
    ],
    tool_calls=(("json_query", {"data": {"words": 4}, "query": "words"}),),
    says='"content": "Tea."',
    units=(("writer",), ("critic",), ("writer",)),
    values=frozenset({"messages", "last", "writer", "critic"}),
    changes=(
        Change(
            "the conversation",
            Edit(
                values={
                    "messages": [
                        {"role": "user", "content": "A line about tea"},
                        {"role": "assistant", "name": "writer", "content": "Tea is very good."},
                        {"role": "assistant", "name": "critic", "content": "Longer!"},
                    ]
                }
            ),
            before=2,
            shows="Longer!",
            says="Tea, tea, tea.",
        ),
    ),
    wrong_edits=(("prompts.manager", Edit(prompts={"manager": "Lead."})),),
)

LED = Case(
    name="led",
    definition={
        "agents": [agent("north", "N", description="Knows the north"), agent("south", "S")],
        "orchestration": {
            "type": "group_chat",
            "manager": {"type": "prompt", "termination_prompt": "Over when the south spoke.", "model": "lead"},
        },
    },
    inputs={"task": "Where is it warm?"},
    steps=("turn 1", "south"),
    model_calls=6,
    models=frozenset({DEFAULT_MODEL, "lead"}),
    rules=[
        {
            "when": {"system": "Knows the north", "any": "Cold here."},
            "reply": {"json": {"result": "south", "reason": "next"}},
        },
        {"when": {"system": "Knows the north"}, "reply": {"content": "I choose north."}},
        {
            "when": {"system": "Over when", "any": "Warm here."},
            "reply": {"json": {"result": True, "reason": "it did"}},
        },
        {"when": {"system": "Over when"}, "reply": {"json": {"result": False, "reason": "it did not"}}},
        {"when": {"system": "^N$"}, "reply": {"content": "Cold here."}},
        {"when": {"system": "^S$", "any": "Cold here."}, "reply": {"content": "Warm here."}},
    ],
    says="Warm here.",
    units=(("north",), ("south",)),
    changes=(
        Change(
            "the manager",
            Edit(prompts={"manager": {"selection_prompt": "Choose well."}}),
            before=0,
            shows="Choose well.",
        ),
    ),
)

HANDOFF = Case(
    name="handoff",
    definition={
        "agents": [
            agent("triage", "You sort requests."),
            agent("refund", "You refund.", tools=["calculator"], description="Gives money back"),
        ],
        "orchestration": {
            "type": "handoff",
            "start": "triage",
            "handoffs": [
                {"from": "triage", "to": "refund"},
                {"from": "refund", "to": "triage", "description": "Anything else"},
            ],
        },
    },
    inputs={"task": "I want my 6 times 7 dollars back"},
    steps=("triage", "refund"),
    model_calls=3,
    rules=[
        {"when": {"system": "You sort"}, "reply": calling("Handoff-transfer_to_refund")},
        {
            "when": {"system": "You refund", "not_called": "calculator"},
            "reply": calling("calculator", expression="6 * 7"),
        },
        {
            "when": {"system": "You refund", "last": "42"},
            "reply": calling("Handoff-complete_task", task_summary="42 dollars refunded"),
        },
    ],
    tool_calls=(("calculator", {"expression": "6 * 7"}),),
    says="42 dollars refunded",
    units=(("triage",), ("refund",)),
    changes=(
        Change("a prompt", Edit(prompts={"refund": {"description": "Pays"}}), before=0, shows='"description": "Pays"'),
    ),
)

FUNCTIONS = Case(
    name="functions",
    definition={
        "functions": [
            {
                "name": "outline",
                "template": "Outline {{$topic}} in {{$count}} points",
                "input_variables": [{"name": "count", "default": "3", "is_required": False}],
                "execution_settings": {"default": {"ai_model_id": "big", "temperature": 0.1}},
            },
            {
                "name": "story",
                "template_format": "handlebars",
                "template": '<message role="system">Tell {{outline}}</message>'
                '<message role="user">{{#each names}}{{this}}, {{/each}}now</message>',
            },
            {
                "name": "title",
                "template": "A title for {{$input}} after {{calculator expression='6*7'}}",
                "tools": ["calculator"],
            },
        ]
    },
    inputs={"topic": "tea & <rain>", "names": ["Ann", "Bob"]},
    steps=("outline", "story", "title"),
    model_calls=3,
    models=frozenset({DEFAULT_MODEL, "big"}),
    rules=[
        {"when": {"last": "^Outline tea & <rain> in 3 points$"}, "reply": {"content": "leaves <b>"}},
        {"when": {"last": "^Outline coffee"}, "reply": {"content": "beans"}},
        {"when": {"system": "^Tell leaves <b>$", "last": "^Ann, Bob, now$"}, "reply": {"content": "Leaves fell."}},
        {"when": {"last": "^A title for Leaves fell. after 42$"}, "reply": {"content": "Fall"}},
    ],
    tool_calls=(("calculator", {"expression": "6*7"}),),
    says='"results": {"outline": "leaves <b>", "story": "Leaves fell.", "title": "Fall"}',
    units=(("outline",), ("story",), ("title",)),
    values=frozenset({"outline", "story", "title", "last"}),
    changes=(
        Change("a template", Edit(prompts={"outline": "Sketch {{$topic}}"}), shows="Sketch tea"),
        Change("an input", Edit(inputs={"topic": "coffee"}), shows="Outline coffee in 3 points"),
        Change("a result", Edit(values={"outline": "bark"}), before=1, shows="Tell bark"),
        Change("a model", Edit(models={"outline": "small"}), models=frozenset({"small"})),
    ),
    wrong_edits=(("prompts.story", Edit(prompts={"story": "{{#if a}}"})),),
)

MAGENTIC = Case(
    name="magentic",
    definition={
        "agents": [agent("coder", "You code.", description="Writes code")],
        "orchestration": {"type": "magentic", "manager": {"max_round_count": 5}},
    },
    inputs={"task": "Sort a list"},
    steps=("manager", "coder"),
    model_calls=6,
    rules=[
        {"when": {"system": "You code", "last": "Write it"}, "reply": {"content": "sorted(items)"}},
        {
            "when": {"last": "(?s)output an answer in pure JSON|JSON format", "any": r"sorted\(items\)"},
            "reply": {
                "json": {
                    "is_request_satisfied": {"reason": "r", "answer": True},
                    "is_in_loop": {"reason": "r", "answer": False},
                    "is_progress_being_made": {"reason": "r", "answer": True},
                    "next_speaker": {"reason": "r", "answer": "coder"},
                    "instruction_or_question": {"reason": "r", "answer": "-"},
                }
            },
        },
        {
            "when": {"last": "(?s)output an answer in pure JSON|JSON format"},
            "reply": {
                "json": {
                    "is_request_satisfied": {"reason": "r", "answer": False},
                    "is_in_loop": {"reason": "r", "answer": False},
                    "is_progress_being_made": {"reason": "r", "answer": True},
                    "next_speaker": {"reason": "r", "answer": "coder"},
                    "instruction_or_question": {"reason": "r", "answer": "Write it"},
                }
            },
        },
        {"when": {"any": r"sorted\(items\)"}, "reply": {"content": "Use sorted."}},
    ],
    says="Use sorted.",
    units=(("manager",), ("coder",)),
)

ASKING = Case(
    name="asking",
    definition={
        "agents": [agent("writer", "You write."), agent("critic", "You judge.")],
        "orchestration": {"type": "group_chat", "max_rounds": 3, "human": ["critic"]},
    },
    inputs={"task": "A line about tea"},
    steps=("writer", "critic", "human", "round 2 · writer"),
    model_calls=3,
    rules=[
        {"when": {"system": "You judge"}, "reply": {"content": "Good?"}},
        {"when": {"system": "You write", "last": "Sweeter"}, "reply": {"content": "Sweet tea."}},
        {"when": {"system": "You write", "last": "Rejected"}, "reply": {"content": "No tea."}},
    ],
    answers=(("Good?", Answer("edit", "Sweeter, please")),),
    says='"raw": "Sweet tea."',
    rejected="No tea.",
)

BROKEN_TOOL = Case(
    name="broken-tool",
    definition=agent("tester", "Try the tool.", tools=["broken_tool"]),
    inputs={"task": "Go"},
    steps=("tester",),
    model_calls=2,
    rules=[
        {"when": {"not_called": "broken_tool"}, "reply": calling("broken_tool", reason="out of paper")},
        {"when": {"last": "Error: .*out of paper"}, "reply": {"content": "The tool is broken."}},
    ],
    says="The tool is broken.",
)


def _handing_to(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads(json.dumps(HANDOFF.definition))
    definition["orchestration"]["handoffs"][0]["to"] = name
    return definition


class TestSemanticKernel(AdapterConformance):
    framework = "semantic_kernel"
    cases = (SEQUENTIAL, CONCURRENT, GROUP_CHAT, LED, HANDOFF, FUNCTIONS, MAGENTIC)
    asking_cases = (ASKING,)
    broken_tool_case = BROKEN_TOOL
    wrong = (
        ("agents", {"orchestration": "sequential"}),
        ("agents[1].name", {"agents": [agent("a", "A"), agent("a", "B")]}),
        ("orchestration", {"agents": [agent("a", "A")], "orchestration": "swarm"}),
        ("orchestration.handoffs[0].to", _handing_to("refnd")),
        ("agents[0].tools[0]", {"agents": [agent("a", "A", tools=["nope"])]}),
        ("agents[0].type", {"agents": [{**agent("a", "A"), "type": "openai_assistant"}]}),
        ("functions[0].template", {"functions": [{"name": "f", "template": "{{$no-name}}"}]}),
    )
