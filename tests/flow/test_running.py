"""Flows run node by node, over the adapters of all frameworks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from activities.adapters.base import Adapter, BadDefinition
from activities.adapters.flow.adapter import FlowAdapter, create
from activities.adapters.flow.definition import DEFINITION
from activities.adapters.flow.results import MissingOutput
from omium_core.settings import Settings
from tests.flow.support import EXAMPLE, ONBOARDING, ONBOARDING_RULES, Driver, asking_agent, flow_of, template_agent
from tests.support.model_server import ModelServer
from tests.support.toolbox import MemoryToolBox

ADA = {"customer_data": {"name": "Ada", "amount": 50_000}}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> FlowAdapter:
    return create(Settings(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


async def test_one_run_crosses_all_four_frameworks(adapter: FlowAdapter, server: ModelServer) -> None:
    server.set_script(ONBOARDING_RULES)
    driver = Driver(adapter, ONBOARDING, ADA, server)
    outputs = await driver.run()
    assert [node.framework for node in DEFINITION.nodes(ONBOARDING)] == [
        *("crewai", "langgraph", "autogen", "semantic_kernel")
    ]
    assert driver.skipped == []
    assert [node for node, _ in driver.steps] == ["1", "2", "2", "3", "3", "4", "4"]
    assert {name: outputs[name] for name in outputs if name != "steps"} == {
        "kyc_verified": True,
        "kyc_score": 0.9,
        "credit_score": 720,
        "credit_summary": "Credit score 720: Pays on time.",
        "risk_opinion": "They can be borne.",
        "letter": "Dear Ada, welcome.",
    }
    assert list(outputs["steps"]) == ["1", "2", "3", "4"]
    letter = next(call for call in server.calls if "write short letters" in str(call.body))
    assert "Credit score 720: Pays on time.\nThey can be borne." in str(call_text(letter.body))


def call_text(body: object) -> str:
    return str(body).replace("\\n", "\n")


async def test_a_condition_skips_a_branch_and_the_join_runs_without_it(
    adapter: FlowAdapter, server: ModelServer
) -> None:
    server.set_script(ONBOARDING_RULES)
    driver = Driver(adapter, ONBOARDING, {"customer_data": {"name": "Ada", "amount": 10}}, server)
    outputs = await driver.run()
    assert driver.skipped == ["3"]
    assert outputs["letter"] == "Dear Ada, welcome."
    assert outputs["steps"]["3"] is None
    assert "risk_opinion" not in outputs
    assert any("The risk was not looked at." in str(call.body) for call in server.calls)


async def test_the_example_is_valid_here_and_for_a_worker(adapter: FlowAdapter) -> None:
    tools = MemoryToolBox()
    assert DEFINITION.validate(ONBOARDING, tools=tools.names) == []
    assert DEFINITION.validate_inputs(ONBOARDING, ADA) == []
    assert not DEFINITION.needs_worker(ONBOARDING, tools=tools.names)
    assert await adapter.check(ONBOARDING, tools=tools) == []
    assert EXAMPLE["framework"] == DEFINITION.name


async def test_what_frameworks_find_is_told_in_the_flow(adapter: FlowAdapter) -> None:
    agent = asking_agent("a", "Hi", tools=["nobody"])
    flow = flow_of({"agent": "a"}, agents=[agent])
    assert [p.path for p in DEFINITION.validate(flow, tools=MemoryToolBox().names)] == [
        "agents[0].config.nodes[0].tools[0]"
    ]
    agent["config"] = {"entrypoint": "no_such_module:graph"}
    assert [p.path for p in await adapter.check(flow, tools=MemoryToolBox())] == ["agents[0].config.entrypoint"]
    crew = {"role": "Clerk", "goal": "Help", "backstory": "Old", "tools": ["nobody"]}
    flow["agents"] = [{"id": "a", "framework": "crewai", "config": crew}]
    assert [p.path for p in await adapter.check(flow, tools=MemoryToolBox())] == ["agents[0].config.tools[0]"]


async def test_an_agent_whose_framework_is_not_installed_is_left_to_its_own_worker() -> None:
    def load(framework: str) -> Adapter:
        raise ModuleNotFoundError("No module named 'crewai'", name="crewai")

    assert await FlowAdapter(load).check(ONBOARDING, tools=MemoryToolBox()) == []


async def test_each_framework_is_loaded_once_and_in_a_thread(adapter: FlowAdapter, server: ModelServer) -> None:
    loaded: list[tuple[str, bool]] = []

    def load(framework: str) -> Adapter:
        loaded.append((framework, threading.current_thread() is threading.main_thread()))
        return adapter.load(framework)

    driver = Driver(FlowAdapter(load), flow_of({}, {}), {}, server)
    await driver.run()
    assert set(loaded) == {("langgraph", False)}
    assert adapter.load("langgraph") is adapter.load("langgraph")


async def test_an_answer_that_lacks_an_output_fails_the_step(adapter: FlowAdapter, server: ModelServer) -> None:
    server.set_script([{"reply": {"content": "It is fine."}}])
    driver = Driver(adapter, ONBOARDING, ADA, server)
    with pytest.raises(MissingOutput, match="The outputs of step '1' lack 'kyc_verified'"):
        await driver.run()
    assert driver.ends == {}


async def test_parallel_branches_and_their_join(adapter: FlowAdapter, server: ModelServer) -> None:
    flow = flow_of(
        {"step": "left", "depends_on": []},
        {"step": "right", "depends_on": []},
        {"step": "join", "agent": "both", "depends_on": ["left", "right"], "outputs": ["out"]},
        agents=[template_agent("both", out="{{ inputs.agent1 }} + {{ inputs.agent2 }}")],
    )
    for index, name in enumerate(("agent1", "agent2"), start=1):
        flow["agents"][index]["config"]["nodes"][0]["set"] = {name: f"from {name}"}
        flow["agents"][index]["config"]["state"] = {name: {"type": "any"}}
    driver = Driver(adapter, flow, {}, server)
    outputs = await driver.run()
    assert outputs["out"] == "from agent1 + from agent2"
    assert server.calls == []


def _state(**changed: Any) -> dict[str, Any]:
    wrapper = DEFINITION.begin(ONBOARDING, "1", ADA, {})
    assert wrapper is not None
    return {**wrapper, **changed}


@pytest.mark.parametrize("state", [{}, _state(node="9"), _state(inputs=None), _state(outputs={}), {"node": "1"}])
async def test_a_state_that_cannot_be_run_is_refused(
    adapter: FlowAdapter, server: ModelServer, state: dict[str, Any]
) -> None:
    driver = Driver(adapter, ONBOARDING, ADA, server)
    with pytest.raises(BadDefinition):
        await driver.step(state)


async def test_a_flow_that_was_broken_is_refused(adapter: FlowAdapter, server: ModelServer) -> None:
    driver = Driver(adapter, {**ONBOARDING, "agents": []}, ADA, server)
    with pytest.raises(BadDefinition, match="agents: "):
        await driver.step(_state())


async def test_a_wrapper_is_prepared_once(adapter: FlowAdapter) -> None:
    prepared = await adapter.prepare(ONBOARDING, _state())
    assert prepared["state"]["inputs"] == prepared["inputs"]
    assert DEFINITION.units(ONBOARDING, prepared) == ("1", "KYC Agent", "kyc_agent")
    assert await adapter.prepare(ONBOARDING, prepared) is prepared
