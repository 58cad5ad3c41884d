"""Small flows for tests, and a driver that runs them node by node as a run does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activities.adapters.base import Answer, JsonObject, ModelEndpoint, StepContext
from activities.adapters.flow.adapter import FlowAdapter
from activities.adapters.flow.definition import DEFINITION
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

EXAMPLE: JsonObject = json.loads((Path(__file__).parents[2] / "examples" / "flow_onboarding.json").read_text())
ONBOARDING: JsonObject = EXAMPLE["workflow_definition"]

#: What the model says in the onboarding example.
ONBOARDING_RULES: list[dict[str, Any]] = [
    {"when": {"any": "Check the identity"}, "reply": {"content": '{"kyc_verified": true, "kyc_score": 0.9}'}},
    {"when": {"system": "score credit"}, "reply": {"content": '{"credit_score": 720, "reason": "Pays on time."}'}},
    {"when": {"system": "three largest risks"}, "reply": {"content": "Three risks."}},
    {"when": {"system": "weigh the risks"}, "reply": {"content": "They can be borne."}},
    {"when": {"system": "write short letters"}, "reply": {"content": "A draft."}},
    {"when": {"system": "friendly and clear"}, "reply": {"content": "Dear Ada, welcome."}},
]


def template_agent(name: str, **outputs: str) -> JsonObject:
    """A graph of one node that asks no model: it fills templates over its inputs."""
    state = {field: {"type": "any"} for field in outputs}
    node = {"id": "fill", "type": "template", "set": outputs}
    edges = [{"from": "START", "to": "fill"}, {"from": "fill", "to": "END"}]
    return {"id": name, "framework": "langgraph", "config": {"state": state, "nodes": [node], "edges": edges}}


def asking_agent(name: str, prompt: str, **fields: Any) -> JsonObject:
    """A graph of one node that asks a model; the answer is its field `answer`."""
    node = {"id": "ask", "type": "llm", "prompt": prompt, "output": "answer", **fields}
    config = {"state": {"answer": {"type": "any"}}, "nodes": [node], "edges": [{"from": "START", "to": "ask"}]}
    return {"id": name, "framework": "langgraph", "config": config}


def flow_of(*steps: JsonObject, agents: list[JsonObject] | None = None) -> JsonObject:
    """A flow of these steps. Steps without an agent use one that makes what their `outputs` name."""
    made = []
    listed = []
    for index, step in enumerate(steps):
        if "agent" not in step:
            names = step.get("outputs", ["out"])
            made.append(template_agent(f"agent{index + 1}", **{name: f"{name} of {index + 1}" for name in names}))
            step = {"agent": f"agent{index + 1}", **step}
        listed.append(step)
    return {"agents": [*(agents or []), *made], "flow": listed}


def ended(node: str, **outputs: Any) -> JsonObject:
    """The wrapper of a node that is done."""
    return {
        "node": node,
        "framework": "langgraph",
        "inputs": {},
        "state": None,
        "outputs": outputs,
        "result": outputs,
        "skipped": False,
    }


@dataclass
class Driver:
    """Runs a flow: nodes in the order of the plan, each step from the bytes that the one before left."""

    adapter: FlowAdapter
    definition: JsonObject
    inputs: JsonObject
    server: ModelServer
    tools: MemoryToolBox = field(default_factory=MemoryToolBox)
    ends: dict[str, JsonObject] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    #: Node and name of each step.
    steps: list[tuple[str, str]] = field(default_factory=list)
    units: list[tuple[str, ...]] = field(default_factory=list)

    async def run(self) -> Any:
        for node in DEFINITION.nodes(self.definition):
            assert all(name in self.ends or name in self.skipped for name in node.depends_on)
            await self.run_node(node.id, node.first_step)
        return DEFINITION.outputs(self.definition, self.ends)

    async def run_node(self, node: str, first_step: str) -> None:
        wrapper = DEFINITION.begin(self.definition, node, self.inputs, self.ends)
        if wrapper is None:
            self.skipped.append(node)
            return
        name: str | None = first_step
        while name is not None:
            self.steps.append((node, name))
            wrapper, name = await self.step(wrapper)
        self.ends[node] = wrapper

    async def step(
        self, wrapper: JsonObject, answers: Mapping[str, Answer] | None = None
    ) -> tuple[JsonObject, str | None]:
        endpoint = ModelEndpoint(self.server.base_url, "placeholder", "default-model")
        context = StepContext("run", len(self.steps), 1, endpoint, self.tools, answers or {})
        before = json.dumps(wrapper, sort_keys=True, allow_nan=False)
        result = await self.adapter.run_step(self.definition, json.loads(before), context)
        assert result.interrupts == ()
        self.units.append(result.units)
        after: JsonObject = json.loads(json.dumps(result.state, sort_keys=True, allow_nan=False))
        return after, result.next_step
