"""What holds of a step, what is told about what does not, and who is asked."""

from __future__ import annotations

from typing import Any

import pytest

from activities.contracts.broken import ContractBroken
from activities.contracts.evaluation import StepContract, for_step
from activities.contracts.outputs import as_json, output_of
from activities.contracts.reading import read
from activities.expressions import scope

SECRET = "the customer's secret"


def step(*units: str, foreseen: tuple[str, ...] | None = None, **sections: Any) -> StepContract:
    return for_step(read(sections), units, foreseen)


def conditions(**entry: Any) -> StepContract:
    return step("write", checkpoints=[{"name": "written", "step": "write", **entry}])


def refused(contract: StepContract, values: dict[str, Any], output: Any = None) -> ContractBroken:
    with pytest.raises(ContractBroken) as error:
        contract.check_after(scope({}, {}), scope(values, {"n": 1}, output))
    assert (error.value.retryable, error.value.redoable) == (False, True)
    return error.value


def test_conditions_that_hold() -> None:
    contract = conditions(
        preconditions=["size(notes) > 0", "output == null"],
        postconditions=["score > 0.5", "state.score > 0.5", "inputs.n == 1", "output.startsWith('Once')"],
    )
    contract.check_before(scope({"notes": ["a"]}, {}))
    contract.check_after(scope({}, {}), scope({"score": 0.6}, {"n": 1}, "Once upon a time"))
    with pytest.raises(ContractBroken) as error:
        contract.check_before(scope({"notes": []}, {}))
    assert (error.value.retryable, error.value.redoable) == (False, False)
    assert not step("other", checkpoints=[{"step": "write", "preconditions": ["false"]}])


def test_what_does_not_hold_is_told_with_what_was_found() -> None:
    error = refused(
        conditions(
            postconditions=[
                "score > 0.5 && document.validated == true",
                {"expression": "size(text) > 3", "message": "The text is too short."},
                "true",
            ]
        ),
        {"score": 0.25, "document": {"validated": False, "type": "x"}, "text": SECRET[:2]},
    )
    assert [broken.path for broken in error.broken] == [
        "checkpoints[0].postconditions[0]",
        "checkpoints[0].postconditions[1]",
    ]
    told = str(error)
    assert "`score > 0.5 && document.validated == true` (score = 0.25, document.validated = false)" in told
    assert 'The text is too short - `size(text) > 3` (text = "th")' in told
    assert (error.failure_type, error.severity) == ("validation_error", None)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("missing > 1", "There is no 'missing' here"),
        ("document.kind == 'a'", "There is no field 'kind'"),
        ("score", "must give true or false"),
        ("score + 1.0 > 2.0", "types do not fit"),
        ("has(document.kind)", "no document.kind"),
        ("document.type == \"score > 1\" && score == 2", 'document.type = "letter", score = 1'),
        ("document.type.startsWith('x')", 'document.type = "letter"'),
        ("items.all(score, score > 3)", "items = [1]"),
        ("state['score'] > 1", 'state = {"'),
    ],
)  # fmt: skip
def test_what_is_found(source: str, found: str) -> None:
    values = {"score": 1, "document": {"type": "letter"}, "items": [1]}
    error = refused(conditions(postconditions=[source]), values)
    assert found in error.broken[0].found
    assert source in str(error)


def test_long_values_are_cut() -> None:
    error = refused(conditions(postconditions=["text == ''"]), {"text": "x" * 100_000})
    assert len(str(error)) < 600


def test_type_and_severity_of_the_failure() -> None:
    hallucination = {"expr": "false", "failure_type": "hallucination"}
    assert refused(conditions(postconditions=["false", hallucination]), {}).failure_type == "hallucination"
    assert refused(conditions(postconditions=["true", "false"]), {}).failure_type == "validation_error"
    error = refused(
        conditions(postconditions=[{"expr": "false", "severity": "critical"}, {"expr": "false", "severity": "low"}]), {}
    )
    assert error.severity == "critical"
    entry = {"failure_type": "hallucination", "severity": "medium"}
    for one in (
        refused(conditions(postconditions=["false"], **entry), {}),
        refused(conditions(output_schema={"type": "object"}, **entry), {}, "x"),
    ):
        assert (one.failure_type, one.severity) == ("hallucination", "medium")


