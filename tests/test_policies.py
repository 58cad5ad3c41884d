"""Policies as users write them: what is refused and where, what they become, and which of them is the stronger."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.policies import (
    PolicyRow,
    agent_policy_problems,
    definition_policy_problems,
    policy_problems,
    policy_schemas,
    read_action,
    resolve,
)
from activities.policies.actions import ACTION_TYPES
from activities.policies.reading import read_config
from models.tables.policies import POLICY_TYPES
from models.wire_recovery import (
    AgentPolicy,
    FailureInfo,
    PolicySource,
    RecoveryAction,
    RecoveryRule,
    RetryPolicy,
    RunPolicy,
    Spent,
    Usage,
)
from omium_core.errors import InvalidInput
from workflows import recovery

PAGE = (Path(__file__).parent.parent / "docs" / "policies.md").read_text()
EXAMPLES = [(kind, json.loads(text)) for kind, text in re.findall(r"```json policy=(\w+)\n(.*?)```", PAGE, re.DOTALL)]


def told(policy_type: Any, config: Any) -> dict[str, str]:
    return {problem.path: problem.message for problem in policy_problems(policy_type, config)}


@pytest.mark.parametrize(
    ("policy_type", "config", "path", "message"),
    [
        ("timeout", {}, "timeout_seconds", "Is required."),
        ("timeout", [], "", "Must be an object."),
        ("timeout", {"timeout_ms": "3"}, "timeout_ms", "Must be a number."),
        ("timeout", {"timeout_ms": 0}, "timeout_ms", "Must be greater than 0."),
        ("timeout", {"timeout_seconds": float("nan")}, "timeout_seconds", "Must be a finite number."),
        (
            "timeout",
            {"timeout_ms": 1, "timeout_seconds": 2},
            "timeout_ms",
            "Give only one of timeout_seconds, timeout_ms.",
        ),
        ("retry", {}, "max_retries", "Is required."),
        ("retry", {"max_retries": True}, "max_retries", "Must be a whole number."),
        ("retry", {"max_retries": 1, "backof": 2}, "backof", "Unknown field 'backof'. Did you mean 'backoff'?"),
        ("recovery", {}, "rules", "Is required."),
        ("recovery", {"rules": [{"actions": []}]}, "rules[0].actions", "Must not be empty."),
        ("recovery", {"actions": ["retry", {"times": 2}]}, "actions[1]", "Needs a type: one of retry"),
        ("recovery", {"actions": [7]}, "actions[0]", "Must be an object."),
        ("recovery", {"actions": ["rolback"]}, "actions[0].type", "Unknown action 'rolback'"),
        ("recovery", {"actions": ["prompt_edit"]}, "actions[0].prompts", "Is required."),
        ("recovery", {"actions": [{"type": "retry", "to": 1}]}, "actions[0].to", "Unknown field 'to'."),
        ("recovery", {"actions": [{"type": "rollback", "to": -1}]}, "actions[0].to", "Must be a text."),
        ("recovery", {"rules": [{"actions": ["model_fallback"]}]}, "rules[0].actions[0].model", "Is required."),
        (
            "recovery",
            {"rules": [{"failure_types": ["halucination"], "actions": ["retry"]}]},
            "rules[0].failure_types[0]",
            "Did you mean 'hallucination'?",
        ),
        ("recovery", {"on_failure": "explode"}, "on_failure", "Must be 'retry', 'retry_failed_part'"),
        ("recovery", {"on_failure": "retry", "actions": ["retry"]}, "actions", "Give only one of on_failure, actions."),
        ("recovery", {"max_credits": 0}, "max_credits", "Must be greater than 0."),
        ("rollback", {}, "on_failure", "Is required."),
        ("rollback", {"on_failure": 1}, "on_failure", "Must be true or false."),
        ("notification", {"events": []}, "events", "Must not be empty."),
        ("notification", {"events": ["executions.failed"]}, "events[0]", "Is no event"),
    ],
)
def test_wrong_field_is_told_with_its_path(policy_type: str, config: Any, path: str, message: str) -> None:
    problems = told(policy_type, config)
    where = f"policy_config{'.' if path and not path.startswith('[') else ''}{path}"
    assert list(problems) == [where]
    assert message in problems[where]


def test_all_problems_are_told_at_once() -> None:
    config = {"rules": [{"actions": ["nothing", {"type": "retry", "times": 0}]}], "max_tokens": 0, "wrong": 1}
    assert set(told("recovery", config)) == {
        "policy_config.rules[0].actions[0].type",
        "policy_config.rules[0].actions[1].times",
        "policy_config.max_tokens",
        "policy_config.wrong",
    }


@pytest.mark.parametrize("policy_type", ["retri", "", None, 3, ["retry"], "x" * 1_000_000])
def test_unknown_type(policy_type: Any) -> None:
    problems = told(policy_type, {})
    assert list(problems) == ["policy_type"]
    assert "known are: timeout, retry, recovery, rollback, notification." in problems["policy_type"]
    assert len(problems["policy_type"]) < 300


def test_policy_that_is_too_large() -> None:
    edit = {"type": "prompt_edit", "new_prompt": "x" * 19_000}
    assert "larger than 64 KB" in told("recovery", {"actions": [edit] * 4})["policy_config"]
    assert told("recovery", {"actions": [edit] * 3}) == {}


def test_paths_in_a_definition() -> None:
    wrong = definition_policy_problems({"max_retries": -1, "recovery": {"actions": ["x"]}}, "policies")
    assert {problem.path for problem in wrong} == {"policies.max_retries", "policies.recovery.actions[0].type"}
    assert [p.path for p in definition_policy_problems({"retries": 1}, "")] == ["retries"]
    assert [p.path for p in agent_policy_problems({"timeout": 3}, "agents[1].recovery_policies")] == [
        "agents[1].recovery_policies.timeout"
    ]
    both = definition_policy_problems({"max_retries": 1, "retry": {"max_retries": 2}})
    assert [(p.path, p.message) for p in both] == [("policies.retry", "Give only one of max_retries, retry.")]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_examples_of_the_documentation_are_valid(kind: str, example: Any) -> None:
    problems = {"definition": definition_policy_problems, "agent": agent_policy_problems}
    assert (problems[kind](example) if kind in problems else policy_problems(kind, example)) == []
    jsonschema.validate(example, policy_schemas()[kind])


def test_each_type_has_an_example_and_a_schema() -> None:
    assert {kind for kind, _ in EXAMPLES} == {*POLICY_TYPES, "definition", "agent"}
    assert set(policy_schemas()) == {*POLICY_TYPES, "definition", "agent", "action"}
    assert all(f"| `{name}` |" in PAGE for name in ACTION_TYPES)
    for schema in policy_schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("recovery", {"actions": ["rolback"]}),
        ("recovery", {"actions": [{"times": 2}]}),
        ("recovery", {"rules": [{"failure_types": ["x"], "actions": ["retry"]}]}),
        ("retry", {"max_retries": 1, "backof": 2}),
        ("notification", {"events": ["x"]}),
    ],
)
def test_published_schema_refuses_what_is_wrong(kind: str, config: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, policy_schemas()[kind])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "actions", "rules", "times", "to", "prompts", "on_failure", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(POLICY_TYPES), json_values)
def test_nonsense_is_told_or_read_and_never_breaks(policy_type: str, config: Any) -> None:
    problems = policy_problems(policy_type, config)
    assert all(problem.path.startswith("policy_config") and problem.message for problem in problems)
    if not problems:
        resolve([PolicyRow("p", 1, policy_type, config)])


def test_actions_as_a_run_knows_them() -> None:
    actions = [
        "retry",
        {"type": "retry", "times": 3, "delay_ms": 1500, "backoff": 2, "max_delay_seconds": 60, "redo": True},
        {"type": "rollback", "to": 4, "steps_back": 1, "resume": False, "prompts": {"w": "p"}, "models": {"*": "m"}},
        {"type": "rollback", "to": 0},
        {"type": "prompt_edit", "new_prompt": "p", "append": True},
        {"type": "prompt_edit", "new_prompt": "p", "agent": "w"},
        {"type": "model_fallback", "model": "m"},
        "escalate",
        {"type": "manual_intervention", "times": 2, "note": "Look at the invoice."},
    ]
    rules = resolve([PolicyRow("p", 1, "recovery", {"actions": actions})]).rules
    assert rules == [
        RecoveryRule(
            actions=[
                RecoveryAction("retry"),
                RecoveryAction("retry", times=3, delay=1.5, backoff=2, max_delay=60, redo=True),
                RecoveryAction("rollback", to="4", steps_back=1, resume=False, prompts={"w": "p"}, models={"*": "m"}),
                RecoveryAction("rollback", to="start"),
                RecoveryAction("prompt_edit", prompts={"*": "p"}, append=True),
                RecoveryAction("prompt_edit", prompts={"w": "p"}),
                RecoveryAction("model_fallback", models={"*": "m"}),
                RecoveryAction("escalate", times=0),
                RecoveryAction("manual_intervention", times=2, note="Look at the invoice."),
            ]
        )
    ]


def test_action_that_a_person_asks_for() -> None:
    assert read_action("rollback", {"to": "draft"}) == RecoveryAction("rollback", to="draft")
    assert read_action("retry", None) == RecoveryAction("retry")


@pytest.mark.parametrize(
    ("action_type", "config", "path"),
    [
        ("explode", {}, "action_type"),
        (None, {}, "action_type"),
        ("retry", [], "action_config"),
        ("retry", {"type": "rollback"}, "action_config.type"),
        ("prompt_edit", {}, "action_config.prompts"),
        ("rollback", {"to": ""}, "action_config.to"),
    ],
)
def test_wrong_action_of_a_person(action_type: Any, config: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_action(action_type, config)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_no_policies_say_nothing() -> None:
    assert resolve([]) == RunPolicy()
    assert resolve([], {}, {"writer": {}}) == RunPolicy()


def test_definition_as_the_documents_write_it() -> None:
    policy = resolve([], {"timeout_per_agent_ms": 30000, "max_retries": 3, "rollback_on_failure": True})
    assert policy == RunPolicy(step_timeout=30, retry=RetryPolicy(3), rollback_on_failure=True)


def test_agent_as_the_documents_write_it() -> None:
    policy = resolve([], {}, {"kyc": {"on_failure": "rollback", "max_retries": 3, "timeout_ms": 30000}})
    assert policy.agents == {"kyc": AgentPolicy(30, RetryPolicy(3))}
    assert policy.rules == [RecoveryRule(agents=["kyc"], actions=[RecoveryAction("rollback")])]


def test_agent_that_only_retries_needs_no_rule() -> None:
    counted = resolve([], {}, {"kyc": {"on_failure": "retry", "max_retries": 2}})
    assert (counted.rules, counted.agents) == ([], {"kyc": AgentPolicy(retry=RetryPolicy(2))})
    uncounted = resolve([], {}, {"kyc": {"on_failure": "retry"}})
    assert uncounted.rules == [RecoveryRule(agents=["kyc"], actions=[RecoveryAction("retry")])]


def test_what_the_stronger_says_takes_the_weakers_place() -> None:
    tenant = PolicyRow("t", 4, "timeout", {"timeout_seconds": 10})
    other = PolicyRow("o", 1, "retry", {"max_retries": 1, "initial_interval_seconds": 5})
    workflow = PolicyRow("w", 2, "timeout", {"timeout_ms": 40_000}, workflow_level=True)
    assert resolve([tenant, other]).step_timeout == 10
    by_definition = resolve([tenant, other], {"timeout_per_agent_seconds": 20, "max_retries": 3})
    assert (by_definition.step_timeout, by_definition.retry) == (20, RetryPolicy(3, initial_interval=5))
    by_workflow = resolve([workflow, tenant, other], {"timeout_per_agent_seconds": 20})
    assert by_workflow.step_timeout == 40
    assert by_workflow.sources == [PolicySource("w", 2), PolicySource("t", 4), PolicySource("o", 1)]
    later = PolicyRow("l", 1, "timeout", {"timeout_seconds": 11})
    assert resolve([tenant, later]).step_timeout == 11


def test_workflows_policy_is_stronger_than_an_agents_own_on_the_same_thing() -> None:
    agents = {"kyc": {"max_retries": 5, "timeout_ms": 1000}}
    timed = PolicyRow("w", 1, "timeout", {"timeout_seconds": 9}, workflow_level=True)
    assert resolve([timed], {}, agents).agents == {"kyc": AgentPolicy(None, RetryPolicy(5))}
    retried = PolicyRow("w", 1, "retry", {"max_retries": 2}, workflow_level=True)
    assert resolve([retried], {}, agents).agents == {"kyc": AgentPolicy(1.0)}
    assert resolve([timed, retried], {}, agents).agents == {}


def test_rules_stand_from_the_strongest_to_the_weakest() -> None:
    def rule(note: str) -> dict[str, Any]:
        return {"actions": [{"type": "escalate", "note": note}]}

    rows = [
        PolicyRow("1", 1, "recovery", rule("tenant")),
        PolicyRow("2", 1, "recovery", rule("later of the tenant")),
        PolicyRow("3", 1, "recovery", {"rules": [rule("workflow")], **rule("workflow, in short")}, workflow_level=True),
    ]
    policy = resolve(rows, {"recovery": rule("definition")}, {"kyc": rule("agent")})
    assert [given.actions[0].note for given in policy.rules] == [
        "workflow",
        "workflow, in short",
        "agent",
        "definition",
        "later of the tenant",
        "tenant",
    ]


def test_bounds_only_become_tighter() -> None:
    tenant = PolicyRow("t", 1, "recovery", {"max_actions": 4, "max_tokens": 1000, "max_credits": 0.5})
    workflow = PolicyRow("w", 1, "recovery", {"max_actions": 40, "max_tokens": 10, "max_model_calls": 7}, True)
    policy = resolve([tenant, workflow])
    assert (policy.max_actions, policy.max_tokens, policy.max_model_calls) == (4, 10, 7)
    assert policy.max_cost == 500_000
    assert resolve([workflow]).max_actions == 40, "more than where nobody says anything"
    rollback = [PolicyRow("r", 1, "rollback", {"max_rollbacks": n}) for n in (3, 2, 5)]
    assert resolve(rollback).max_rollbacks == 2


@pytest.mark.parametrize(
    ("said", "allowed"), [((), False), ((True,), True), ((True, False), False), ((False, True), False)]
)
def test_irreversible_effects_are_rolled_over_only_if_nobody_forbids_it(said: tuple[bool, ...], allowed: bool) -> None:
    rows = [PolicyRow("r", 1, "rollback", {"allow_irreversible": one}) for one in said]
    assert resolve(rows).allow_irreversible is allowed


def test_notifications_add_up() -> None:
    rows = [
        PolicyRow("t", 1, "notification", {"events": ["execution.failed", "recovery.*"]}),
        PolicyRow("w", 1, "notification", {"events": ["*", "execution.failed"]}, workflow_level=True),
    ]
    assert resolve(rows).notify == ["*", "execution.failed", "recovery.*"]


def test_policy_that_cannot_be_read_stops_a_run_at_its_start() -> None:
    with pytest.raises(InvalidInput, match="retry policy"):
        read_config("retry", {"max_retries": "three"})
    with pytest.raises(InvalidInput, match="definition's policies") as refused:
        resolve([], {}, {"kyc": {"on_failure": "explode"}})
    assert refused.value.problems[0].path == "agents.kyc.recovery_policies.on_failure"


def test_from_what_users_write_to_what_is_done() -> None:
    """The short form of the documents: three retries, then a rollback, then the run has failed."""
    policy = resolve([], {"max_retries": 3, "rollback_on_failure": True})
    failure, spent, done = FailureInfo("validation_error", True, "write", ["writer"]), Spent(), []
    for _ in range(5):
        decision = recovery.decide(failure, policy, spent, Usage())
        spent = decision.spent
        done.append(decision.action.type if decision.action else decision.outcome)
    assert done == ["retry", "retry", "retry", "rollback", "fail"]
