"""AutoGen's adapter under the conformance suite."""

from __future__ import annotations

from activities.adapters.base import Answer, Edit
from tests.autogen.teams import agent, condition, either, graph, model, person, team
from tests.conformance.runs import DEFAULT_MODEL, Case, Change
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
    units=(("counter",), ("critic",), ("counter",), ("critic",)),
    values=frozenset({"messages", "last", "counter", "critic", "user"}),
    changes=(
        Change("prompt", Edit(prompts={"critic": "You are kind."}), before=1, shows="You are kind."),
        Change("fields", Edit(prompts={"counter": {"system_message": "Count up."}}), shows="Count up."),
        Change("model", Edit(models={"critic": "small"}), before=1, models=frozenset({"small"})),
        Change("task", Edit(inputs={"task": "How much is 7 times 7?"}), shows="7 times 7"),
        Change("task of agents that know it", Edit(inputs={"task": "6 times 9?"}), before=2, shows="6 times 9?"),
        Change(
            "another word",
            Edit(
                values={
                    "messages": [
                        {"source": "user", "content": "How much is 6 times 7?", "type": "TextMessage"},
                        {"source": "counter", "content": "It is 42, I think.", "type": "TextMessage"},
                    ]
                }
            ),
            before=1,
            shows="It is 42, I think.",
            says="It is 42, I think.",
        ),
        Change(
            "a message more",
            Edit(
                values={
                    "messages": [
                        {"source": "user", "content": "How much is 6 times 7?", "type": "TextMessage"},
                        {"source": "counter", "content": "It is 42.", "type": "TextMessage"},
                        {"source": "user", "content": "Be gentle.", "type": "TextMessage"},
                    ]
                }
            ),
            before=1,
            shows="Be gentle.",
            says="Be gentle.",
        ),
        Change(
            "a shorter conversation",
            Edit(values={"messages": [{"source": "user", "content": "Only this."}]}),
            before=3,
            shows="Only this.",
            says="Only this.",
        ),
    ),
    wrong_edits=(
        ("prompts.critic.goal", Edit(prompts={"critic": {"goal": "x"}})),
        ("prompts.RoundRobinGroupChat", Edit(prompts={"RoundRobinGroupChat": "x"})),
        ("values.last", Edit(values={"last": "x"})),
        ("values.messages", Edit(values={"messages": "x"})),
        ("values.messages[0]", Edit(values={"messages": [{"content": "x"}]})),
        ("values.messages[0].content", Edit(values={"messages": [{"source": "user", "content": 1}]})),
    ),
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
    units=(("planner",), ("writer",), ("editor",)),
    changes=(
        Change(
            "the selector's prompt",
            Edit(prompts={"SelectorGroupChat": "Who of {participants} knows {roles}?\n{history}"}),
            shows="Who of ",
        ),
        Change(
            "an agent's description", Edit(prompts={"editor": {"description": "Never write."}}), shows="Never write."
        ),
        Change(
            "the selector's model",
            Edit(models={"SelectorGroupChat": "clever"}),
            models=frozenset({DEFAULT_MODEL, "clever"}),
        ),
    ),
    wrong_edits=(("prompts.SelectorGroupChat", Edit(prompts={"SelectorGroupChat": "{everything}"})),),
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
    units=(("front",), ("refunds",), ("refunds",), ("front",)),
    changes=(
        Change(
            "a handoff",
            Edit(
                values={
                    "messages": [
                        {"source": "user", "content": "I want a sofa."},
                        {"source": "front", "content": "Over to you.", "type": "HandoffMessage", "target": "sales"},
                    ]
                }
            ),
            before=1,
            shows="You are sales.",
        ),
    ),
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
    units=(
        ("writer",),
        ("north", "south"),
        ("judge",),
        ("writer",),
        ("north", "south"),
        ("judge",),
        ("printer",),
    ),
    changes=(Change("one of two", Edit(prompts={"south": "You are warm."}), before=1, shows="You are warm."),),
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


