"""What is told about contracts when a definition arrives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from activities.adapters.base import BadDefinition
from activities.adapters.registry import definition_for
from activities.contracts.problems import contract_problems
from activities.contracts.published import published
from activities.contracts.reading import Contracts, bare, read, read_conditions, with_sections

STEPS = frozenset({"research", "write", "publish"})
CHECKPOINT: dict[str, Any] = {
    "name": "written",
    "step": "write",
    "preconditions": ["size(notes) > 0"],
    "postconditions": [
        "size(draft) > 100",
        {"expr": "!draft.contains('TODO')", "message": "The draft is not finished", "severity": "low"},
        {"check": "sources.all(s, s in notes)", "failure_type": "hallucination"},
    ],
    "output_schema": {"type": "object", "required": ["draft"]},
}
APPROVAL: dict[str, Any] = {
    "step": "publish",
    "question": {"text": "Publish {{ draft }}?", "score": "{{ score }}"},
    "condition": "score < 0.9",
    "assignee": "editor",
    "timeout_ms": 1500,
    "on_timeout": "edit",
    "default_value": None,
}
HANDOFF: dict[str, Any] = {
    "from": "write",
    "to": "publish",
    "voters": [
        "publish",
        {"agent": "lawyer", "preconditions": ["!draft.contains('secret')"]},
        {"validator": "facts", "prompt": "Is this true? {{ draft }}", "model": "small"},
        {"person": "ada"},
        {"service": "archive"},
    ],
    "quorum": 3,
    "timeout_s": 10,
    "max_terms": 2,
}
WHOLE = {
    "checkpoints": [CHECKPOINT],
    "approvals": [APPROVAL],
    "handoffs": [HANDOFF],
    "policies": {"max_retries": 3},
}


def problems(**sections: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in contract_problems(sections, STEPS)]


def test_a_good_definition_has_no_problems() -> None:
    assert problems(**WHOLE) == []
    assert problems() == []
    contracts = read({"nodes": [], **WHOLE})
    assert [entry.path for entry in contracts.checkpoints] == ["checkpoints[0]"]
    assert contracts.approvals[0].part.seconds == 1.5
    assert contracts.handoffs[0].part.term_seconds == 10
    assert contracts.named("written") is contracts.checkpoints[0]
    assert contracts.named("nothing") is None


def test_frameworks_get_a_definition_without_the_sections() -> None:
    definition = {"nodes": [1], **WHOLE}
    assert bare(definition) == {"nodes": [1]}
    assert with_sections({"nodes": [2]}, definition) == {**definition, "nodes": [2]}
    assert bare(definition, "flow") is definition


def test_a_map_of_handoffs_is_the_frameworks() -> None:
    definition = {"agents": [], "handoffs": {"a": ["b"]}}
    assert bare(definition) == definition
    assert not read(definition)
    assert with_sections({"agents": []}, definition) == {"agents": []}


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no list": ({"checkpoints": {}}, "checkpoints", "array"),
    "no object": ({"approvals": ["x"]}, "approvals[0]", "object"),
    "unknown field": ({"checkpoints": [{"postcondition": ["a"]}]}, "checkpoints[0].postcondition", "not known"),
    "broken condition": (
        {"checkpoints": [CHECKPOINT, {"postconditions": ["score >"]}]},
        "checkpoints[1].postconditions[0]",
        "column 8",
    ),
    "broken condition of an object": (
        {"checkpoints": [{"preconditions": ["true", {"condition": "a = 1"}]}]},
        "checkpoints[0].preconditions[1]",
        "column 3",
    ),
    "empty condition": ({"checkpoints": [{"preconditions": [""]}]}, "checkpoints[0].preconditions[0]", "end of"),
    "condition that is no text": (
        {"checkpoints": [{"preconditions": [3]}]},
        "checkpoints[0].preconditions[0]",
        "object",
    ),
    "no boolean": ({"checkpoints": [{"preconditions": ["1 + 1"]}]}, "checkpoints[0].preconditions[0]", "true or"),
    "unknown function": (
        {"checkpoints": [{"postconditions": ["len(a) > 1"]}]},
        "checkpoints[0].postconditions[0]",
        "'len'",
    ),
    "unknown type of failure": (
        {"checkpoints": [{"postconditions": [{"expr": "a", "failure_type": "lie"}]}]},
        "checkpoints[0].postconditions[0].failure_type",
        "hallucination",
    ),
    "unknown step": ({"checkpoints": [{**CHECKPOINT, "step": "wirte"}]}, "checkpoints[0].step", "mean 'write'"),
    "unknown step in a list": (
        {"approvals": [{"steps": ["write", "nobody"]}]},
        "approvals[0].steps[1]",
        "Known are: publish, research, write.",
    ),
    "step and steps": ({"approvals": [{"step": "write", "steps": ["publish"]}]}, "approvals[0].steps", "`step`"),
    "schema that is none": (
        {"checkpoints": [{"output_schema": {"type": "banana"}}]},
        "checkpoints[0].output_schema.type",
        "banana",
    ),
    "nothing said": ({"checkpoints": [{"step": "write"}]}, "checkpoints[0]", "nothing"),
    "repeated name": ({"checkpoints": [CHECKPOINT, CHECKPOINT]}, "checkpoints[1].name", "checkpoints[0]"),
    "broken template": ({"approvals": [{"question": "{{ a"}]}, "approvals[0].question", "not closed"),
    "broken template inside": (
        {"approvals": [{"question": {"a": ["{{ a | nope }}"]}}]},
        "approvals[0].question.a[0]",
        "'nope'",
    ),
    "broken condition of an approval": ({"approvals": [{"condition": "a b"}]}, "approvals[0].condition", "column"),
    "no time": ({"approvals": [{"timeout_s": 0}]}, "approvals[0].timeout_s", "greater than 0"),
    "two times": ({"approvals": [{"timeout_s": 1, "timeout_ms": 5}]}, "approvals[0].timeout_ms", "`timeout_s`"),
    "default without a time": ({"approvals": [{"on_timeout": "approve"}]}, "approvals[0].on_timeout", "timeout_s"),
    "edit without a value": (
        {"approvals": [{"timeout": 1, "on_timeout": "edit"}]},
        "approvals[0].default_value",
        "required",
    ),
    "value without edit": ({"approvals": [{"default_value": 1}]}, "approvals[0].default_value", "edit"),
    "name of an approval": ({"approvals": [{"name": "a:b"}]}, "approvals[0].name", "`:`"),
    "unknown moment": ({"approvals": [{"when": "during"}]}, "approvals[0].when", "'before' or 'after'"),
    "nobody to hand to": ({"handoffs": [{"from": "write"}]}, "handoffs[0].to", "required"),
    "unknown receiver": ({"handoffs": [{"to": "publisher"}]}, "handoffs[0].to", "mean 'publish'"),
    "unknown sender": ({"handoffs": [{"from": "x", "to": "write"}]}, "handoffs[0].from", "no step 'x'"),
    "unknown agent": ({"handoffs": [{"to": "write", "voters": ["resaerch"]}]}, "handoffs[0].voters[0]", "'research'"),
    "no voter": ({"handoffs": [{"to": "write", "voters": [{"robot": "x"}]}]}, "handoffs[0].voters[0]", "validator"),
    "no voters": ({"handoffs": [{"to": "write", "voters": []}]}, "handoffs[0].voters", "empty"),
    "validator without a prompt": (
        {"handoffs": [{"to": "write", "voters": [{"validator": "x"}]}]},
        "handoffs[0].voters[0].prompt",
        "required",
    ),
    "broken prompt": (
        {"handoffs": [{"to": "write", "voters": [{"validator": "x", "prompt": "{% if %}"}]}]},
        "handoffs[0].voters[0].prompt",
        "",
    ),
    "broken condition of a voter": (
        {"handoffs": [{"to": "write", "voters": [{"agent": "write", "preconditions": ["a >"]}]}]},
        "handoffs[0].voters[0].preconditions[0]",
        "column",
    ),
    "two voters of one name": (
        {"handoffs": [{"to": "write", "voters": ["write", {"person": "write"}]}]},
        "handoffs[0].voters[1]",
        "name of its own",
    ),
    "quorum that nobody reaches": ({"handoffs": [{"to": "write", "quorum": 2}]}, "handoffs[0].quorum", "there are 1"),
    "quorum of none": ({"handoffs": [{"to": "write", "quorum": 0}]}, "handoffs[0].quorum", "1"),
    "quorum that is no number": ({"handoffs": [{"to": "write", "quorum": True}]}, "handoffs[0].quorum", "majority"),
    "unknown policy": ({"policies": {"max_retreis": 1}}, "policies.max_retreis", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_told_with_its_path(case: str) -> None:
    sections, path, told = WRONG[case]
    found = problems(**sections)
    assert [where for where, _ in found] == [path], found
    assert told in found[0][1]


def test_all_mistakes_are_told_at_once() -> None:
    sections = {
        "checkpoints": [{"step": "a", "preconditions": ["a >", "b >"]}, {"name": 3}],
        "approvals": [{"condition": "a >", "when": "never"}],
        "handoffs": [{"to": "write", "voters": [{"validator": "x"}, "write", "write"]}, 3],
    }
    assert [where for where, _ in problems(**sections)] == [
        "checkpoints[1].name",
        "approvals[0].when",
        "handoffs[0].voters[0].prompt",
        "handoffs[1]",
        "checkpoints[0].step",
        "checkpoints[0].preconditions[0]",
        "checkpoints[0].preconditions[1]",
    ]


def test_names_are_not_judged_where_the_steps_are_not_known() -> None:
    assert contract_problems({"checkpoints": [{**CHECKPOINT, "step": "anything"}]}, frozenset()) == []


def test_a_definition_that_was_not_judged_is_not_run() -> None:
    with pytest.raises(BadDefinition, match=r"checkpoints\[0\]\.steps"):
        read({"checkpoints": [{"steps": []}]})


def test_conditions_can_be_read_alone() -> None:
    conditions, wrong = read_conditions(["a", {"expr": "b"}], "flow[2].postconditions")
    assert ([condition.expression for condition in conditions], wrong) == (["a", "b"], [])
    _, wrong = read_conditions(["a", {"expr": "b", "type": "x"}], "flow[2].postconditions")
    assert [problem.path for problem in wrong] == ["flow[2].postconditions[1].type"]
    assert read_conditions(None, "x") == ([], [])


@given(
    st.dictionaries(
        st.sampled_from(["checkpoints", "approvals", "handoffs", "policies"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["name", "step", "steps", "postconditions", "voters", "to", "quorum", "agent", "expr"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
@settings(max_examples=150, deadline=None)
def test_no_definition_is_too_odd_to_be_judged(sections: dict[str, Any]) -> None:
    found = contract_problems(sections, STEPS)
    assert all(problem.path.startswith(tuple(sections)) and problem.message for problem in found)
    if not found:
        assert isinstance(read(sections), Contracts)


def test_a_list_of_handoffs_beside_agents_may_mean_two_things() -> None:
    agents = {"agents": [{"name": "a"}, {"name": "b"}], "handoffs": [{"from": "a", "to": "b"}]}
    [problem] = contract_problems(agents, frozenset(), "semantic_kernel")
    assert (problem.path, "orchestration.handoffs" in problem.message) == ("handoffs", True)
    assert contract_problems({**agents, "orchestration": "sequential"}, frozenset(), "semantic_kernel") == []
    assert contract_problems(agents, frozenset(), "crewai") == []


@pytest.mark.parametrize("framework", ["autogen", "crewai", "langgraph", "semantic_kernel"])
def test_published_schemas_know_the_sections(framework: str) -> None:
    schema = published(definition_for(framework).json_schema())
    Draft202012Validator.check_schema(schema)
    sections = {"$defs": schema["$defs"], "properties": {name: schema["properties"][name] for name in WHOLE}}
    validator = Draft202012Validator(sections)
    assert list(validator.iter_errors(WHOLE)) == []
    assert [list(error.path) for error in validator.iter_errors({"checkpoints": [{"stepp": "x"}]})] == [
        ["checkpoints", 0]
    ]


def test_published_schema_of_a_closed_definition_lets_the_sections_in() -> None:
    graph = {
        "nodes": [{"id": "write", "type": "template", "template": "x", "output": "draft"}],
        "edges": [{"from": "START", "to": "write"}, {"from": "write", "to": "END"}],
        "state": {"draft": {"type": "string"}},
    }
    validator = Draft202012Validator(published(definition_for("langgraph").json_schema()))
    assert list(validator.iter_errors({**graph, **WHOLE})) == []
    assert list(validator.iter_errors({**graph, "checkpoint": []}))
