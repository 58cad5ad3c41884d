"""What is found out about failures: from the words that the platform stores of them, and from traces."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from activities import templates
from activities.adapters.base import StepError
from activities.analysis import DAYS, Observed, analyze
from activities.contracts.broken import Broken, ContractBroken
from activities.contracts.evaluation import for_step
from activities.contracts.reading import read
from activities.expressions import scope
from activities.failures import split_trace
from activities.policies.configs import FAILURE_TYPES
from activities.traces import exception_name, users_frame
from api.services.recovery_wishes import read_wanted
from omium_core.errors import InvalidInput

ENDPOINT = "http://127.0.0.1:9/v1"


def seen(failure_type: str, message: str, **facts: Any) -> Observed:
    return Observed(failure_type, facts.pop("severity", "high"), message, step="write", attempts=3, **facts)


def broken(*, before: Any = (), after: Any = (), schema: Any = None) -> str:
    """What is told of a step of which these conditions do not hold, in the very words of the evaluation."""
    entry = {"preconditions": [*before], "postconditions": [*after], "output_schema": schema}
    contract = for_step(read({"checkpoints": [{key: value for key, value in entry.items() if value}]}), ["write"])
    values = scope({"score": 2, "document": {}}, {}, "text")
    try:
        contract.check_before(values)
        contract.check_after(values, values)
    except ContractBroken as told:
        return str(told)
    raise AssertionError("all conditions hold")


LOW = {"expression": "score > 3", "message": "The score is too low"}
WRONG = broken(after=[LOW])
EARLY = broken(before=[{"expression": "document.type != null", "message": "There is no type"}])
UNFIT = broken(schema={"type": "object", "required": ["score"]})


@pytest.mark.parametrize(
    ("observed", "cause", "fix", "action"),
    [
        (
            seen("model_unavailable", f"The model endpoint {ENDPOINT} answered 429."),
            f"The model endpoint {ENDPOINT} answered 429 in 3 attempts: it limits",
            "raise the limit",
            ("retry", {}),
        ),
        (
            seen("model_unavailable", f"The model endpoint {ENDPOINT} did not answer: ConnectError: refused."),
            "could not be reached in 3 attempts: ConnectError: refused.",
            "OMIUM_LLM_BASE_URL",
            ("retry", {}),
        ),
        (
            seen("model_rejected", f"The model endpoint {ENDPOINT} refused a call with 401: no such key"),
            "refused the call with 401: no such key",
            "OMIUM_LLM_API_KEY",
            ("manual_intervention", None),
        ),
        (
            seen(
                "model_rejected",
                f"The model endpoint {ENDPOINT} refused a call with 404: The model `x` does not exist",
                default_model="small",
            ),
            "refused the call with 404",
            "go on with small",
            ("model_fallback", {"model": "small"}),
        ),
        (
            seen("tool_invocation", "A tool failed: 10.0.0.1 did not answer within 5 seconds."),
            "A tool failed: 10.0.0.1 did not answer within 5 seconds.",
            "retry",
            ("retry", {}),
        ),
        (
            seen("tool_invocation", "A tool failed: Wrong arguments for pay: amount: Must be a number.", editable=True),
            "The tool pay was called with arguments that it does not take: amount: Must be a number.",
            "how pay is called",
            ("prompt_edit", None),
        ),
        (
            seen("tool_invocation", "A tool failed: There is no tool 'pay'. Registered are: calculator."),
            "No worker knows the tool pay.",
            "OMIUM_TOOL_MODULES",
            ("manual_intervention", None),
        ),
        (
            seen("timeout", "The step took longer than 30 s."),
            "The step write did not end within 30 s.",
            "timeout policy",
            ("retry", {}),
        ),
        (
            seen("validation_error", WRONG, editable=True),
            "What write gave is not as the definition promises: The score is too low: score > 3 must hold (found: score = 2).",
            "Say in the prompt",
            ("prompt_edit", None),
        ),
        (
            seen("hallucination", WRONG),
            "write made something up: The score is too low: score > 3 must hold",
            "done again",
            ("retry", {"redo": True}),
        ),
        (
            seen("validation_error", UNFIT),
            "What write gave is not as the definition promises: checkpoints[0].output_schema does not fit",
            "done again",
            ("retry", {"redo": True}),
        ),
        (
            seen("validation_error", EARLY, earlier=True),
            "write could not begin with what the steps before it left: There is no type: document.type != null",
            "Roll back",
            ("rollback", {"steps_back": 1}),
        ),
        (
            seen("validation_error", "The checkpoint cannot be read: the bytes do not match.", earlier=True),
            "The checkpoint cannot be read",
            "earlier checkpoint",
            ("rollback", {"steps_back": 1}),
        ),
        (
            seen("validation_error", "The run did not end within 5 steps."),
            "did not end within 5 steps",
            "more than 5 steps",
            ("manual_intervention", None),
        ),
        (
            seen("worker_lost", "No worker could finish the step in 100 attempts."),
            "died in it",
            "memory",
            ("retry", {}),
        ),
        (
            seen("workflow_ended", "The workflow was terminated in Temporal."),
            "terminated in Temporal",
            "retry",
            ("retry", {}),
        ),
    ],
)
def test_cause_and_remedy_fit_the_failure(
    observed: Observed, cause: str, fix: str, action: tuple[str, dict[str, Any] | None]
) -> None:
    found = analyze(observed)
    assert cause in found.root_cause
    assert fix in found.suggested_fix
    assert found.suggested_action.action_type == action[0]
    if action[1] is not None:
        assert found.suggested_action.action_config == action[1]


def test_classification_is_more_exact_than_the_first_one() -> None:
    corrupt = analyze(seen("validation_error", "The checkpoint cannot be read: no bytes."))
    assert (corrupt.failure_type, corrupt.is_recoverable) == ("state_sync", False)
    assert analyze(seen("workflow_ended", "It was terminated.")).failure_type == "run_ended"
    own = analyze(seen("hallucination", WRONG, severity="low"))
    assert own.severity == "low", "what a condition said of its severity is kept"


def test_often_is_told() -> None:
    found = analyze(seen("timeout", "The step took longer than 30 s.", alike=12))
    assert found.similar == 12
    assert f"12 more times in {DAYS} days" in found.suggested_fix
    assert "accident" not in analyze(seen("timeout", "The step took longer than 30 s.", alike=1)).suggested_fix


def test_suggested_prompt_is_no_template() -> None:
    text = str(ContractBroken("The step is not as promised", [Broken("a", "1 > 2", "{{ x }} {% if %} {topic} {}")]))
    found = analyze(seen("validation_error", text, editable=True))
    prompt = found.suggested_action.action_config["new_prompt"]
    assert templates.render(prompt, {"x": "X", "topic": "T"}) == prompt
    assert "{topic}" not in prompt


def test_evidence_is_structured() -> None:
    found = analyze(seen("model_rejected", f"The model endpoint {ENDPOINT} refused a call with 400: bad request"))
    assert found.evidence == {"attempts": 3, "endpoint": ENDPOINT, "http_status": 400}
    assert analyze(seen("validation_error", broken(after=[LOW, "1 > 2"]))).evidence["conditions"] == [
        {"message": "The score is too low", "condition": "score > 3", "found": "score = 2"},
        {"message": "checkpoints[0].postconditions[1] does not hold", "condition": "1 > 2"},
    ]


@pytest.mark.parametrize("failure_type", [*FAILURE_TYPES, "run_ended", "something_new"])
@pytest.mark.parametrize("message", ["", "x", WRONG, EARLY, "A: b; `c", "The model endpoint", "There is no tool '"])
@pytest.mark.parametrize("editable", [True, False])
def test_whatever_was_stored_there_is_an_answer_that_can_be_sent(
    failure_type: str, message: str, editable: bool
) -> None:
    found = analyze(seen(failure_type, message, editable=editable, earlier=editable))
    assert found.suggested_fix
    assert json.dumps(found.evidence)
    read_wanted(found.suggested_action.action_type, found.suggested_action.action_config)


def users_code() -> None:
    json.loads("{'no': json}")


def raised() -> str:
    try:
        users_code()
    except ValueError as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError


def test_trace_below_our_own_words_is_no_part_of_the_message() -> None:
    trace = raised()
    assert split_trace(f"A tool failed: it broke\n{trace}") == ("A tool failed: it broke", trace)
    assert split_trace("A tool failed: it broke") == ("A tool failed: it broke", None)


@pytest.mark.parametrize("left", ['  File "a.py", line 1, in f\nKeyError: 1\n', "", "on was the direct cause:\n"])
def test_trace_that_lost_its_beginning_is_all_trace(left: str) -> None:
    cut = f"{left}\n{raised()}"
    message, trace = split_trace(cut)
    assert message.startswith("json.decoder.JSONDecodeError")
    assert trace == cut


def test_cause_is_the_users_own_line() -> None:
    trace = raised()
    frame = users_frame(trace)
    assert frame is not None
    assert (frame.function, frame.code) == ("users_code", """json.loads("{'no': json}")""")
    assert frame.file == __file__
    found = analyze(seen("agent_error", split_trace(trace)[0], stack_trace=trace))
    assert found.failure_type == "validation_error"
    assert f"line {frame.line}, in users_code" in found.root_cause
    assert found.evidence["exception"] == "json.decoder.JSONDecodeError"
    assert found.evidence["frame"]["function"] == "users_code"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("json.decoder.JSONDecodeError: Expecting value", "json.decoder.JSONDecodeError"),
        ("KeyError: 'x'", "KeyError"),
        ("TimeoutError", "TimeoutError"),
        ("it went wrong", ""),
        ("", ""),
    ],
)
def test_name_of_an_exception(line: str, name: str) -> None:
    assert exception_name(line) == name


def test_traces_without_code_of_a_user() -> None:
    assert users_frame("") is None
    trace = 'Traceback:\n  File "/x/lib/python3.11/json/decoder.py", line 3, in decode\nValueError: no\n'
    frame = users_frame(trace)
    assert frame is not None
    assert (frame.function, frame.code) == ("decode", "")


def test_step_errors_of_agents_tell_their_class() -> None:
    # a message without a trace is all that is there
    found = analyze(seen("agent_error", str(StepError("Broken: it is"))))
    assert found.root_cause == "Broken: it is"
    assert found.suggested_action.action_type == "retry"


@pytest.mark.parametrize(
    ("action_type", "config", "path"),
    [
        ("retry_it", {}, "action_type"),
        ("retry", {"redo": "yes"}, "action_config.redo"),
        ("retry", {"times": 3}, "action_config.times"),
        ("rollback", {"number": 3, "to": "last"}, "action_config.number"),
        ("rollback", {"checkpoint_id": []}, "action_config.checkpoint_id"),
        ("rollback", {"confirm": 1}, "action_config.confirm"),
        ("prompt_edit", {}, "action_config.prompts"),
        ("prompt_edit", {"agent_id": "writer"}, "action_config.prompts"),
        ("prompt_edit", {"agent_id": 3, "new_prompt": "x"}, "action_config.agent_id"),
        ("model_fallback", {"models": {"*": 3}}, "action_config.models.*"),
        ("escalate", {"assignee": 3}, "action_config.assignee"),
        ("escalate", {"note": "x\x00"}, "action_config.note"),
    ],
)
def test_wrong_wish_is_told_with_its_path(action_type: str, config: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_wanted(action_type, config)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_wishes_under_all_their_names() -> None:
    for name, value in (("checkpoint_id", "abc"), ("checkpoint", "abc"), ("name", "abc"), ("to", "abc")):
        assert read_wanted("rollback", {name: value}).to == "abc"
    assert read_wanted("rollback", {"number": 3}).to == "3"
    assert read_wanted("rollback", {}).to == ""
    wanted = read_wanted("prompt_edit", {"agent_id": "writer", "new_prompt": "x"})
    assert wanted.action.prompts == {"writer": "x"}
    told = read_wanted("escalate", {"assignee": "ada", "reason": "Why."})
    assert (told.assignee, told.note) == ("ada", "Why.")
