"""Named outputs, found in what agents of all frameworks give."""

from __future__ import annotations

from typing import Any

import pytest

from activities.adapters.flow.reading import FlowStep, read_flow
from activities.adapters.flow.results import MissingOutput, named_outputs
from tests.flow.support import flow_of


def step(outputs: Any = None) -> FlowStep:
    said = {} if outputs is None else {"outputs": outputs}
    return read_flow(
        flow_of({"agent": "a", **said}, agents=[{"id": "a", "framework": "crewai", "config": {}}])
    ).flow.steps["1"]


CREW = {"raw": "two", "json": {"x": {"y": [0, 1]}}, "tasks_output": [{"name": "t", "raw": "one"}, {"raw": "two"}]}


@pytest.mark.parametrize(
    ("outputs", "result", "found"),
    [
        (["score"], {"score": None, "other": 1}, {"score": None}),
        (["x"], CREW, {"x": {"y": [0, 1]}}),
        ({"deep": "x.y[1]", "first": "tasks_output[0].raw"}, CREW, {"deep": 1, "first": "one"}),
        (["a", "b"], {"raw": '{"a": 1, "b": [2], "c": 3}'}, {"a": 1, "b": [2]}),
        (["a"], {"raw": 'Here it is:\n```json\n{"a": true}\n```\nDone.'}, {"a": True}),
        ({"z": "a.b"}, '{"a": {"b": "text"}}', {"z": "text"}),
        (["summary"], {"raw": "A text.", "messages": []}, {"summary": "A text."}),
        ("summary", "A text.", {"summary": "A text."}),
        (["score"], {"raw": "720"}, {"score": "720"}),
        (["report"], CREW, {"report": {"x": {"y": [0, 1]}}}),
        (["note"], {"raw": "x", "messages": []}, {"note": "of the state"}),
        (None, {"raw": "A text."}, {"a": "A text."}),
        (None, {"answer": 1, "reason": "x"}, {"a": {"answer": 1, "reason": "x"}}),
        ([], {"answer": 1}, {}),
    ],
)
def test_names_are_found(outputs: Any, result: Any, found: dict[str, Any]) -> None:
    assert named_outputs(step(outputs), result, {"note": "of the state"}) == found


@pytest.mark.parametrize(
    ("outputs", "result", "told"),
    [
        (["a", "b"], {"raw": '{"a": 1}'}, "lack 'b', which it should give as 'b'"),
        (["a", "b"], {"raw": "No JSON."}, "lack 'a'"),
        (["a"], {"b": 1}, "lack 'a'"),
        ({"z": "a.b"}, {"a": {"c": 1}}, "lack 'a.b', which it should give as 'z'"),
        (["a", "b"], {"raw": '{"a": NaN, "b": 1}'}, "lack 'a'"),
    ],
)
def test_an_output_that_is_not_there_is_named(outputs: Any, result: Any, told: str) -> None:
    with pytest.raises(MissingOutput, match=told) as missing:
        named_outputs(step(outputs), result, {})
    assert missing.value.failure_type == "validation_error"
    assert not missing.value.retryable
