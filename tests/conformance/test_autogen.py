"""AutoGen's adapter under the conformance suite."""

from __future__ import annotations

from tests.autogen.teams import agent, condition, either, graph, model, team
from tests.conformance.runs import DEFAULT_MODEL, Case
from tests.conformance.suite import AdapterConformance

ROUND_ROBIN = Case(
    name="round-robin",
    definition=team(
        "RoundRobinGroupChat",
        agent("counter", tools=["calculator"], reflect_on_tool_use=True),
        agent("critic", model_client=model("big", temperature=0.1, api_key="**********")),
        termination_condition=either(
            condition("TextMentionTermination", text="APPROVE"), condition("MaxMessageTermination", max_messages=9)
        ),
    ),
    inputs={"task": "How much is 6 times 7?"},
    steps=("turn 1 · counter", "turn 2 · critic", "turn 3 · counter", "turn 4 · critic"),
    model_calls=5,
    models=frozenset({DEFAULT_MODEL, "big"}),
    rules=[
        {
            "when": {"tool": "calculator", "not_called": "calculator"},
            "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
        },
        {"when": {"system": "counter", "last": "^42$"}, "reply": {"content": "It is 42."}},
        {"when": {"system": "counter", "last": "Shorter"}, "reply": {"content": "42"}},
        {"when": {"system": "critic", "last": "It is 42"}, "reply": {"content": "Shorter!"}},
        {"when": {"system": "critic"}, "reply": {"content": "APPROVE"}},
    ],
    tool_calls=(("calculator", {"expression": "6*7"}),),
    says='"content": "APPROVE"',
)

SELECTOR = Case(
    name="selector",
    definition=team(
        "SelectorGroupChat",
        agent("planner"),
        agent("writer"),
        agent("editor"),
        model_client=model("selector-model"),
        selector_prompt="Roles:\n{roles}\n\nSo far:\n{history}\n\nChoose one of {participants}.",
        allow_repeated_speaker=False,
        max_turns=3,
    ),
    inputs={"topic": "tea", "length": 2},
    steps=("turn 1", "turn 2", "turn 3"),
    model_calls=7,
    models=frozenset({DEFAULT_MODEL, "selector-model"}),
    rules=[
        {"when": {"model": "selector-model", "last": "No valid name"}, "reply": {"content": "writer"}},
        {"when": {"model": "selector-model", "last": "edited"}, "reply": {"content": "planner"}},
        {"when": {"model": "selector-model", "last": "written"}, "reply": {"content": "editor"}},
        {"when": {"model": "selector-model", "last": "planned"}, "reply": {"content": "somebody"}},
        {"when": {"model": "selector-model"}, "reply": {"content": "planner, please"}},
        {"when": {"system": "planner", "last": "tea"}, "reply": {"content": "planned"}},
        {"when": {"system": "writer"}, "reply": {"content": "written"}},
        {"when": {"system": "editor"}, "reply": {"content": "edited"}},
    ],
    says="edited",
)

SWARM = Case(
    name="swarm",
    definition=team(
        "Swarm",
        agent("front", handoffs=["refunds", {"target": "sales", "description": "Sales", "name": "to_sales"}]),
        agent("refunds", handoffs=["front"], tools=["calculator"], max_tool_iterations=3),
        agent("sales", handoffs=["front"]),
        termination_condition=condition("TextMentionTermination", text="GOODBYE"),
    ),
    inputs={"task": "I want my money back."},
    steps=("turn 1 · front", "turn 2 · refunds", "turn 3 · refunds", "turn 4 · front"),
    model_calls=5,
    rules=[
        {
            "when": {"system": "front", "not_called": "transfer_to_refunds"},
            "reply": {"tool_calls": [{"name": "transfer_to_refunds"}]},
        },
        {
            "when": {"system": "refunds", "not_called": "calculator"},
            "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "10-1"}}]},
        },
        {"when": {"system": "refunds", "last": "^9$"}, "reply": {"content": "You get 9."}},
        {"when": {"system": "refunds"}, "reply": {"tool_calls": [{"name": "transfer_to_front"}]}},
        {"when": {"system": "front"}, "reply": {"content": "GOODBYE"}},
    ],
    tool_calls=(("calculator", {"expression": "10-1"}),),
    says="You get 9.",
)

#: Two branches at once, a join, and a way back: the loop is entered twice.
GRAPH = Case(
    name="graph-flow",
    definition={
        "component": team(
            "GraphFlow",
            agent("writer"),
            agent("north"),
            agent("south"),
            agent("judge"),
            agent("printer"),
            graph=graph(
                "writer -> south",
                "writer -> north",
                "north -> judge",
                "south -> judge",
                "judge -> writer",
                "judge -> printer",
                judge_writer="REVISE",
                judge_printer="PRINT",
            )
            | {"default_start_node": "writer"},
            max_turns=12,
        )
    },
    inputs={"task": "A line about tea"},
    steps=(
        "turn 1 · writer",
        "turn 2 · north + south",
        "turn 3 · judge",
        "turn 4 · writer",
        "turn 5 · north + south",
        "turn 6 · judge",
        "turn 7 · printer",
    ),
    model_calls=9,
    rules=[
        {"when": {"system": "writer", "any": "REVISE"}, "reply": {"content": "Tea is hot."}},
        {"when": {"system": "writer"}, "reply": {"content": "Tea."}},
        {"when": {"system": "north", "last": "hot"}, "reply": {"content": "warm indeed"}},
        {"when": {"system": "south", "last": "hot"}, "reply": {"content": "rather hot"}},
        {"when": {"system": "north"}, "reply": {"content": "too short", "delay": 0.02}},
        {"when": {"system": "south"}, "reply": {"content": "too cold"}},
        {"when": {"system": "judge", "any": "warm indeed"}, "reply": {"content": "PRINT"}},
        {"when": {"system": "judge"}, "reply": {"content": "REVISE"}},
        {"when": {"system": "printer"}, "reply": {"content": "Printed: Tea is hot."}},
    ],
    says="Printed: Tea is hot.",
)

BROKEN_TOOL = Case(
    name="broken-tool",
    definition=agent("tester", tools=["broken_tool"], reflect_on_tool_use=True),
    inputs={"task": "Try the tool"},
    steps=("turn 1 · tester",),
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


class TestAutoGen(AdapterConformance):
    framework = "autogen"
    cases = (ROUND_ROBIN, SELECTOR, SWARM, GRAPH)
    broken_tool_case = BROKEN_TOOL
    wrong = (
        ("config.participants", team("RoundRobinGroupChat")),
        ("config.participants[1].provider", team("Swarm", agent("a"), {"provider": "os.system", "config": {}})),
        (
            "config.participants[0].config.workbench[0].config.tools[0].config.name",
            team("RoundRobinGroupChat", agent("a", tools=["nope"])),
        ),
        ("config.participants[0].config.handoffs[0]", team("Swarm", agent("a", handoffs=["b"]))),
        ("config.graph.nodes.b", team("GraphFlow", agent("a"), graph=graph("a -> b"))),
    )
