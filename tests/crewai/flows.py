"""Parts of flows for tests."""

from __future__ import annotations

from typing import Any

from activities.adapters.base import JsonObject


def agent(role: str, **fields: Any) -> JsonObject:
    return {"role": role, "goal": f"Be a {role}", "backstory": "Long in the trade.", **fields}


def crew(name: str, text: str, **inputs: Any) -> JsonObject:
    """A crew of one agent and one task that has the agent's name and `_task`."""
    task = {"name": f"{name}_task", "description": text, "expected_output": "A line", "agent": name}
    return {"call": "crew", "with": {"agents": {name: agent(name)}, "tasks": [task]}, "inputs": inputs}


def expression(source: str) -> JsonObject:
    return {"call": "expression", "expr": source}


def flow(methods: JsonObject, **fields: Any) -> JsonObject:
    return {"schema": "crewai.flow/v1", "name": "Poems", "methods": methods, **fields}


#: A draft is judged and written again until the judge is content; then it gets a number.
LOOP: JsonObject = flow(
    {
        "draft": {
            "start": True,
            "listen": "again",
            "do": crew(
                "writer",
                "Write about {topic}. Advice: {advice}",
                topic="${state.topic}",
                advice="${has(outputs.review) ? outputs.review.raw : 'none'}",
            ),
        },
        "review": {
            "listen": "draft",
            "do": {"call": "agent", "with": {**agent("critic"), "input": "Judge this: ${outputs.draft.raw}"}},
        },
        "decide": {
            "listen": "review",
            "router": True,
            "emit": ["again", "good"],
            "do": expression("outputs.review.raw.startsWith('good') ? 'good' : 'again'"),
        },
        "number": {
            "listen": "good",
            "do": {"call": "tool", "ref": "calculator", "with": {"expression": "${size(outputs.draft.raw)} * 2"}},
        },
        "print": {"listen": "number", "do": expression("outputs.draft.raw + ': ' + string(outputs.number)")},
    },
    state={"type": "dict", "default": {"topic": "rain"}},
)
#: What the model says to it: the first draft is bad, the second one good. It depends on the request alone.
LOOP_RULES: list[JsonObject] = [
    {"when": {"system": "critic", "last": "first draft"}, "reply": {"content": "bad: shorter"}},
    {"when": {"system": "critic"}, "reply": {"content": "good"}},
    {"when": {"last": "Advice: bad: shorter"}, "reply": {"content": "second draft"}},
    {"when": {"system": "writer"}, "reply": {"content": "first draft"}},
]
LOOP_CALLS = 4
