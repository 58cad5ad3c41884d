"""Kill the worker while call k is at the model: the run ends by itself, with the same result, and no answered call is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.platform import Platform, sample
from tests.support.sampling import sampled
from tests.support.stack import wait_until

#: Two calls and a tool in the first task, then one call in each of the two others: several calls inside one step.
CREW: dict[str, Any] = {
    "name": "crew under fire",
    "framework": "crewai",
    "workflow_definition": {
        "agents": {
            "counter": {
                "role": "Counter",
                "goal": "Count",
                "backstory": "Exact.",
                "tools": ["calculator", "note_order"],
            },
            "writer": {"role": "Writer", "goal": "Write", "backstory": "Short."},
        },
        "tasks": {
            "count": {"description": "Count {things}", "expected_output": "A number", "agent": "counter"},
            "write": {"description": "Write about {things}", "expected_output": "A line", "agent": "writer"},
        },
    },
}
CREW_RULES = [
    {
        "when": {"tool": "calculator", "not_called": "calculator"},
        "reply": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
    },
    {
        "when": {"tool": "note_order", "not_called": "note_order"},
        "reply": {
            "tool_calls": [{"name": "note_order", "arguments": {"item": "apples", "amount": 3, "folder": "FOLDER"}}]
        },
    },
]
CREW_CALLS = 4

#: What the model says depends on the request alone: a call that is asked again after a kill gets the same answer.
GRAPH_RULES = [
    {
        "when": {"system": "strict reviewer", "last": "first draft"},
        "reply": {"json": {"score": 3, "advice": "Shorter."}},
    },
    {"when": {"system": "strict reviewer"}, "reply": {"json": {"score": 9, "advice": "Good."}}},
    {"when": {"system": "You are a writer", "last": "Your last draft was"}, "reply": {"content": "second draft"}},
    {"when": {"system": "You are a writer"}, "reply": {"content": "first draft"}},
]
GRAPH_CALLS = 7

CODE_CALLS = 8
#: Calls that a step of any of them has in flight.
MOST_AT_ONCE = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, calls in (("crew_call", CREW_CALLS), ("graph_call", GRAPH_CALLS), ("code_call", CODE_CALLS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, sampled(metafunc.config, list(range(1, calls + 1)), 1))


def kill_at(
    platform: Platform, call: int, workflow: dict[str, Any], inputs: dict[str, Any], rules: Any, calls: int
) -> Any:
    """Kills the worker while call number `call` of a run's `calls` is held at the model. The run's end.

    No call may be repeated that the journal had at the kill.
    """
    seen = len(platform.model.calls)
    platform.model.set_script(rules, hold_call=seen + call)
    execution_id = platform.start(workflow, inputs)
    platform.model.wait_until_held()
    # parallel calls may just have been answered: in flight is what the journal does not have yet
    wait_until(
        lambda: platform.answered(execution_id) == len(platform.model.calls) - seen - 1, "one call in flight alone"
    )
    platform.stack.kill("worker")
    # branches may have asked on until the kill: what had arrived and is not in the journal was in flight
    arrived = len(platform.model.calls) - seen
    in_flight = arrived - platform.answered(execution_id)
    platform.model.release(f"call-{seen + call}")
    execution = platform.finish(execution_id)
    assert execution["status"] == "completed", execution
    # where a machine is too busy for heartbeats, a worker that lives is taken for dead, with what it has in flight
    deaths = sum(agent["attempt"] - 1 for agent in execution["agents"])
    assert_each_call_once(platform.model.calls[seen:], calls, in_flight + max(deaths - 1, 0) * MOST_AT_ONCE)
    return execution


def assert_each_call_once(calls: list[Any], expected: int, in_flight: int = 1) -> None:
    """Only the calls that were in flight at a kill may have been asked a second time."""
    asked = {str(sorted(call.body.items())) for call in calls}
    assert len(asked) == expected, [call.body.get("messages", [])[-1:] for call in calls]
    assert len(calls) <= expected + in_flight


def test_crew(platform: Platform, crew_call: int, tmp_path: Any) -> None:
    rules = [*CREW_RULES[:1], {**CREW_RULES[1], "reply": {"tool_calls": [
        {"name": "note_order", "arguments": {"item": "apples", "amount": 3, "folder": str(tmp_path)}}]}}]  # fmt: skip
    platform.model.set_script(rules)
    calm = platform.run(CREW, {"things": "apples"})
    (tmp_path / "orders.txt").unlink()

    execution = kill_at(platform, crew_call, CREW, {"things": "apples"}, rules, CREW_CALLS)
    assert execution["outputs"]["raw"] == calm["outputs"]["raw"]
    assert len((tmp_path / "orders.txt").read_text().splitlines()) == 1
    assert execution["agents"][0]["tool_calls"] == 2


@pytest.mark.thorough
def test_graph(platform: Platform, graph_call: int) -> None:
    execution = kill_at(
        platform, graph_call, sample("graph_review"), {"topic": f"graph {graph_call}"}, GRAPH_RULES, GRAPH_CALLS
    )
    assert execution["outputs"]["rounds"] == 1
    assert [agent["status"] for agent in execution["agents"]] == ["completed"] * 8


def test_graph_in_code(platform: Platform, code_call: int) -> None:
    definition = {"entrypoint": "user_graphs:research"}
    workflow = {"name": "code", "framework": "langgraph", "workflow_definition": definition}
    execution = kill_at(platform, code_call, workflow, {"topic": f"code {code_call}"}, [], CODE_CALLS)
    assert len(execution["outputs"]["notes"]) == 7


@pytest.mark.thorough
def test_kills_do_not_count_as_failures(platform: Platform) -> None:
    """More kills in one step than a step may fail: the run still ends well."""
    seen = len(platform.model.calls)
    platform.model.set_script([{"gate": "held"}])
    execution_id = platform.start(CREW, {"things": "pears"})
    for kill in range(1, 4):
        platform.model.wait_for_calls(seen + kill)
        platform.stack.kill("worker")
    platform.model.wait_for_calls(seen + 4)
    platform.model.release("held")
    assert platform.finish(execution_id)["status"] == "completed"
