"""What a flow may hold: refusals with their paths, plans, inputs, edits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.adapters.base import Edit, JsonObject
from activities.adapters.crewai.definition import DEFINITION
from omium_core.errors import InvalidInput
from tests.crewai.flows import LOOP, agent, crew, expression, flow

TOOLS = frozenset({"calculator"})


def paths(definition: JsonObject) -> list[str]:
    return [problem.path for problem in DEFINITION.validate(definition, tools=TOOLS)]


def message(definition: JsonObject) -> str:
    (problem,) = DEFINITION.validate(definition, tools=TOOLS)
    return problem.message


def changed(path: str, value: Any) -> JsonObject:
    """The loop with one field set."""
    definition = copy.deepcopy(LOOP)
    *parents, last = path.split(".")
    body: Any = definition
    for part in parents:
        body = body[int(part)] if isinstance(body, list) else body.setdefault(part, {})
    body[last] = value
    return definition


def one(action: JsonObject, **fields: Any) -> JsonObject:
    return flow({"m": {"start": True, "do": action, **fields}})


def test_the_loop_is_one_step_and_says_so() -> None:
    assert paths(LOOP) == []
    plan = DEFINITION.plan(LOOP, {})
    assert (plan.steps, plan.open_ended, plan.agents) == (("flow · Poems",), False, ("writer", "review"))
    (warning,) = plan.warnings
    assert "one long step" in warning
    assert "no checkpoint, pause or rollback" in warning


CODE: list[tuple[str, JsonObject]] = [
    ("methods.m.do", one({"call": "script", "code": "import os"})),
    ("methods.m.do", one({"call": "code", "ref": "os:system"})),
    ("methods.m.do", one({"ref": "os:system", "with": {"command": "id"}})),
    ("methods.m.do.ref", one({"call": "tool", "ref": "my.tools:Search"})),
    ("methods.m.do.ref", one({"call": "tool", "ref": "gmail/send_email"})),
    (
        "methods.m.do.do[0].action",
        one({"call": "each", "in": "state.rows", "do": [{"name": "s", "action": {"call": "script", "code": "1"}}]}),
    ),
    ("state.ref", changed("state", {"type": "pydantic", "ref": "my.flows:State", "json_schema": {}})),
    ("config.input_provider", changed("config.input_provider", "my.inputs:load")),
    ("methods.draft.do.with.agents.writer.type", changed("methods.draft.do.with.agents.writer.type", {"python": "a.B"})),
    ("methods.draft.do.with.agents.writer.step_callback", changed("methods.draft.do.with.agents.writer.step_callback", "x")),
    ("methods.draft.do.with.tasks[0].guardrail", changed("methods.draft.do.with.tasks.0.guardrail", {"python": "a.b"})),
    ("methods.review.do.with.tools[0]", changed("methods.review.do.with.tools", ["custom:mine"])),
    ("methods.review.do.with.response_format", changed("methods.review.do.with.response_format", {"python": "a.B"})),
]  # fmt: skip


@pytest.mark.parametrize(("path", "definition"), CODE)
def test_code_is_refused_with_its_path(path: str, definition: JsonObject) -> None:
    assert paths(definition) == [path]
    assert "code" in message(definition)


@pytest.mark.parametrize(
    ("path", "definition"),
    [
        ("methods.m.human_feedback", one(expression("1"), human_feedback={"message": "Good?"})),
        ("methods.m.persist", one(expression("1"), persist={"enabled": True})),
        ("persist", {**LOOP, "persist": {"enabled": True}}),
        ("conversational", {**LOOP, "conversational": {"enabled": True}}),
        ("conversational", {**LOOP, "conversational": {"llm": "big"}}),
        ("methods.m.do.from_declaration", one({"call": "crew", "from_declaration": "crews/a", "with": {}})),
        ("methods.draft.do.with.tasks[0].human_input", changed("methods.draft.do.with.tasks.0.human_input", True)),
        ("methods.review.do.with.guardrail", changed("methods.review.do.with.guardrail", "Be kind")),
        ("methods.review.do.with.mcps", changed("methods.review.do.with.mcps", ["https://example.com/mcp"])),
        ("methods.review.do.with.llm.base_url", changed("methods.review.do.with.llm", {"model": "m", "base_url": "u"})),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_path(path: str, definition: JsonObject) -> None:
    assert path in paths(definition)


@pytest.mark.parametrize(
    ("path", "definition"),
    [
        ("methods", {"schema": "crewai.flow/v1", "name": "x"}),
        ("methods", flow({})),
        ("methods", flow({"a": {"do": expression("1")}})),
        ("methods.a-b", flow({"a-b": {"start": True, "do": expression("1")}})),
        ("name", {key: value for key, value in LOOP.items() if key != "name"}),
        ("schema", {**LOOP, "schema": "crewai.flow/v2"}),
        ("metods", {**LOOP, "metods": {}}),
        ("methods.m.do", flow({"m": {"start": True}})),
        ("methods.m.do.call", one({"call": "crw"})),
        ("methods.m.do.expr", one({"call": "expression"})),
        ("methods.m.strat", one(expression("1"), strat=True)),
        ("methods.m.listen", one(expression("1"), listen="m")),
        ("methods.m.listen", one(expression("1"), listen={"and": [], "or": []})),
        ("methods.m.listen.or[1]", one(expression("1"), listen={"or": ["m2", 5]})),
        ("methods.decide.listen", changed("methods.decide.listen", "reviews")),
        ("methods.number.listen.or[1]", changed("methods.number.listen", {"or": ["good", "godo"]})),
        ("config.max_method_calls", changed("config.max_method_calls", 0)),
        ("config.max_method_calls", changed("config.max_method_calls", 100_000)),
        ("state.json_schema", changed("state", {"type": "json_schema"})),
        ("state.json_schema.type", changed("state", {"type": "json_schema", "json_schema": {"type": "thing"}})),
        ("methods.number.do.ref", changed("methods.number.do.ref", "calculater")),
        ("methods.review.do.with.goal", changed("methods.review.do.with.goal", "")),
        ("methods.review.do.with.input", changed("methods.review.do.with.input", None)),
        ("methods.draft.do.with.tasks[0].agent", changed("methods.draft.do.with.tasks.0.agent", "writr")),
        ("methods.draft.do.with.tasks[0].description", changed("methods.draft.do.inputs", {"advice": "x"})),
    ],
)
def test_wrong_parts_are_told_by_path(path: str, definition: JsonObject) -> None:
    assert paths(definition) == [path]


@pytest.mark.parametrize(
    ("path", "definition", "told"),
    [
        ("methods.m.do.expr", one(expression("state.")), "Line 1"),
        ("methods.m.do.expr", one(expression("__import__('os')")), "no function"),
        ("methods.m.do.expr", one(expression("inputs.topic")), "'inputs'"),
        ("methods.m.do.expr", one(expression("item")), "'item'"),
        ("methods.m.do.expr", one(expression("string(now())")), "give the time as an input"),
        ("methods.m.do.expr", one(expression("outputs.n.raw")), "no method 'n'"),
        ("methods.m.do.with.expression", one({"call": "tool", "ref": "calculator", "with": {"expression": "${"}}), "not closed"),
        ("methods.m.do.with.expression", one({"call": "tool", "ref": "calculator", "with": {"expression": "${ }"}}), "nothing"),
        ("methods.draft.do.inputs.topic[0].a", changed("methods.draft.do.inputs.topic", [{"a": "${outputs.x}"}]), "'x'"),
        ("methods.review.do.with.input", changed("methods.review.do.with.input", "${outputs.darft.raw}"), "'draft'"),
        ("methods.m.do.in", one({"call": "each", "in": "rows", "do": [{"name": "s", "action": expression("item")}]}), "'rows'"),
        (
            "methods.m.do.do[1].action.expr",
            one({"call": "each", "in": "state.rows", "do": [
                {"name": "s", "if": "item.x > 1", "action": expression("item")},
                {"name": "t", "if": "outputs.s > 1", "action": expression("outputs.q")}]}),
            "'q'",
        ),
    ],
)  # fmt: skip
def test_expressions_are_judged_when_they_arrive(path: str, definition: JsonObject, told: str) -> None:
    assert paths(definition) == [path]
    assert told in message(definition)


def test_words_inside_texts_are_no_names() -> None:
    assert paths(one(expression("'now() and outputs.nowhere' + \"${x}\""))) == []
    assert paths(one({"call": "tool", "ref": "calculator", "with": {"expression": "${ {'a': '}'}.a } and {b}"}})) == []


def test_switched_off_is_no_matter() -> None:
    off = {"enabled": False}
    definition = {**LOOP, "persist": off, "conversational": off, "config": {"tracing": True, "stream": True}}
    definition["methods"] = {**LOOP["methods"], "print": {**LOOP["methods"]["print"], "persist": off}}
    assert paths(definition) == []
    assert len(DEFINITION.plan(definition, {}).warnings) == 1
    assert "memory" in DEFINITION.plan({**LOOP, "config": {"memory": {"enabled": True}}}, {}).warnings[1]


def test_a_router_that_does_not_say_what_it_emits_may_emit_anything() -> None:
    definition = changed("methods.decide.emit", None)
    assert paths(definition) == []


def test_inputs_that_are_missing_or_do_not_fit() -> None:
    assert DEFINITION.validate_inputs(LOOP, {}) == []
    bare = {**LOOP, "state": None}
    (missing,) = DEFINITION.validate_inputs(bare, {})
    assert (missing.path, "methods.draft.do.inputs.topic" in missing.message) == ("topic", True)
    schema = {"type": "object", "properties": {"topic": {"type": "string"}, "n": {"type": "integer", "default": 1}}}
    typed = {**LOOP, "state": {"type": "json_schema", "json_schema": {**schema, "required": ["topic", "n"]}}}
    assert paths(typed) == []
    assert [p.path for p in DEFINITION.validate_inputs(typed, {})] == ["topic"]
    assert [p.path for p in DEFINITION.validate_inputs(typed, {"topic": 5})] == ["topic"]
    assert DEFINITION.validate_inputs(typed, {"topic": "rain"}) == []


def edited(edit: Edit, definition: JsonObject = LOOP) -> JsonObject:
    state: JsonObject = {"inputs": {}, "flow": None}
    methods: JsonObject = DEFINITION.edit(definition, state, edit)[0]["methods"]
    return methods


def test_a_name_means_all_that_have_it_unless_its_method_stands_before_it() -> None:
    twice = flow(
        {"a": {"start": True, "do": crew("writer", "First")}, "b": {"listen": "a", "do": crew("writer", "Second")}}
    )
    goals = [
        edited(Edit(prompts={"writer": "New"}), twice)[name]["do"]["with"]["agents"]["writer"]["goal"] for name in "ab"
    ]
    assert goals == ["New", "New"]
    one_goal = edited(Edit(prompts={"b.writer": "New"}, models={"a.writer": "big"}), twice)
    assert one_goal["a"]["do"]["with"]["agents"]["writer"] == agent("writer", llm="big")
    assert one_goal["b"]["do"]["with"]["agents"]["writer"] == agent("writer") | {"goal": "New"}


def test_edits_reach_steps_of_an_each() -> None:
    steps: Any = [{"name": "say", "action": crew("crier", "Cry")}]
    definition = one({"call": "each", "in": "[1]", "do": steps})
    after = edited(Edit(prompts={"crier_task": "Whisper"}), definition)
    assert after["m"]["do"]["do"][0]["action"]["with"]["tasks"][0]["description"] == "Whisper"
    assert steps[0]["action"]["with"]["tasks"][0]["description"] == "Cry"


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("prompts.nobody", Edit(prompts={"nobody": "x"})),
        ("prompts.writer.description", Edit(prompts={"writer": {"description": "x"}})),
        ("prompts.review", Edit(prompts={"review": ""})),
        ("prompts.input", Edit(prompts={"input": "x"})),
        ("prompts.draft.writer.goal", Edit(prompts={"draft.writer": {"goal": ""}})),
        ("prompts.draft.writer.colour", Edit(prompts={"draft.writer": {"colour": "x"}})),
        ("models.writer_task", Edit(models={"writer_task": "big"})),
        ("values.draft", Edit(values={"draft": "x"})),
        ("prompts.writer_task", Edit(prompts={"writer_task": "Write about {colour}"})),
    ],
)
def test_edits_that_do_not_fit(path: str, edit: Edit) -> None:
    with pytest.raises(InvalidInput) as refused:
        edited(edit)
    assert [problem.path for problem in refused.value.problems] == [path]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["${state.x}", "m", "crew", "${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["do", "start", "listen", "router", "emit", "human_feedback", "persist", "x"]
CALLS = st.fixed_dictionaries(
    {"call": st.sampled_from(["crew", "agent", "tool", "each", "expression", "script", "x"])},
    optional={"with": JSON, "inputs": JSON, "expr": JSON, "in": JSON, "do": JSON, "ref": JSON},
)


@given(
    methods=st.dictionaries(
        st.sampled_from(["m", "n", "a b", ""]),
        st.dictionaries(st.sampled_from(FIELDS), JSON | CALLS, max_size=5) | JSON,
    )
    | JSON,
    rest=st.dictionaries(st.sampled_from(["schema", "name", "state", "config", "persist", "x"]), JSON, max_size=4),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_upsets_the_judge(methods: Any, rest: JsonObject) -> None:
    definition = {**rest, "methods": methods}
    problems = DEFINITION.validate(definition, tools=TOOLS)
    assert all(problem.path and problem.message for problem in problems)
    if not problems:
        assert len(DEFINITION.plan(definition, {}).steps) == 1
        DEFINITION.validate_inputs(definition, {})
        DEFINITION.needs_worker(definition, tools=TOOLS)