def test_nothing_of_a_run_stands_before_the_colon() -> None:
    contract = conditions(
        preconditions=["notes == ''"],
        postconditions=["notes == ''"],
        output_schema={"const": 1},
    )
    approval = step("write", approvals=[{"question": "{{ notes | divided_by: 0 }}", "condition": "notes > 1"}])
    given = scope({"notes": SECRET}, {}, SECRET)
    for check in (
        lambda: contract.check_before(given),
        lambda: contract.check_after(given, given),
        lambda: approval.approvals("before", given),
        lambda: step("write", approvals=[{"question": "{{ 1 | divided_by: 0 }}"}]).approvals("before", given),
    ):
        with pytest.raises(ContractBroken) as error:
            check()
        head, colon, rest = str(error.value).partition(": ")
        assert head
        assert colon
        assert rest
        assert SECRET not in head


def test_output_schema() -> None:
    contract = conditions(
        output_schema={"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}},
        postconditions=["output.score > 3"],
    )
    for output in ({"score": 4}, '{"score": 4}', '```json\n{"score": 4}\n```'):
        contract.check_after(scope({}, {}), scope({}, {}, output))
    for output, path in (
        ({}, "output.score"),
        ('{"score": "x"}', "output.score"),
        ("Four.", "output"),
        (None, "output"),
    ):
        error = refused(contract, {}, output)
        assert error.broken[0].path == "checkpoints[0].output_schema"
        assert error.broken[0].found.startswith(f"{path}:")
    assert "output.score > 3" in str(refused(contract, {}, {"score": 1}))
    # a text that may be a text stays one
    conditions(output_schema={"type": "string"}, postconditions=["output == '3'"]).check_after(
        scope({}, {}), scope({}, {}, "3")
    )


NODES = {"a": {"x": 1}, "b": {"x": 2}}
TASK = {"name": "draft", "agent": "writer", "output": "text"}


@pytest.mark.parametrize(
    ("unit", "units", "names", "output"),
    [
        (NODES, ("a", "b"), ("a",), {"x": 1}),
        (NODES, ("a", "b"), ("a", "b"), NODES),
        ({"a": [1, 2]}, ("a",), ("a",), [1, 2]),
        ({"a": {"x": 1}}, ("review", "critic", "a"), ("review",), {"x": 1}),
        ({"a": {"x": 1}}, ("review", "critic", "a"), ("review", "critic", "a"), {"x": 1}),
        ({"answer": 1}, ("a",), ("a",), {"answer": 1}),
        (TASK, ("draft", "writer"), ("writer",), "text"),
        ([TASK, {**TASK, "name": "title", "output": "T"}], ("draft", "title", "writer"), ("title",), "T"),
        ([TASK, {**TASK, "name": "title", "output": "T"}], ("draft", "title", "writer"), ("writer",), ["text", "T"]),
        ({"agent": "a", "output": "hi", "handoff": "b"}, ("a",), ("a",), "hi"),
        ([{"agent": "a", "output": "one"}, {"agent": "a", "output": "two"}], ("a",), ("a",), "two"),
        (
            [{"agent": "a", "output": "one"}, {"agent": "a", "output": "Over to b.", "handoff": "b"}],
            ("a",),
            ("a",),
            "one",
        ),
        ([{"agent": "a", "output": 1}, {"agent": "b", "output": 2}], ("a", "b"), ("a", "b"), [1, 2]),
        ([{"agent": "a", "output": 1}, {"agent": "b", "output": 2}], ("a", "b"), ("b",), 2),
        ("said", ("a",), ("a",), "said"),
        (None, (), (), None),
        ([], ("a",), ("a",), []),
        ({}, ("a",), ("a",), {}),
    ],
)
def test_each_entry_sees_the_output_of_its_own_step(
    unit: Any, units: tuple[str, ...], names: tuple[str, ...], output: Any
) -> None:
    assert output_of(unit, units, names) == output


def test_as_json() -> None:
    assert as_json(' [1, {"a": null}] ') == [1, {"a": None}]
    assert as_json("NaN") == "NaN"
    assert as_json("[" * 100_000) == "[" * 100_000
    assert as_json({"a": 1}) == {"a": 1}


def test_entries_of_several_units_are_merged() -> None:
    contract = step(
        "draft",
        "writer",
        checkpoints=[
            {"preconditions": ["a"], "name": "any"},
            {"step": "draft", "name": "drafted", "preconditions": [{"expr": "b", "message": "B"}]},
            {"steps": ["writer", "critic"], "postconditions": ["c"], "output_schema": {"type": "string"}},
            {"step": "critic", "preconditions": ["d"]},
        ],
    )
    assert contract.checkpoint_name == "drafted"
    assert contract.preconditions_json == ["a", {"expression": "b", "message": "B"}]
    assert contract.postconditions_json == ["c", {"output_schema": {"type": "string"}}]
    assert step("draft").checkpoint_name is None


def test_approvals() -> None:
    contract = step(
        "publish",
        approvals=[
            {
                "step": "publish",
                "title": "Go live?",
                "question": {"text": "Publish {{ title }}?", "score": "{{ score }}"},
                "assignee": "ada",
                "timeout_s": 60,
                "on_timeout": "edit",
                "default_value": {"title": "x"},
            },
            {"step": "publish", "name": "legal", "condition": "score < 0.5"},
            {"step": "publish", "timeout": 1},
            {"step": "publish", "when": "after"},
            {"step": "other"},
        ],
    )
    first, legal, third = contract.approvals("before", scope({"title": "T", "score": 0.25}, {}))
    assert (first.interrupt_id, first.title, first.assignee) == ("approval:before", "Go live?", "ada")
    assert first.question == {"text": "Publish T?", "score": 0.25}
    assert (first.timeout, first.on_timeout, first.default_value) == (60, "edit", {"title": "x"})
    assert (legal.interrupt_id, legal.timeout, legal.on_timeout) == ("approval:before:legal", None, None)
    assert legal.question == {"step": "publish"}
    assert (third.interrupt_id, third.on_timeout) == ("approval:before:approvals[2]", "reject")
    # ids stay the same whoever is asked
    again = contract.approvals("before", scope({"title": "T", "score": 0.75}, {}))
    assert [wish.interrupt_id for wish in again] == ["approval:before", "approval:before:approvals[2]"]
    (after,) = contract.approvals("after", scope({}, {}, {"publish": {"url": "u"}}))
    assert (after.interrupt_id, after.question) == (
        "approval:after:approvals[3]",
        {"step": "publish", "output": {"url": "u"}},
    )


def test_an_answer_counts_for_one_question_only() -> None:
    sections = {"approvals": [{"step": "a"}, {}, {"name": "x"}, {"name": "x", "when": "after"}]}
    before = {wish.interrupt_id for wish in step(**sections).approvals("before", scope({}, {}))}
    late = {wish.interrupt_id for wish in step("a", foreseen=(), **sections).approvals("after", scope({}, {}))}
    assert before == {"approval:before:approvals[1]", "approval:before:x"}
    assert late == {"approval:before", "approval:after:x"}


def test_two_names_that_are_the_same_stay_apart() -> None:
    inner, outer = read({"approvals": [{"name": "x"}]}), read({"approvals": [{}, {"name": "x"}]})
    ids = [wish.interrupt_id for wish in for_step(inner + outer, ("a",)).approvals("before", scope({}, {}))]
    assert len(set(ids)) == 3


def test_condition_of_an_approval_that_cannot_be_evaluated_fails_the_step() -> None:
    contract = step("a", approvals=[{"condition": "amount > 1000"}])
    with pytest.raises(ContractBroken, match=r"approvals\[0\]\.condition .*There is no 'amount'"):
        contract.approvals("before", scope({}, {}))


def test_what_nobody_foresaw_is_made_up_for() -> None:
    sections = {
        "checkpoints": [{"step": "b", "preconditions": ["ready"]}, {"preconditions": ["begun"]}],
        "approvals": [{"step": "b"}, {"step": "b", "when": "after"}, {}],
        "handoffs": [{"to": "b"}],
    }
    unknown = step(foreseen=None, **sections)
    asked = [wish.interrupt_id for wish in unknown.approvals("before", scope({}, {}))]
    assert asked == ["approval:before:approvals[2]"]
    after = step("b", foreseen=(), **sections)
    with pytest.raises(ContractBroken, match="did not hold"):
        after.check_after(scope({"ready": False, "begun": False}, {}), scope({}, {}))
    after.check_after(scope({"ready": True, "begun": False}, {}), scope({}, {}))
    assert [wish.title for wish in after.approvals("after", scope({}, {}))] == ["May b begin?", "Is b right?"]
    assert [entry.part.to for entry in after.late.handoffs] == ["b"]
    known = step("b", foreseen=("b",), **sections)
    known.check_after(scope({"ready": False}, {}), scope({}, {}))
    assert len(known.approvals("after", scope({}, {}))) == 1
