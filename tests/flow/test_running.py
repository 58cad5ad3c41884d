"""Flows run node by node, over the adapters of all frameworks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from activities.adapters.flow.adapter import FlowAdapter, create
from activities.adapters.flow.definition import DEFINITION
from omium_core.settings import Settings
from tests.flow.support import EXAMPLE, ONBOARDING, ONBOARDING_RULES, Driver
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
