"""What services say, in the words of their versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.connections import reading
from activities.connections.base import Tokens


@pytest.mark.parametrize(
    ("words", "phase", "shown"),
    [
        ("success SUCCESS Succeeded COMPLETED complete Finished done", "succeeded", "COMPLETE"),
        ("failed ERROR Failure timed-out TIMEOUT", "failed", "FAILED"),
        ("cancelled CANCELED stopped interrupted", "cancelled", "CANCELLED"),
        ("running STARTED pending QUEUED in_progress In-Progress active", "running", "RUNNING"),
        ("RUN_STATUS_COMPLETED execution-succeeded Completed! completed_successfully", "succeeded", "COMPLETE"),
        ("STATE_FAILED task-error unsuccessful", "failed", "FAILED"),
        ("", "running", "RUNNING"),
    ],
)
def test_words(words: str, phase: str, shown: str) -> None:
    for word in words.split() or [""]:
        assert (reading.phase_of(word), reading.shown(word)) == (phase, shown)


@pytest.mark.parametrize("word", ["Simmering", "not_completed", "status", "unfinished"])
def test_a_word_that_nobody_knows_means_that_the_run_goes_on(word: str) -> None:
    assert (reading.phase_of(word), reading.shown(word)) == ("running", word)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"state": "SUCCESS", "result": "Tea."}, "SUCCESS"),
        ({"status": {"state": "running"}}, "running"),
        ({"status": "Boiling the water ...", "state": "SUCCESS", "result": "Tea."}, "SUCCESS"),
        ({"status": "Boiling the water ...", "data": {"status": "failed"}}, "Boiling the water ..."),
        ([{"status": "failed"}], "failed"),
        ("COMPLETED", "COMPLETED"),
        ("an id", ""),
        # answered well, and the run goes on
        ({"status": "success", "data": {"state": "RUNNING"}}, "RUNNING"),
        ({"status": "ok", "run": {"status": "FAILED"}}, "FAILED"),
        # data of a result has words of its own
        ({"status": "success", "result": "Tea.", "data": {"status": "pending"}}, "success"),
        ({"status": "completed", "data": {"status": "failed"}}, "completed"),
        ([{}, {}], ""),
        ({"status": None}, ""),
    ],
)
def test_where_the_word_stands(answer: Any, word: str) -> None:
    assert reading.word_of(answer) == word


def test_what_cannot_be_kept_is_taken_out() -> None:
    odd = {"a\ud800": ["b\x00\udfff", float("inf"), float("nan"), 1.5, True, None, 10**4000]}
    assert reading.cleaned(odd) == {"a?": ["b?", None, None, 1.5, True, None, 10**4000]}
    with pytest.raises(ValueError, match="deep"):
        reading.cleaned(json.loads("[" * 70 + "]" * 70))


@pytest.mark.parametrize(
    ("answer", "text", "data"),
    [
        ({"result": "Tea."}, "Tea.", None),
        ({"status": "completed", "result": {"output": "Tea.", "tasks": []}}, "Tea.", {"output": "Tea.", "tasks": []}),
        ({"output": "Tea.", "json_dict": {"drink": "tea"}}, "Tea.", {"drink": "tea"}),
        ({"result": {"raw": "Tea.", "json_dict": {"drink": "tea"}}}, "Tea.", {"drink": "tea"}),
        ({"state": "SUCCESS", "result_json": {"drink": "tea"}, "result": "Tea."}, "Tea.", {"drink": "tea"}),
        ({"data": {"status": "done", "result": "Tea."}}, "Tea.", None),
        ({"result": ["a", "b"]}, '["a", "b"]', ["a", "b"]),
        ({"result": 7}, "7", 7),
        ({"status": "completed"}, "", None),
        (None, "", None),
    ],
)
def test_results(answer: Any, text: str, data: Any) -> None:
    assert reading.result_of(answer) == (text, data)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"token_usage": 1500}, Tokens(1500, 0)),
        ({"token_usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}, Tokens(3, 4)),
        ({"usage_metrics": {"total_tokens": 7, "completion_tokens": 4}}, Tokens(3, 4)),
        ({"result": {"output": "x", "token_usage": {"total_tokens": 9}}}, Tokens(9, 0)),
        ({"usage": {"input_tokens": 1, "output_tokens": 2}}, Tokens(1, 2)),
        ({"usage": "many"}, None),
        ({"token_usage": True}, None),
        ({"token_usage": -5}, Tokens(0, 0)),
        ({}, None),
    ],
)
def test_tokens(answer: Any, tokens: Tokens | None) -> None:
    assert reading.tokens_of(answer) == tokens


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"kickoff_id": "k"}, "k"),
        ({"id": 12}, "12"),
        ({"job_id": "j"}, "j"),
        ({"data": {"run_id": "r"}}, "r"),
        ("just-an-id", "just-an-id"),
        ({"id": ""}, ""),
        ({"id": True}, ""),
        ({"kickoff_id": "x" * 300}, ""),
        ({"kickoff_id": 10**5000, "id": "k"}, "k"),
        ({"kickoff_id": "a\nb"}, ""),
        (7, "7"),
        ([], ""),
    ],
)
def test_ids(answer: Any, found: str) -> None:
    assert reading.id_of(answer) == found


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "result", "usage", "error", "data", "id", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_anything)
def test_nothing_that_a_service_says_is_too_odd(answer: Any) -> None:
    assert reading.phase_of(reading.word_of(answer)) in ("running", "succeeded", "failed", "cancelled")
    assert isinstance(reading.result_of(answer)[0], str)
    assert isinstance(reading.error_of(answer), str)
    assert isinstance(reading.id_of(answer), str)
    tokens = reading.tokens_of(answer)
    assert tokens is None or 0 <= tokens.total <= 2**32
