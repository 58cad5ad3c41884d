"""The flow adapter under the conformance suite: flows of one step, whose agent is of one framework or another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from activities.adapters.base import Answer, Edit, ToolFailed
from tests.conformance.runs import Case, Change
from tests.conformance.suite import AdapterConformance


def one_step(framework: str, config: dict[str, Any], **step: Any) -> dict[str, Any]:
    return {
        "agents": [{"id": "worker", "framework": framework, "config": config}],
        "flow": [{"agent": "worker", **step}],
    }


def graph(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A graph of nodes that run one after the other."""
    names = ["START", *(node["id"] for node in nodes), "END"]
    fields = {"topic": {"type": "string"}, "notes": {"type": "string"}, "text": {"type": "string"}}
    edges = [{"from": a, "to": b} for a, b in pairwise(names)]
    return {"state": fields, "nodes": list(nodes), "edges": edges}


CREW = {"role": "Clerk", "goal": "Help with {topic}", "backstory": "Knows it."}

GRAPH = Case(
    name="graph",
    definition=one_step(
        "langgraph",
        graph(
            {"id": "research", "type": "llm", "prompt": "Find {{ topic }}.", "output": "notes"},
            {"id": "write", "type": "llm", "prompt": "Write from {{ notes }}.", "output": "text"},
        ),
        inputs={"topic": "subject"},
        outputs=["text"],
    ),
    inputs={"subject": "tea"},
    steps=("research", "write"),
    model_calls=2,
    rules=[
        {"when": {"last": "^(Find|Seek) "}, "reply": {"content": "leaves"}},
        {"when": {"any": "Write from leaves"}, "reply": {"content": "Tea is leaves."}},
        {"when": {"any": "Write from roots"}, "reply": {"content": "Tea is roots."}},
    ],
    says="Tea is leaves.",
    units=(("1", "worker", "research"), ("1", "worker", "write")),
    values=frozenset({"topic", "notes", "text"}),
    changes=(
        Change("a prompt inside", Edit(prompts={"worker.research": "Seek {{ topic }}."}), shows="Seek tea."),
        Change("a prompt by the inner name", Edit(prompts={"write": "Write from {{ notes }}!"}), 1, shows="leaves!"),
        Change("an agent's model", Edit(models={"worker": "other"}), models=frozenset({"other"})),
        Change("a value", Edit(values={"notes": "roots"}), 1, shows="roots", says="Tea is roots."),
        Change("a value of the step", Edit(values={"1.notes": "roots"}), 1, shows="roots", says="Tea is roots."),
        Change("an input of the run", Edit(inputs={"subject": "coffee"}), shows="Find coffee."),
    ),
    wrong_edits=(
        ("prompts.worker", Edit(prompts={"worker": "Which of the two?"})),
        ("prompts.worker.writ", Edit(prompts={"worker.writ": "Nobody."})),
        ("prompts.write.sistem", Edit(prompts={"write": {"sistem": "You write."}})),
        ("values.1.notes", Edit(values={"1.notes": 3})),
        ("inputs.subjekt", Edit(inputs={"subjekt": "coffee"})),
    ),
)

LONE = Case(
    name="lone-agent-of-a-crew",
    definition=one_step("crewai", CREW, task="Sum up {{ topic }}.", inputs=["topic"], outputs=["summary"]),
    inputs={"topic": "tea"},
    steps=("worker · worker",),
    model_calls=1,
    rules=[{"when": {"any": "Sum up tea"}, "reply": {"content": "Leaves."}}],
    says="Leaves.",
    units=(("1", "worker"),),
    values=frozenset({"topic", "task", "summary"}),
    changes=(
        Change("its task", Edit(prompts={"worker": "Praise {topic}."}), shows="Praise tea."),
        Change("its texts", Edit(prompts={"1": {"goal": "Hurry with {topic}"}}), shows="Hurry with tea"),
        Change("its model", Edit(models={"1": "other"}), models=frozenset({"other"})),
        Change("its input", Edit(inputs={"topic": "rum"}), shows="rum"),
    ),
    wrong_edits=(("prompts.worker.gaol", Edit(prompts={"worker": {"gaol": "x"}})),),
)

BROKEN_TOOL = Case(
    name="broken-tool",
    definition=one_step(
        "langgraph",
        graph(
            {"id": "say", "type": "llm", "prompt": "Say {{ topic }}.", "output": "notes"},
            {"id": "break", "type": "tool", "tool": "broken_tool", "args": {"reason": "no tea"}, "output": "text"},
        ),
    ),
    inputs={"topic": "tea"},
    steps=("say", "break"),
    model_calls=1,
)

ASKING = Case(
    name="a-person",
    definition=one_step(
        "langgraph",
        {
            "state": {"draft": {"type": "string"}, "review": {"type": "object"}, "out": {"type": "string"}},
            "nodes": [
                {"id": "write", "type": "llm", "prompt": "Write.", "output": "draft"},
                {"id": "ask", "type": "approval", "question": "{{ draft }}", "output": "review"},
                {"id": "end", "type": "template", "template": "{{ draft }} {{ review.approved }}", "output": "out"},
            ],
            "edges": [
                {"from": "START", "to": "write"},
                {"from": "write", "to": "ask"},
                {"from": "ask", "to": "end"},
            ],
        },
        outputs=["out"],
    ),
    inputs={},
    steps=("write", "ask", "end"),
    model_calls=1,
    rules=[{"reply": {"content": "A draft."}}],
    answers=(("A draft.", Answer("approve")),),
    rejected="A draft. false",
    says="A draft. true",
)


class TestFlow(AdapterConformance):
    framework = "flow"
    cases = (GRAPH, LONE)
    asking_cases = (ASKING,)
    broken_tool_case = BROKEN_TOOL
    broken_tool_error = ToolFailed
    wrong = (
        ("flow[0].agent", {**GRAPH.definition, "flow": [{"agent": "nobody"}]}),
        ("agents[0].config.nodes", one_step("langgraph", {"edges": []})),
    )
