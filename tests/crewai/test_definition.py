"""What is said about crews before they run: without CrewAI."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.adapters.base import JsonObject
from activities.adapters.crewai.definition import DEFINITION
from activities.adapters.crewai.schema import AgentSpec, CrewFields, TaskSpec

TOOLS = frozenset({"calculator", "http_request"})

#: As `crewai create crew` lays it out, folded newlines and all, loaded from its two YAML files.
TEMPLATE: JsonObject = {
    "agents": {
        "researcher": {
            "role": "{topic} Senior Data Researcher\n",
            "goal": "Uncover cutting-edge developments in {topic}\n",
            "backstory": "You're a seasoned researcher with a knack for uncovering the latest developments in {topic}.\n",
        },
        "reporting_analyst": {
            "role": "{topic} Reporting Analyst\n",
            "goal": "Create detailed reports based on {topic} data analysis\n",
            "backstory": "You're a meticulous analyst with a keen eye for detail.\n",
        },
    },
    "tasks": {
        "research_task": {
            "description": "Research {topic}. The current year is {current_year}.\n",
            "expected_output": "A list with 10 bullet points about {topic}\n",
            "agent": "researcher",
        },
        "reporting_task": {
            "description": "Review the context you got and expand each topic into a full section.\n",
            "expected_output": "A report formatted as markdown without '```'\n",
            "agent": "reporting_analyst",
            "context": ["research_task"],
            "output_file": "report.md",
        },
    },
}


def changed(path: str, value: Any) -> JsonObject:
    """The template with one value set, or removed where it is `...`."""
    definition: Any = copy.deepcopy(TEMPLATE)
    *parents, last = path.split(".")
    place = definition
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return definition  # type: ignore[no-any-return]


def paths(definition: JsonObject) -> list[str]:
    return [problem.path for problem in DEFINITION.validate(definition, tools=TOOLS)]


def message(definition: JsonObject) -> str:
    (problem,) = DEFINITION.validate(definition, tools=TOOLS)
    return problem.message


def test_the_template_is_taken_as_it_is() -> None:
    inputs = {"topic": "AI", "current_year": "2026"}
    assert paths(TEMPLATE) == []
    assert DEFINITION.validate_inputs(TEMPLATE, inputs) == []
    plan = DEFINITION.plan(TEMPLATE, inputs)
    assert plan.steps == ("research_task · researcher", "reporting_task · reporting_analyst")
    assert plan.agents == ("researcher", "reporting_analyst")
    assert [warning.partition(":")[0] for warning in plan.warnings] == ["tasks.reporting_task.output_file"]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("agents", ..., "agents"),
        ("agents", {}, "agents"),
        ("agents", "researcher", "agents"),
        ("agents", [{"role": "nameless"}], "agents[0].role"),
        ("agents", [{"name": "", "role": "r"}], "agents[0]"),
        ("tasks", ..., "tasks"),
        ("tasks", [], "tasks"),
        ("tasks", [5], "tasks[0]"),
        ("agents.researcher", None, "agents.researcher"),
        ("agents.researcher.role", ..., "agents.researcher.role"),
        ("agents.researcher.role", 5, "agents.researcher.role"),
        ("agents.researcher.max_iter", 0, "agents.researcher.max_iter"),
        ("agents.researcher.roll", "x", "agents.researcher.roll"),
        ("agents.researcher.llm", 5, "agents.researcher.llm"),
        ("agents.researcher.llm", {"temperature": 1}, "agents.researcher.llm.model"),
        ("agents.researcher.llm", {"model": "m", "temprature": 1}, "agents.researcher.llm.temprature"),
        ("agents.researcher.llm", {"model": "m", "api_key": "secret"}, "agents.researcher.llm.api_key"),
        ("agents.researcher.llm", {"model": "m", "base_url": "http://x"}, "agents.researcher.llm.base_url"),
        ("agents.researcher.settings", {"llm": {"modell": "m"}}, "agents.researcher.llm.model"),
        ("agents.researcher.tools", ["calculater"], "agents.researcher.tools[0]"),
        ("agents.researcher.tools", "calculator", "agents.researcher.tools"),
        ("tasks.research_task.tools", ["calculator", "nope"], "tasks.research_task.tools[1]"),
        ("tasks.research_task.agent", ..., "tasks.research_task.agent"),
        ("tasks.research_task.agent", "researchr", "tasks.research_task.agent"),
        ("tasks.research_task.expected_output", ..., "tasks.research_task.expected_output"),
        ("tasks.research_task.descripton", "x", "tasks.research_task.descripton"),
        ("tasks.reporting_task.context", ["nowhere"], "tasks.reporting_task.context[0]"),
        ("tasks.reporting_task.context", ["research_task", "reporting_task"], "tasks.reporting_task.context[1]"),
        ("tasks.research_task.context", "reporting_task", "tasks.research_task.context"),
        ("process", "consensual", "process"),
        ("proces", "sequential", "proces"),
        ("inputs", [], "inputs"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(path: str, value: Any, problem: str) -> None:
    found = paths(changed(path, value))
    assert problem in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("agents.researcher.tools", ["custom:mine"]),
        ("agents.researcher.tools", ["crewai_tools:SerperDevTool"]),
        ("agents.researcher.tools", [{"tool_type": "os.system"}]),
        ("agents.researcher.type", {"python": "my.Agent"}),
        ("agents.researcher.llm", {"python": "my.llm"}),
        ("agents.researcher.step_callback", "my.function"),
        ("agents.researcher.allow_code_execution", True),
        ("tasks.research_task.guardrail", {"python": "my.guardrail"}),
        ("tasks.research_task.guardrails", ["rhyme", {"python": "my.guardrail"}]),
        ("tasks.research_task.output_pydantic", "Report"),
        ("tasks.research_task.output_json", {"python": "my.Report"}),
        ("tasks.research_task.callback", {"python": "my.callback"}),
        ("tasks.research_task.converter_cls", {"python": "my.Converter"}),
        ("tasks.research_task.type", {"python": "my.Task"}),
        ("task_callback", {"python": "my.callback"}),
        ("before_kickoff_callbacks", [{"python": "my.callback"}]),
        ("manager_agent", {"python": "my.manager"}),
        ("config", {"agents": []}),
    ],
)
def test_code_is_refused_in_words(path: str, value: Any) -> None:
    assert "code" in message(changed(path, value))
    assert "never executed" in message(changed(path, value)) or "not loaded" in message(changed(path, value))


def test_typing_errors_get_a_suggestion() -> None:
    assert "'backstory'" in message(changed("agents.researcher.backstroy", "x"))
    assert "'researcher'" in message(changed("tasks.research_task.agent", "reseacher"))
    assert "'calculator'" in message(changed("agents.researcher.tools", ["calculater"]))
    assert "'research_task'" in message(changed("tasks.reporting_task.context", ["reserch_task"]))
    assert "'agents'" in message({**TEMPLATE, "agent": {}})


def test_human_input_is_asked_by_the_platform() -> None:
    for value in (True, False, None):
        assert paths(changed("tasks.research_task.human_input", value)) == []


def test_contexts_that_wait_for_each_other() -> None:
    definition = changed("tasks.research_task.context", ["reporting_task"])
    problems = DEFINITION.validate(definition, tools=TOOLS)
    assert [problem.path for problem in problems] == ["tasks.research_task.context[0]", "tasks"]
    assert "cycle" in problems[1].message


def test_names_in_lists() -> None:
    body = TEMPLATE["agents"]["researcher"]
    task = {**TEMPLATE["tasks"]["research_task"], "name": "research", "agent": "r"}
    for agents in ([{"name": "r", **body}], [{"r": body}], {"r": body}):
        assert paths({"agents": agents, "tasks": [task]}) == []
    assert paths({"agents": [{"name": "r", **body}, {"r": body}], "tasks": [task]}) == ["agents[1].r"]
    assert paths({"agents": {"r": body}, "tasks": [task, task]}) == ["tasks[1]"]
    assert paths({"agents": {"r": body}, "tasks": [task, {**task, "name": None, "context": ["reserch"]}]}) == [
        "tasks[1].context[0]"
    ]


def test_all_problems_are_told_at_once() -> None:
    definition = changed("agents.researcher.roll", "x")
    definition["agents"]["researcher"]["tools"] = ["nope"]
    definition["tasks"]["research_task"] |= {"agent": "nobody", "callback": "print"}
    assert sorted(paths(definition)) == [
        "agents.researcher.roll",
        "agents.researcher.tools[0]",
        "tasks.research_task.agent",
        "tasks.research_task.callback",
    ]


def test_what_is_left_out_is_accepted_and_told() -> None:
    definition = changed("memory", True)
    definition |= {"verbose": True, "max_rpm": 10, "cache": True}
    definition["agents"]["researcher"] |= {"memory": True, "inject_date": True, "verbose": True, "max_retry_limit": 5}
    definition["agents"]["researcher"]["llm"] = {"model": "m", "timeout": 5, "stream": True}
    assert paths(definition) == []
    warnings = DEFINITION.plan(definition, {}).warnings
    assert [warning.partition(":")[0] for warning in warnings] == [
        "memory",
        "max_rpm",
        "agents.researcher.memory",
        "agents.researcher.inject_date",
        "tasks.reporting_task.output_file",
    ]


def test_hierarchical_crews() -> None:
    hierarchical = changed("process", "hierarchical")
    assert paths(hierarchical) == []
    assert "default model" in DEFINITION.plan(hierarchical, {}).warnings[-1]
    assert paths({**hierarchical, "manager_llm": "big"}) == []
    assert paths({**hierarchical, "manager_agent": "reseacher"}) == ["manager_agent"]
    named = {**hierarchical, "manager_agent": "researcher"}
    assert paths(named) == []
    named["agents"]["researcher"]["tools"] = ["calculator"]
    assert paths(named) == ["agents.researcher.tools"]
    unassigned = changed("tasks.research_task.agent", ...)
    assert paths({**unassigned, "process": "hierarchical"}) == []
    assert DEFINITION.plan({**unassigned, "process": "hierarchical"}, {}).steps[0] == "research_task · manager"


def test_tasks_that_name_no_agent_are_given_out_in_order() -> None:
    """Many projects pair tasks and agents in `crew.py` alone, in the order of their YAML files."""
    bare = [{key: body[key] for key in ("description", "expected_output")} for body in TEMPLATE["tasks"].values()]
    definition = {**TEMPLATE, "tasks": dict(zip(TEMPLATE["tasks"], bare, strict=True))}
    assert paths(definition) == []
    plan = DEFINITION.plan(definition, {})
    assert plan.steps == ("research_task · researcher", "reporting_task · reporting_analyst")
    assert "reporting_analyst does reporting_task" in plan.warnings[0]
    # Anything less clear is asked for.
    assert paths({**definition, "tasks": [*bare, bare[0]]}) == ["tasks[0].agent", "tasks[1].agent", "tasks[2].agent"]
    assert paths({**definition, "tasks": bare[:1]}) == ["tasks[0].agent"]
    assert paths({**definition, "tasks": [{**bare[0], "agent": "researcher"}, bare[1]]}) == ["tasks[1].agent"]


def test_asynchronous_tasks_in_a_row_are_one_step() -> None:
    tasks: list[JsonObject] = [
        {"name": name, "description": "d", "expected_output": "e", "agent": "researcher", "async_execution": beside}
        for name, beside in (("a", True), ("b", False), ("c", True), ("d", True), ("e", None), ("f", True))
    ]
    definition = {**TEMPLATE, "tasks": tasks}
    assert paths(definition) == []
    names = [name.replace(" · researcher", "") for name in DEFINITION.plan(definition, {}).steps]
    assert names == ["a", "b", "c + d", "e", "f"]
    tasks[3]["context"] = ["b", "c"]
    assert paths(definition) == ["tasks[3].context[1]"]


def test_placeholders_need_inputs() -> None:
    problems = DEFINITION.validate_inputs(TEMPLATE, {"topic": "AI"})
    assert [problem.path for problem in problems] == ["current_year"]
    assert "tasks.research_task.description" in problems[0].message
    assert DEFINITION.validate_inputs({**TEMPLATE, "inputs": {"current_year": 2026}}, {"topic": "AI"}) == []
    braces = changed("tasks.research_task.description", 'Answer as {"key": {1}} and {} with {topic} in {current_year}')
    assert DEFINITION.validate_inputs(braces, {"topic": None, "current_year": [1, {"a": True}]}) == []


def test_nothing_of_a_prompt_is_in_a_step_name() -> None:
    tasks = [{**body, "context": None} for body in TEMPLATE["tasks"].values()]
    plan = DEFINITION.plan({**TEMPLATE, "tasks": tasks}, {})
    assert plan.steps == ("task 1 · researcher", "task 2 · reporting_analyst")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [*AgentSpec.model_fields, *TaskSpec.model_fields, *CrewFields.model_fields, "human_input", "knowledge", "x"]
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5) | JSON


@given(
    agents=st.dictionaries(st.text(max_size=3), BODIES, max_size=3) | st.lists(BODIES, max_size=3) | JSON,
    tasks=st.dictionaries(st.text(max_size=3), BODIES, max_size=3) | st.lists(BODIES, max_size=3) | JSON,
    rest=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_upsets_the_judge(agents: Any, tasks: Any, rest: JsonObject) -> None:
    definition = {**rest, "agents": agents, "tasks": tasks}
    problems = DEFINITION.validate(definition, tools=TOOLS)
    assert all(problem.path and problem.message for problem in problems)
    if not problems:
        assert DEFINITION.plan(definition, {}).steps
        DEFINITION.validate_inputs(definition, {})
        DEFINITION.needs_worker(definition, tools=TOOLS)