#: An agent asks the person that the team works for, twice.
HANDOFF_TO_USER = Case(
    name="handoff-to-user",
    definition=team(
        "Swarm",
        agent("desk", handoffs=["clerk"]),
        agent("clerk", handoffs=["user"]),
        termination_condition=either(
            condition("HandoffTermination", target="user"), condition("TextMentionTermination", text="BOOKED")
        ),
    ),
    inputs={"task": "A flight"},
    steps=(
        "turn 1 · desk",
        "turn 2 · clerk",
        "turn 3 · user",
        "turn 4 · clerk",
        "turn 5 · user",
        "turn 6 · clerk",
    ),
    model_calls=4,
    rules=[
        {"when": {"system": "desk"}, "reply": {"tool_calls": [{"name": "transfer_to_clerk"}]}},
        {"when": {"last": "To Rome"}, "reply": {"content": "One moment", "tool_calls": [{"name": "transfer_to_user"}]}},
        {"when": {"last": "APPROVE"}, "reply": {"content": "BOOKED to Rome"}},
        {"when": {"last": "REJECT"}, "reply": {"content": "NOT BOOKED, as you wish"}},
        {"when": {"system": "clerk"}, "reply": {"tool_calls": [{"name": "transfer_to_user"}]}},
    ],
    answers=(("One moment", Answer("approve")), ("clerk", Answer("edit", "To Rome"))),
    says="BOOKED to Rome",
    rejected="as you wish",
)

#: A person among the agents, whose turn is known.
PERSON = Case(
    name="person-in-turn",
    definition=team(
        "RoundRobinGroupChat",
        agent("writer"),
        person("editor"),
        termination_condition=condition("TextMentionTermination", text="APPROVE"),
    ),
    inputs={"task": "A line"},
    steps=("turn 1 · writer", "turn 2 · editor", "turn 3 · writer", "turn 4 · editor"),
    model_calls=2,
    rules=[
        {"when": {"last": "^Shorter|^REJECT"}, "reply": {"content": "Brief."}},
        {"reply": {"content": "A long line."}},
    ],
    answers=(("A long line.", Answer("reject", "Shorter")), ("Brief.", Answer("approve"))),
    says="Brief.",
    rejected="REJECT",
)

#: A person whom the model may choose.
CHOSEN = Case(
    name="chosen-person",
    definition=team(
        "SelectorGroupChat",
        agent("writer"),
        person("editor"),
        agent("printer"),
        model_client=model("selector-model"),
        selector_prompt="{history}",
        max_turns=2,
    ),
    inputs={"task": "A line"},
    steps=("turn 1", "turn 2"),
    model_calls=3,
    rules=[
        {"when": {"model": "selector-model", "last": "written"}, "reply": {"content": "editor"}},
        {"when": {"model": "selector-model"}, "reply": {"content": "writer"}},
        {"reply": {"content": "written"}},
    ],
    answers=(("written", Answer("approve", {"mark": 1})),),
    says='{\\"mark\\": 1}',
    rejected="REJECT",
)

#: Two people and an agent at the same time.
PANEL = Case(
    name="panel",
    definition=team(
        "GraphFlow",
        agent("writer"),
        person("ann"),
        person("bob"),
        agent("robot"),
        agent("judge"),
        graph=graph(
            "writer -> ann", "writer -> bob", "writer -> robot", "ann -> judge", "bob -> judge", "robot -> judge"
        ),
    ),
    inputs={"task": "A line"},
    steps=("turn 1 · writer", "turn 2 · ann + bob + robot", "turn 3 · judge"),
    model_calls=3,
    rules=[
        {"when": {"system": "writer"}, "reply": {"content": "A line."}},
        {"when": {"system": "robot"}, "reply": {"content": "fine"}},
    ],
    answers=(("A line.", Answer("approve", "good")),),
    says="good",
    rejected="REJECT",
)


class TestAutoGen(AdapterConformance):
    framework = "autogen"
    cases = (ROUND_ROBIN, SELECTOR, SWARM, GRAPH)
    asking_cases = (HANDOFF_TO_USER, PERSON, CHOSEN, PANEL)
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
