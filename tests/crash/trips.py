"""One trip in each framework: a planner plans it; a clerk, who takes over by a vote and with an approval, books a room and a seat.

What the model says depends on the request alone: a call that is asked again after a kill gets the same answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.autogen import teams
from tests.semantic_kernel import support as kernel

JsonObject = dict[str, Any]

TOOLS = ["book_room", "hold_seat"]
#: Model calls in each of both steps.
PLANNER_CALLS, CLERK_CALLS = 1, 3
VOTER = "ada"


def _contracts(planner: str, clerk: str) -> JsonObject:
    return {
        "handoffs": [{"from": planner, "to": clerk, "voters": [{"person": VOTER}]}],
        "approvals": [{"step": clerk, "question": "May it be booked?"}],
    }


def _graph(node: JsonObject) -> JsonObject:
    fields = {"trip": {"type": "string"}, "plan": {"type": "string"}, "said": {"type": "string"}}
    edges = [{"from": "START", "to": node["id"]}, {"from": node["id"], "to": "END"}]
    return {"state": fields, "nodes": [node], "edges": edges}


_PLAN = {"id": "plan", "type": "llm", "system": "You are planner.", "prompt": "Plan {{ trip }}.", "output": "plan"}
_BOOK = {
    "id": "book",
    "type": "llm",
    "system": "You are clerk.",
    "prompt": "Book {{ trip }}: {{ plan }}",
    "tools": TOOLS,
    "output": "said",
}

_CREW: JsonObject = {
    "agents": {
        "planner": {"role": "planner", "goal": "Plan", "backstory": "Exact."},
        "clerk": {"role": "clerk", "goal": "Book", "backstory": "Quick.", "tools": TOOLS},
    },
    "tasks": {
        "plan": {"description": "Plan {trip}", "expected_output": "A plan", "agent": "planner"},
        "book": {"description": "Book {trip}", "expected_output": "A line", "agent": "clerk"},
    },
    **_contracts("plan", "book"),
}

_TEAM: JsonObject = {
    **teams.team(
        "RoundRobinGroupChat",
        teams.agent("planner"),
        teams.agent("clerk", tools=TOOLS, max_tool_iterations=4),
        max_turns=2,
    ),
    **_contracts("planner", "clerk"),
}

_KERNEL: JsonObject = {
    "agents": [kernel.agent("planner", "You are planner."), kernel.agent("clerk", "You are clerk.", tools=TOOLS)],
    "orchestration": {"type": "sequential"},
    **_contracts("planner", "clerk"),
}

_FLOW: JsonObject = {
    "agents": [
        {"id": "planner", "framework": "langgraph", "config": _graph(_PLAN)},
        {
            "id": "clerk",
            "framework": "crewai",
            "config": {"role": "clerk", "goal": "Book", "backstory": "Quick.", "tools": TOOLS},
        },
    ],
    "flow": [
        {"step": "plan", "agent": "planner", "outputs": ["plan"]},
        {
            "step": "book",
            "agent": "clerk",
            "task": "Book {{ trip }}: {{ plan }}",
            "outputs": ["said"],
            "approval": {"question": "May it be booked?"},
            "consensus_required": True,
            "consensus": {"voters": [{"person": VOTER}]},
        },
    ],
}

DEFINITIONS: dict[str, JsonObject] = {
    "langgraph": {
        "state": {"trip": {"type": "string"}, "plan": {"type": "string"}, "said": {"type": "string"}},
        "nodes": [_PLAN, _BOOK],
        "edges": [{"from": "START", "to": "plan"}, {"from": "plan", "to": "book"}, {"from": "book", "to": "END"}],
        **_contracts("plan", "book"),
    },
    "crewai": _CREW,
    "autogen": _TEAM,
    "semantic_kernel": _KERNEL,
    "flow": _FLOW,
}


def workflow(framework: str) -> JsonObject:
    definition = DEFINITIONS[framework]
    return {"name": f"trip in {framework}", "framework": framework, "workflow_definition": definition}


def inputs(framework: str, trip: str) -> JsonObject:
    return {"task": f"Plan {trip}"} if framework in ("autogen", "semantic_kernel") else {"trip": trip}


def rules(trip: str, folder: Path) -> list[JsonObject]:
    """What the model says of one trip. The planner's answer waits for the gate that has the trip's name."""
    where = {"guest": trip, "folder": str(folder)}

    def called(tool: str) -> JsonObject:
        call = {"name": tool, "arguments": where}
        return {"when": {"any": trip, "tool": tool, "not_called": tool}, "reply": {"tool_calls": [call]}}

    return [
        {"when": {"any": trip, "system": "planner"}, "reply": {"content": f"A plan of {trip}."}, "gate": trip},
        *(called(tool) for tool in TOOLS),
        {"when": {"any": trip, "system": "clerk"}, "reply": {"content": f"Booked {trip}."}},
    ]
